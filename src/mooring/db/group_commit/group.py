"""``GroupCommit``: rows from many callers, committed together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from ...threads.blocking import about_to_block
from ...threads.pending import Pending
from .. import forking
from ..driver import Row
from .attempt import Table
from .batch import Committer
from .comparing import Compare, compare_columns
from .queue import Entry, Queue
from .results import Results
from .statements import OnDuplicate, Statements, most_size
from .stats import GroupCommitStats, Tally
from .writers import Writers

if TYPE_CHECKING:
    from ..pool import ConnectionPool

QUEUE_BYTES: Final = 64 << 20
T = TypeVar("T")


class GroupCommit:
    """Rows for one table, stored by few commits: what arrives while a batch is being committed is the next batch.

    Made by ``ConnectionPool.group_commit``, which explains the arguments. For any thread. ``add`` and ``add_many``
    neither wait nor raise: what goes wrong is the error of the ``Pending``, which is

    - a database error (``pool.IntegrityError``, ``pool.DataError``): this row is refused, others are stored;
    - ``ValueError``, ``TypeError``: the row has another number of values than there are columns, or no writer;
    - ``PoolBusy``: the queue is full; ``PoolUnavailable``: the row could not be stored within ``queue_timeout``;
    - ``CommitUnknown``: it may be stored or not;
    - ``PoolClosed``.

    Nothing has a result before its commit.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        table: str,
        columns: Sequence[str],
        *,
        key: Sequence[str],
        on_duplicate: OnDuplicate,
        compare: Sequence[str] | Compare | None,
        order_by: str | None,
        writers: int,
        max_rows: int,
        max_delay: float,
        queue_limit: int,
        queue_bytes: int,
        queue_timeout: float,
    ) -> None:
        columns, key = tuple(columns), tuple(key)
        _check_names(columns, key, on_duplicate, order_by)
        for name, value in (
            ("writers", writers),
            ("max_rows", max_rows),
            ("queue_limit", queue_limit),
            ("queue_bytes", queue_bytes),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"group_commit: {name} must be a whole number from 1 on, not {value!r}")
        if not 0 <= max_delay < math.inf:
            raise ValueError(f"group_commit: max_delay must be a number of seconds from 0 on, not {max_delay!r}")
        if not 0 < queue_timeout < math.inf:
            raise ValueError(f"group_commit: queue_timeout must be a number of seconds above 0, not {queue_timeout!r}")
        self.table = table
        self.columns = columns
        self._pool = pool
        self._clock = pool._clock
        self._width = len(columns)
        self._queue_timeout = queue_timeout
        # Without order_by the key decides: two writers with rows of one key would only wait for each other.
        ordering = (order_by,) if order_by is not None else key
        self._order = tuple(columns.index(name) for name in ordering)
        self._keeps_order = order_by is not None
        self._writer_count = writers
        table_facts = Table(
            Statements(table, columns, key),
            tuple(columns.index(name) for name in key),
            _compare_of(compare, columns, key),
            pool._driver,
        )
        label = f"group commit into {table}"
        self._tally = Tally(self._clock)
        self._queue = Queue(
            writers,
            row_limit=queue_limit,
            byte_limit=queue_bytes,
            batch_rows=max_rows,
            delay=max_delay,
            clock=self._clock,
            label=label,
        )
        self._results = Results(self._queue, self._tally, label)
        self._writers = Writers(
            self._queue,
            self._results,
            lambda: Committer(pool, table_facts, on_duplicate, self._queue, self._results, self._tally, label),
            queue_timeout=queue_timeout,
            clock=self._clock,
            label=f"group-commit-{table}",
        )
        forking.register(self)

    def add(self, row: Sequence[Any]) -> Pending[None]:
        """Have a row stored.

        Args:
            row: a value for each column, in their order.

        Returns:
            Completes with None when the row is committed; see the class for its errors.
        """
        pending: Pending[None] = Pending()
        try:
            values = self._checked(row)
        except Exception as exc:  # noqa: BLE001 - add never raises: whatever it is, the Pending has it
            pending.fail(exc)
            return pending
        return self.put((values,), pending, most_size(values))

    def add_many(self, rows: Iterable[Sequence[Any]]) -> Pending[None]:
        """Have rows stored in one commit: all of them or none.

        Args:
            rows: as for ``add``. With ``order_by`` all of them have the same value of that column.

        Returns:
            Completes with None when they are committed, or when there are none; see the class for its errors.
        """
        pending: Pending[None] = Pending()
        try:
            values = [self._checked(row) for row in rows]
        except Exception as exc:  # noqa: BLE001 - as in add
            pending.fail(exc)
            return pending
        if not values:
            pending.complete(None)
            return pending
        return self.put(values, pending, sum(map(most_size, values)))

    def put(self, rows: Sequence[Row], pending: Pending[T], size: int) -> Pending[T]:
        """``add_many`` for a caller who has very many rows: they are taken as they are, and so is all else.

        Args:
            rows: at least one; tuples with a value for each column.
            pending: completed with None, or failed, as that of ``add``; a ``Derived`` makes its own result of it.
            size: bytes that the rows take in a statement, at most: no less than ``most_size`` says.

        Returns:
            ``pending``.
        """
        try:
            queue = self._queue
            if len(rows) == 1:
                line = self._line_of(rows[0]) if self._writer_count > 1 else 0
            elif len(rows) > queue.row_limit:
                raise ValueError(f"{len(rows)} rows at once are more than queue_limit {queue.row_limit}")
            else:
                line = self._line_of_all(rows)
            if not self._writers.are_started:
                self._writers.start()
            queue.put(Entry(rows, pending, size, self._clock() + self._queue_timeout), line)
        except Exception as exc:  # noqa: BLE001 - as in add
            pending.fail(exc)
        return pending

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was added before this call has its result; counts as ``blocking()``.

        Args:
            timeout: seconds to wait; None: no limit.

        Returns:
            False if the time was too short.

        Raises:
            RuntimeError: called by a listener of a row, in the thread that everything waits for.
        """
        if not self._writers.are_started:
            return True
        if self._writers.are_here():
            raise RuntimeError(f"{self!r}: flush() in a listener of a row would wait for itself")
        marks: list[Pending[None]] = [Pending() for _ in range(self._writer_count)]
        if not self._queue.mark(marks):
            about_to_block()
            return self._writers.join(math.inf if timeout is None else time.monotonic() + timeout)
        try:
            Pending.all(*marks).result(timeout)
        except TimeoutError:
            return False
        return True

    def close(self, timeout: float = 10.0) -> None:
        """Take no more rows, store those that wait, and end the writers. The pool's ``close`` does it, too.

        Args:
            timeout: seconds to go on storing; what has not been stored by then fails with ``PoolClosed``.
        """
        about_to_block()
        deadline = time.monotonic() + timeout
        self._queue.close()
        if self._writers.are_here():
            return  # a listener calls, in a writer's thread, which goes on when it is through
        if not self._writers.join(deadline):
            self._writers.give_up()
            self._writers.join(max(deadline, time.monotonic() + 0.1))
        self._pool._forget_group_commit(self)

    def stats(self) -> GroupCommitStats:
        """What waits now, and counters since it was made."""
        queue = self._queue
        with queue.mutex:
            state, rows, size, refused = queue.state.value, queue.rows, queue.bytes, queue.refused
        return self._tally.snapshot(self.table, state, rows, size, refused)

    def __repr__(self) -> str:
        return f"<GroupCommit into {self.table} of {self._pool.name}>"

    def _checked(self, row: Sequence[Any]) -> Row:
        values = tuple(row)
        if len(values) != self._width:
            raise ValueError(
                f"a row for {self.table} has {self._width} values ({', '.join(self.columns)}), not {len(values)}"
            )
        return values

    def _line_of(self, row: Row) -> int:
        """The writer of a row: always the same one for rows that keep their order."""
        if self._writer_count == 1:
            return 0
        if not self._order:
            return self._queue.shortest()
        if len(self._order) == 1:
            return hash(row[self._order[0]]) % self._writer_count
        return hash(tuple(row[place] for place in self._order)) % self._writer_count

    def _line_of_all(self, rows: Sequence[Row]) -> int:
        """The writer of rows that belong together."""
        if self._keeps_order and any(row[self._order[0]] != rows[0][self._order[0]] for row in rows):
            raise ValueError("rows of one add_many must have the same value of order_by: one writer commits them")
        return self._line_of(rows[0])

    # ---------------------------------------------------------------------------------------------- forks, exit

    def before_fork(self) -> None:
        """See ``forking.Forkable``."""
        self._holds_mutex = self._queue.mutex.acquire(timeout=1.0)

    def after_fork_in_parent(self) -> None:
        """See ``forking.Forkable``."""
        if self._holds_mutex:
            self._queue.mutex.release()

    def after_fork_in_child(self) -> None:
        """See ``forking.Forkable``: the rows that wait are the parent's, and so are their results."""
        self._queue.renew()
        self._tally.renew()
        self._writers.renew()

    def at_exit(self) -> None:
        """See ``forking.Forkable``: nobody waits for the database any more."""
        self.close(timeout=0.0)


def _check_names(columns: Row, key: Row, on_duplicate: str, order_by: str | None) -> None:
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"group_commit: columns must be different names, at least one, not {columns!r}")
    if on_duplicate not in get_args(OnDuplicate):
        raise ValueError(f"group_commit: on_duplicate must be fail, repeat or update, not {on_duplicate!r}")
    if on_duplicate != "fail" and not key:
        raise ValueError(f"group_commit: on_duplicate={on_duplicate!r} needs key, the columns of a unique index")
    for name in (*key, *((order_by,) if order_by is not None else ())):
        if name not in columns:
            raise ValueError(f"group_commit: {name!r} is none of the columns {', '.join(columns)}")


def _compare_of(compare: Sequence[str] | Compare | None, columns: Row, key: Row) -> Compare:
    if callable(compare):
        return compare
    names = [name for name in columns if name not in key] if compare is None else compare
    for name in names:
        if name not in columns:
            raise ValueError(f"group_commit: {name!r} of compare is none of the columns {', '.join(columns)}")
    return compare_columns([columns.index(name) for name in names])
