"""A lease: one borrowed connection, from ``get_connection`` to its return."""

from __future__ import annotations

from collections.abc import Iterable
from threading import current_thread
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from ..errors import CommitUnknown, PoolClosed, PoolError
from ..threads.blocking import about_to_block
from .driver import Cursor, Driver, Parameters
from .slot import Slot

if TYPE_CHECKING:
    from .pool import ConnectionPool

RETURNED: Final = (PoolError, "this lease has been returned; its connection may serve another thread by now")
CUT_OFF: Final = (PoolClosed, "the pool is closed, and this lease was cut off with it")
FORKED: Final = (PoolError, "this lease was borrowed before the process forked; borrow a new one in the child")


class Lease:
    """A connection on loan. It serves one thread at a time; any thread may return it.

    It reads like a PEP 249 connection: ``close()`` returns it, and what PEP 249 does not name comes from the driver's
    own connection. ``with lease:`` returns it at the end. Its methods announce to the engine that the thread will wait
    (``mooring.blocking``).

    ``live``, ``refusal`` and ``reported`` are guarded by the pool's mutex for writing; ``broken`` and ``read_only``
    belong to the thread that uses the lease.

    Attributes:
        live: it has not been returned.
        broken: its connection must not be lent again.
        refusal: why it cannot be used any more; None while it can.
        since: when it was lent, on the pool's clock.
        thread: the one that borrowed it.
    """

    # Class attributes, because most leases keep these values, and setting them would cost on each loan.
    live = True
    broken = False
    read_only = False
    reported = False
    refusal: tuple[type[PoolError], str] | None = None
    _slot: Slot

    def __init__(self, pool: ConnectionPool, driver: Driver, since: float, code: CodeType, place: int) -> None:
        self._pool = pool
        self._driver = driver
        self.since = since
        self.thread = current_thread()
        self._code = code
        self._place = place

    @property
    def raw(self) -> Any:
        """The driver's own connection, for what PEP 249 does not have; it must not be kept.

        Raises:
            PoolError: the lease has been returned, or belongs to the parent of this process. PoolClosed: cut off.
        """
        return self.slot.connection

    @property
    def slot(self) -> Slot:
        """The pool's record of the connection.

        Raises:
            PoolError, PoolClosed: as for ``raw``.
        """
        if self.refusal is not None:
            kind, text = self.refusal
            raise kind(text)
        return self._slot

    @property
    def place(self) -> str:
        """Where it was borrowed: ``file:line in function``."""
        lines = [line for start, end, line in self._code.co_lines() if start <= self._place < end and line]
        return f"{self._code.co_filename}:{lines[0] if lines else '?'} in {self._code.co_name}"

    @property
    def holder(self) -> str:
        """Who borrowed it, and where."""
        return f"{self.thread.name} ({self.place})"

    def execute(self, sql: str, params: Parameters = ()) -> Cursor:
        """Run one statement.

        Args:
            sql: with ``%s`` for each parameter and ``%%`` for a percent sign; without parameters it is sent as is.
            params: the values, or a mapping for ``%(name)s``.

        Returns:
            The cursor: iterate over it, or use ``fetchone``, ``rowcount``, ``lastrowid``.

        Raises:
            The driver's own errors; PoolError after the lease has been returned.
        """
        about_to_block()  # it may have been borrowed long ago, by another thread
        cursor = self._driver.cursor(self.raw)
        try:
            cursor.execute(sql, params)
        except BaseException as exc:
            self.note(exc)
            raise
        return cursor

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> Cursor:
        """Run one statement for each of ``rows``; an INSERT is sent as one and stores all rows or none.

        Raises:
            The driver's own errors; PoolError after the lease has been returned.
        """
        about_to_block()
        cursor = self._driver.cursor(self.raw)
        try:
            cursor.executemany(sql, list(rows))
        except BaseException as exc:
            self.note(exc)
            raise
        return cursor

    def cursor(self, *args: Any, **options: Any) -> Cursor:
        """A new cursor; it is closed when the lease is returned. Arguments go to the driver's own ``cursor``."""
        if args or options:
            cursor: Cursor = self.raw.cursor(*args, **options)
            return cursor
        return self._driver.cursor(self.raw)

    def commit(self) -> None:
        """Commit the open transaction, if there is one.

        Raises:
            CommitUnknown: the connection was lost meanwhile: the transaction may be stored or not.
        """
        about_to_block()
        connection = self.raw
        try:
            connection.commit()
        except BaseException as exc:
            self.note(exc)
            if self.broken and isinstance(exc, self._driver.errors.Error):
                raise CommitUnknown("the connection was lost during COMMIT: it may have been stored or not") from exc
            raise

    def rollback(self) -> None:
        """Roll the open transaction back, if there is one."""
        about_to_block()
        connection = self.raw
        try:
            connection.rollback()
        except BaseException as exc:
            self.note(exc)
            raise

    def close(self) -> None:
        """Return it, as PEP 249 has it; once it has been returned this does nothing."""
        if self.live:
            self._pool.return_connection(self)

    def begin(self, isolation: str | None, read_only: bool) -> None:
        """Begin a transaction; for ``ConnectionPool.transaction``."""
        connection = self.raw
        self.read_only = read_only
        try:
            self._driver.begin(connection, isolation, read_only)
        except BaseException as exc:
            self.note(exc)
            raise

    def note(self, exc: BaseException) -> None:
        """Remember whether this error makes the connection, or all of its age, unfit for others."""
        if not self.broken and self._driver.breaks(exc):
            self.broken = True
        if not self.broken and not self.read_only and self._driver.lost_writer(exc):
            self.broken = True
            self._pool._lending.lost_writer(self._slot, exc)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.raw, name)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None:
            self.note(exc)
        self._pool.return_connection(self)

    def __repr__(self) -> str:
        return f"<Lease of {self._pool.name}, {'held by ' + self.holder if self.live else 'returned'}>"
