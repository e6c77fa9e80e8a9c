"""The connection pool: what every database has in common."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final, Self, TypeVar

from ..errors import PoolError
from ..threads.blocking import about_to_block
from . import forking
from .contexts import Borrowed, Transaction, run_transaction
from .driver import Driver
from .durations import class_of
from .events import Events, PoolEventKind
from .group_commit.comparing import Compare
from .group_commit.group import QUEUE_BYTES, GroupCommit
from .group_commit.statements import OnDuplicate
from .group_commit.stats import GroupCommitStats
from .housekeeper import Housekeeper
from .lease import FORKED, RETURNED, Lease
from .ledger import OPEN, Ledger, PoolState
from .lending import Lending
from .opening import Opening
from .options import PoolOptions, check_sizes
from .slot import Slot
from .stats import PoolStats
from .url import DatabaseURL

T = TypeVar("T")
_FOLDER: Final = Path(__file__).parent
_OWN_FILES: Final = frozenset(str(_FOLDER / name) for name in ("pool.py", "contexts.py", "manager.py"))


class ConnectionPool:
    """A pool of database connections for threads; use ``open_pool`` or one of its children.

    Connections that are free are lent last in, first out; callers who wait are served first come, first served, by
    handing each connection over directly. Everything that threads share is in the ledger, under its mutex; no I/O
    happens under it. The pool recovers by itself when the database has been away.

    Attributes:
        url: the address; ``str()`` of it shows no password.
        name: for logs and messages.
        dialect: ``"mysql"`` or ``"sqlite"``.
        Error, IntegrityError, OperationalError and so on: the driver's own exception classes of PEP 249.
    """

    def __init__(
        self,
        url: DatabaseURL,
        driver: Driver,
        options: PoolOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.name = options.name or str(url)
        self.dialect = driver.dialect
        self._driver = driver
        self._clock = clock
        self._ledger = Ledger(options, clock, driver.opens_inline, self.name)
        self._events = Events(self.name, options.on_event)
        self._opening = Opening(driver, self._ledger, self._events)
        self._lending = Lending(driver, self._ledger, self._opening, self._events)
        self._housekeeper = Housekeeper(self._ledger, self._lending, self._opening, self._events)
        # A pool that opens in the caller's thread needs no thread at all.
        self._has_housekeeper = driver.opens_inline
        self._ping_after = options.ping_after
        self._prepares_again = options.reset_on_return == "full" and options.on_connect is not None
        self._group_commits: list[GroupCommit] = []
        self.Warning = driver.errors.Warning
        self.Error = driver.errors.Error
        self.InterfaceError = driver.errors.InterfaceError
        self.DatabaseError = driver.errors.DatabaseError
        self.DataError = driver.errors.DataError
        self.OperationalError = driver.errors.OperationalError
        self.IntegrityError = driver.errors.IntegrityError
        self.InternalError = driver.errors.InternalError
        self.ProgrammingError = driver.errors.ProgrammingError
        self.NotSupportedError = driver.errors.NotSupportedError
        forking.register(self)

    # ------------------------------------------------------------------------------------------------ borrowing

    def connection(self, timeout: float | None = None) -> AbstractContextManager[Lease]:
        """Borrow a connection for a ``with`` block; each statement in it commits by itself.

        Args:
            timeout: seconds to wait for one; the pool's ``timeout`` if None.

        Raises:
            On entering, the errors of ``get_connection``.
        """
        return Borrowed(self, timeout)

    def transaction(
        self, timeout: float | None = None, *, isolation: str | None = None, read_only: bool = False
    ) -> AbstractContextManager[Lease]:
        """Borrow a connection for one transaction: committed at the end of the block, rolled back by an exception.

        Args:
            timeout: seconds to wait for a connection; the pool's ``timeout`` if None.
            isolation: ``"READ COMMITTED"``, ``"REPEATABLE READ"``, ``"SERIALIZABLE"`` or ``"READ UNCOMMITTED"``;
                the database's default if None. SQLite's transactions are always serializable.
            read_only: writing is an error, and SQLite takes no write lock.

        Raises:
            ValueError: an unknown isolation level. On entering, the errors of ``get_connection``. On leaving,
            CommitUnknown if the connection was lost during COMMIT.
        """
        return Transaction(self, timeout, isolation, read_only)

    def run_transaction(self, function: Callable[[Lease], T], *, attempts: int = 3) -> T:
        """Run ``function(lease)`` in a transaction, and again if it lost against another one.

        After a deadlock (1213) or a lock wait time-out (1205) of MySQL, or a busy SQLite, the transaction is rolled
        back, and run again after 10 to 100 ms at random. So the function must be free of effects outside of the
        database.

        Args:
            function: what to do; what it returns is returned.
            attempts: how often it is run at most.

        Raises:
            What the function raises. CommitUnknown: the connection was lost during COMMIT; that is never tried again.
            The errors of ``get_connection``. ValueError: fewer than one attempt.
        """
        return run_transaction(self, function, attempts)

    def get_connection(self, timeout: float | None = None) -> Lease:
        """Borrow a connection; give it back with ``return_connection``, or use ``with lease:``.

        Args:
            timeout: seconds to wait for one; the pool's ``timeout`` if None.

        Raises:
            PoolTimeout: none became free in time. PoolBusy: ``max_waiting`` callers wait already.
            PoolUnavailable: the database cannot be reached or refuses us; ``__cause__`` is the driver's error.
            PoolClosed: the pool is closed.
        """
        about_to_block()  # every lease passes here, and whoever has one waits for the database sooner or later
        ledger = self._ledger
        now = self._clock()
        code, place = _call_site()
        lease = Lease(self, self._driver, now, code, place)
        with ledger.mutex:
            if not ledger.idle or ledger.state is not OPEN:
                slot = None
            else:
                slot = lease._slot = ledger.idle.pop()
                ledger.active += 1
                ledger.acquired += 1
                ledger.leases.add(lease)
        if slot is not None:
            try:
                if now <= slot.fresh_until and (slot.poll is None or not slot.poll(0)):
                    return lease
                with ledger.mutex:
                    ledger.unlend_locked(lease)
                if self._lending.check(slot):
                    return self._lend(lease, slot)
            except BaseException:
                self._lending.interrupted(lease)
                raise
        deadline = now + (ledger.options.timeout if timeout is None else timeout)
        try:
            slot = self._lending.obtain(lease, deadline)
            if slot is not None:
                self._lend(lease, slot)
        except BaseException:
            self._lending.interrupted(lease)
            raise
        if not self._has_housekeeper:
            self._start_housekeeper()
        return lease

    def return_connection(self, lease: Lease) -> None:
        """Give a connection back, from any thread; an open transaction is rolled back.

        Raises:
            PoolError: it has been returned already, or belongs to another pool.
        """
        ledger = self._ledger
        with ledger.mutex:
            if not lease.live or lease._pool is not self:
                raise self._refused(lease)
            lease.live = False
            lease.refusal = RETURNED
            ledger.leases.discard(lease)
        slot = lease._slot
        try:
            is_good = not lease.broken and self._driver.reset(slot.connection)
            if is_good and self._prepares_again:
                self._opening.prepare(slot.connection)
        except Exception as exc:  # noqa: BLE001 - whatever the driver raises, the connection is closed
            self._events.tell(PoolEventKind.CLOSED, f"a returned connection could not be reset: {exc}")
            is_good = False
        except BaseException:
            self._lending.drop(slot, "broken")
            raise
        if lease.reported:
            self._lending.note_return(lease)
        if not is_good:
            self._lending.drop(slot, "broken")
            return
        now = self._clock()
        fresh_until = now + self._ping_after
        slot.checked_at = slot.idle_since = now
        slot.fresh_until = fresh_until if fresh_until < slot.expires_at else slot.expires_at
        with ledger.mutex:
            ledger.last_good = now
            ledger.usage.counts[class_of(now - lease.since)] += 1
            if (
                ledger.state is OPEN
                and slot.generation == ledger.generation
                and now < slot.expires_at
                and now < ledger.shrinks_at
                and len(ledger.idle) + ledger.active + ledger.opening <= ledger.max_size
            ):
                waiter = ledger.next_waiter_locked() if ledger.waiters else None
                if waiter is not None:
                    ledger.hand_over_locked(waiter, slot, now)
                else:
                    ledger.active -= 1
                    ledger.idle.append(slot)
                return
        self._lending.give_away(slot)

    # --------------------------------------------------------------------------------------------- group commit

    def group_commit(
        self,
        table: str,
        columns: Sequence[str],
        *,
        key: Sequence[str] = (),
        on_duplicate: OnDuplicate = "fail",
        compare: Sequence[str] | Compare | None = None,
        order_by: str | None = None,
        writers: int = 2,
        max_rows: int = 500,
        max_delay: float = 0.0,
        queue_limit: int = 10_000,
        queue_bytes: int = QUEUE_BYTES,
        queue_timeout: float = 30.0,
    ) -> GroupCommit:
        """Store rows of many callers by few commits. Its threads start at the first row and end with the pool.

        Args:
            table: its name, or ``database.name``.
            columns: those that rows give.
            key: the columns of a unique index, if there is one. With it a row whose commit was cut off by a lost
                connection is sent again; without it such a row fails as ``CommitUnknown``.
            on_duplicate: what a row is whose key is there already. ``"fail"``: it alone fails with ``IntegrityError``.
                ``"repeat"``: an equal one counts as stored, a different one fails alone with ``IntegrityError``, and
                nothing is overwritten. ``"update"``: it replaces the values of the one that is there.
            compare: for ``"repeat"``, the columns whose values must be equal; all but the key if None. Or a function
                of (stored row, offered row), both in the order of ``columns``, the stored one as the driver gives it.
            order_by: a column; rows with the same value of it are committed in the order in which they were added.
            writers: threads, and connections that are used at the same time. With ``order_by`` each value of it
                belongs to one of them, else each key.
            max_rows: rows of one statement.
            max_delay: seconds that a batch waits to become larger.
            queue_limit, queue_bytes: rows, and bytes of them, that may wait or be under way; more fail with PoolBusy.
            queue_timeout: seconds after which a row that could not be stored fails with PoolUnavailable.

        Raises:
            ValueError: an argument makes no sense; the text names it. PoolClosed.
        """
        group = GroupCommit(
            self,
            table,
            columns,
            key=key,
            on_duplicate=on_duplicate,
            compare=compare,
            order_by=order_by,
            writers=writers,
            max_rows=max_rows,
            max_delay=max_delay,
            queue_limit=queue_limit,
            queue_bytes=queue_bytes,
            queue_timeout=queue_timeout,
        )
        with self._ledger.mutex:
            self._ledger.refuse_closed_locked()
            self._group_commits.append(group)
        return group

    def _forget_group_commit(self, group: GroupCommit) -> None:
        with self._ledger.mutex:
            if group in self._group_commits:
                self._group_commits.remove(group)

    # ---------------------------------------------------------------------------------------------- connections

    def create_connections(self, count: int | None = None, timeout: float = 30.0) -> int:
        """Open connections now, until the pool has ``count`` of them.

        Args:
            count: how many the pool shall have; ``min_size``, but at least one, if None.
            timeout: seconds to keep trying while the database cannot be reached.

        Returns:
            How many were opened by this call.

        Raises:
            ValueError: more than ``max_size``. PoolUnavailable: with the driver's error as ``__cause__``. PoolClosed.
        """
        ledger = self._ledger
        wanted = max(1, ledger.min_size) if count is None else count
        if not 0 <= wanted <= ledger.max_size:
            raise ValueError(f"count must be from 0 to max_size {ledger.max_size}, not {wanted}")
        deadline = self._clock() + timeout
        opened = 0
        while self._reserve_one(wanted):
            self._opening.open_idle(deadline)
            opened += 1
        if not self._has_housekeeper:
            self._start_housekeeper()
        return opened

    def create_new_connection(self, timeout: float = 30.0) -> Any:
        """Open a driver connection that is the caller's own, not the pool's; the caller closes it.

        Args:
            timeout: seconds to keep trying while the database cannot be reached.

        Raises:
            PoolUnavailable: with the driver's error as ``__cause__``. PoolClosed.
        """
        with self._ledger.mutex:
            self._ledger.refuse_closed_locked()
        return self._opening.connect_until(self._clock() + timeout)

    def is_connection_valid(self, connection: Any) -> bool:
        """Ask the database, in one round trip, whether a lease or a driver connection works."""
        if isinstance(connection, Lease):
            if connection.refusal is not None or connection.broken:
                return False
            connection = connection.raw
        try:
            self._driver.ping(connection)
        except Exception:  # noqa: BLE001 - whatever the driver raises, it does not work
            return False
        return True

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the limits; idle connections that are too many are closed now, lent ones when they come back.

        Args:
            min_size, max_size: as in the constructor; ``max_size`` stays as it is, or grows to ``min_size``, if None.
        """
        ledger = self._ledger
        if max_size is None:
            max_size = max(min_size, ledger.max_size)
        check_sizes(min_size, max_size)

        def set_sizes(ledger: Ledger) -> list[Slot]:
            ledger.min_size, ledger.max_size = min_size, max_size
            return ledger.surplus_locked()

        self._lending.change(set_sizes, "surplus")
        self._housekeeper.wake()

    def pause(self) -> None:
        """Lend nothing more until ``resume``: callers wait, each up to its time-out; lent connections are not touched.

        Raises:
            PoolClosed.
        """
        with self._ledger.mutex:
            self._ledger.refuse_closed_locked()
            self._ledger.state = PoolState.PAUSED
        self._events.tell(PoolEventKind.PAUSED, "paused; callers wait")

    def resume(self) -> None:
        """Lend again, first to those who wait, in their order.

        Raises:
            PoolClosed.
        """
        with self._ledger.mutex:
            self._ledger.refuse_closed_locked()
            self._ledger.state = OPEN
            count = self._ledger.serve_idle_locked()
        self._opening.start(count)
        self._housekeeper.wake()
        self._events.tell(PoolEventKind.RESUMED, "resumed")

    def evict(self) -> None:
        """Replace all connections: idle ones are closed now, lent ones when they come back.

        For a database that was moved, or after a change that only new connections see.
        """
        self._lending.evict("evict() was called; all connections are replaced")
        self._housekeeper.wake()

    def stats(self) -> PoolStats:
        """Sizes and counters of this moment."""
        with self._ledger.mutex:
            return self._ledger.snapshot_locked()

    def group_commit_stats(self) -> list[GroupCommitStats]:
        """The statistics of each open group commit of this pool."""
        with self._ledger.mutex:
            groups = list(self._group_commits)
        return [group.stats() for group in groups]

    def close(self, timeout: float = 10.0) -> None:
        """Close the pool: callers who wait get PoolClosed, idle connections close, lent ones when they come back.

        Group commits are closed first, and store what waits.

        Args:
            timeout: seconds to wait for lent ones; after them their waits are cut off, and the log names the holders.
        """
        deadline = self._clock() + timeout
        with self._ledger.mutex:
            if self._ledger.state is PoolState.CLOSED:
                return
            groups = list(self._group_commits)
        for group in groups:
            group.close(max(0.0, deadline - self._clock()))
        self._lending.close(deadline)
        self._housekeeper.stop(max(0.1, deadline - self._clock()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __del__(self) -> None:
        # No lock here: the garbage collector may run in a thread that holds it.
        opening = getattr(self, "_opening", None)
        if opening is None or self._ledger.state is PoolState.CLOSED:
            return
        opening.is_forgotten = True
        if self._ledger.idle:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2)

    # ------------------------------------------------------------------------------------------- the ways inside

    def _lend(self, lease: Lease, slot: Slot) -> Lease:
        """Hand out an active connection."""
        with self._ledger.mutex:
            self._ledger.lend_locked(lease, slot, self._clock())
        return lease

    def _refused(self, lease: Lease) -> PoolError:
        if lease.refusal is FORKED:
            return PoolError(f"{lease!r} cannot be returned to {self.name}: it was borrowed before the process forked")
        return PoolError(f"{lease!r} cannot be returned to {self.name}: returned already, or of another pool")

    def _start_housekeeper(self) -> None:
        self._has_housekeeper = True
        self._housekeeper.start()

    def _reserve_one(self, wanted: int) -> bool:
        ledger = self._ledger
        with ledger.mutex:
            ledger.refuse_closed_locked()
            if ledger.total_locked() >= wanted:
                return False
            ledger.opening += 1
            return True

    # ---------------------------------------------------------------------------------------------- forks, exit

    def before_fork(self) -> None:
        """See ``forking.Forkable``. Whoever forks under the mutex, in a signal handler, gets no consistent copy."""
        self._holds_mutex = self._ledger.mutex.acquire(timeout=1.0)

    def after_fork_in_parent(self) -> None:
        """See ``forking.Forkable``."""
        if self._holds_mutex:
            self._ledger.mutex.release()

    def after_fork_in_child(self) -> None:
        """See ``forking.Forkable``: the child's pool is empty, and leases of the parent raise."""
        for lease in self._ledger.leases:
            lease.live, lease.refusal = False, FORKED
        slots = self._ledger.forget()
        self._opening.renew()
        self._housekeeper.renew()
        self._has_housekeeper = self._driver.opens_inline
        self._driver.renew()
        self._lending.abandon(slots)

    def at_exit(self) -> None:
        """See ``forking.Forkable``: say goodbye to the server, and wait for nobody."""
        self.close(timeout=0.0)


def _call_site() -> tuple[CodeType, int]:
    """Where a connection is borrowed: the innermost frame outside of this package, without keeping it alive."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename in _OWN_FILES and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti
