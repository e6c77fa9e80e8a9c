"""What the pool needs from a database driver: the little that PEP 249 leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]


class Cursor(Protocol):
    """A PEP 249 cursor that can be iterated; parameters are ``%s`` on every database."""

    @property
    def description(self) -> Any: ...
    @property
    def rowcount(self) -> int: ...
    @property
    def lastrowid(self) -> int | None: ...
    def execute(self, sql: str, params: Parameters = (), /) -> Any: ...
    def executemany(self, sql: str, rows: Any, /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchmany(self, size: int = 1, /) -> Any: ...
    def fetchall(self) -> Any: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class ConnectFailure:
    """Why a connect failed, in words for the person who runs the program.

    Args:
        detail: what was wrong, where, and what to do.
        fatal: trying again will not help (a wrong password, an unknown database).
    """

    detail: str
    fatal: bool


@dataclass(frozen=True)
class ServerLimits:
    """What a server allows.

    Args:
        wait_timeout: seconds of idleness after which it closes a connection.
        max_connections: how many it admits, of all programs together.
        version: as it names itself.
    """

    wait_timeout: float
    max_connections: int
    version: str


@dataclass(frozen=True)
class DriverErrors:
    """The exception classes of PEP 249, as the driver defines them."""

    Warning: type[Exception]
    Error: type[Exception]
    InterfaceError: type[Exception]
    DatabaseError: type[Exception]
    DataError: type[Exception]
    OperationalError: type[Exception]
    IntegrityError: type[Exception]
    InternalError: type[Exception]
    ProgrammingError: type[Exception]
    NotSupportedError: type[Exception]

    @classmethod
    def of(cls, module: Any) -> DriverErrors:
        """Collect them from a PEP 249 module."""
        return cls(**{name: getattr(module, name) for name in cls.__dataclass_fields__})


class Driver(Protocol):
    """One kind of database. Every method but ``abort`` is called by the one thread that holds the connection."""

    dialect: str
    errors: DriverErrors
    opens_inline: bool
    """Opening is a matter of microseconds, so the caller's thread does it; else a thread of the pool's."""

    def connect(self, *, read_timeout: float | None = None) -> Any:
        """Open a connection, ready for use; every wait in it is bounded."""

    def explain(self, exc: BaseException) -> ConnectFailure:
        """Say in words why ``connect`` failed."""

    def close(self, connection: Any) -> None:
        """Close politely; never raises for a connection that is dead already."""

    def abort(self, connection: Any) -> None:
        """Make whatever the connection waits for fail now; called from another thread."""

    def abandon(self, connection: Any) -> None:
        """In a forked child: let go of the parent's connection without a word to the server."""

    def renew(self) -> None:
        """In a forked child: replace locks, which a thread of the parent may have held."""

    def limits(self, connection: Any) -> ServerLimits | None:
        """Ask a fresh connection what the server allows; None if there is nothing to know."""

    def fileno(self, connection: Any) -> int | None:
        """The descriptor that turns readable when an idle connection dies; None if there is none."""

    def ping(self, connection: Any) -> None:
        """One round trip; raises if the connection is dead."""

    def reset(self, connection: Any) -> bool:
        """Make a returned connection as new; False if it must not be used again."""

    def breaks(self, exc: BaseException) -> bool:
        """Whether a connection on which this was raised must not be used again."""

    def may_repeat(self, exc: BaseException) -> bool:
        """Whether the transaction in which this was raised is rolled back for good, and may succeed the next time."""

    def may_pass(self, exc: BaseException) -> bool:
        """Whether this is the state of the whole database and not the statement's fault: full, killed, overloaded."""

    def lost_writer(self, exc: BaseException) -> bool:
        """Whether this says that the server no longer takes writes, after a failover for example."""

    def cursor(self, connection: Any) -> Cursor:
        """A cursor that takes ``%s`` and sends a statement without parameters as it is."""

    def literals(self, connection: Any) -> Callable[[Any], str]:
        """A function that writes a value as SQL text for this connection; without statements it is only its ``str``."""

    def begin(self, connection: Any, isolation: str | None, read_only: bool) -> None:
        """Begin a transaction."""
