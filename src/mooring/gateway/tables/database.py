"""What all tables share: the pool, its errors in one, and what differs between the databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ...db import ConnectionPool, Lease
from ...errors import MooringError, PoolError

T = TypeVar("T")


class Unavailable(MooringError):
    """The database could not do it now; nothing may be acknowledged. ``__cause__`` is the database's error."""


class Database:
    """A pool with the gateway's tables in it. Usable from any thread; it keeps nothing but the pool.

    Attributes:
        pool: see ConnectionPool.
        is_mysql: MySQL or MariaDB, as opposed to SQLite.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.is_mysql = pool.dialect == "mysql"

    @contextmanager
    def available(self) -> Iterator[None]:
        """Raise Unavailable for whatever the pool or the driver raises."""
        try:
            yield
        except (PoolError, self.pool.Error) as exc:
            raise self.unavailable(exc) from exc

    @staticmethod
    def unavailable(exc: BaseException) -> Unavailable:
        """The error that stands for one of the pool or the driver."""
        unavailable = Unavailable(f"the database is not available: {exc}")
        unavailable.__cause__ = exc
        return unavailable

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """A connection on which each statement commits by itself.

        Raises:
            Unavailable.
        """
        with self.available(), self.pool.connection() as lease:
            yield lease

    @contextmanager
    def transaction(self) -> Iterator[Lease]:
        """A connection for one commit.

        Raises:
            Unavailable.
        """
        with self.available(), self.pool.transaction() as lease:
            yield lease

    def run(self, function: Callable[[Lease], T]) -> T:
        """Run ``function(lease)`` for one commit, and again if it lost against another transaction.

        Args:
            function: without effects outside of the database; what it raises rolls back.

        Raises:
            Unavailable.
        """
        with self.available():
            return self.pool.run_transaction(function)

    def key(self, name: str) -> str | bytes:
        """A name as its column holds it: bytes on MySQL, whose text columns would compare letters, not bytes."""
        return name.encode() if self.is_mysql else name

    @property
    def for_update(self) -> str:
        """Ends a SELECT whose rows are to be changed; SQLite has one writer anyway."""
        return " FOR UPDATE" if self.is_mysql else ""


def text_of(key: str | bytes) -> str:
    """A name out of its column."""
    return key if isinstance(key, str) else bytes(key).decode()


def marks(count: int) -> str:
    """``%s, %s, …`` for an IN list of so many."""
    return ", ".join(["%s"] * count)
