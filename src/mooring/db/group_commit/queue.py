"""The rows that wait to be stored: bounded in number, bytes and time, and each in the line of one writer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from ...errors import PoolBusy, PoolClosed
from ...threads.pending import Pending


class Entry:
    """What one ``add`` or ``add_many`` has brought: stored in one commit, or not at all.

    Args:
        rows: the rows; none for a mark that only tells when everything before it is done.
        pending: gets the result.
        size: bytes that the rows take in a statement, at most.
        deadline: when it is given up, on the queue's clock.

    Attributes:
        is_unknown: the connection was lost while it was being committed: it may be stored already.
    """

    __slots__ = ("deadline", "is_unknown", "pending", "rows", "size")

    def __init__(self, rows: Sequence[tuple[Any, ...]], pending: Pending[Any], size: int, deadline: float) -> None:
        self.rows = rows
        self.pending = pending
        self.size = size
        self.deadline = deadline
        self.is_unknown = False


# For ``map``: what is asked of every entry of a batch is asked without a step of Python for each.
ROWS: Final = attrgetter("rows")
SIZE: Final = attrgetter("size")
DEADLINE: Final = attrgetter("deadline")
PENDING: Final = attrgetter("pending")


def count_rows(entries: Iterable[Entry]) -> int:
    """How many rows they have together."""
    return sum(map(len, map(ROWS, entries)))


class Line:
    """The entries that wait for one writer, in their order; guarded by the queue's mutex."""

    def __init__(self, mutex: threading.Lock) -> None:
        self.entries: deque[Entry] = deque()
        self.rows = self.bytes = 0
        self.is_waited_for = False
        self.is_hurried = False
        self.ready = threading.Condition(mutex)

    def wake_locked(self) -> None:
        """Have the writer look, if it waits."""
        if self.is_waited_for:
            self.is_waited_for = False
            self.ready.notify()


class QueueState(Enum):
    """OPEN -> CLOSING (no more rows; what is there is stored) -> ABANDONED (nothing is tried any more)."""

    OPEN = "open"
    CLOSING = "closing"
    ABANDONED = "abandoned"


_OPEN: Final = QueueState.OPEN
"""For ``put``: to look a member up in its class takes CPython 3.11 as long as to take a lock."""


class Queue:
    """One line for each writer, and bounds over all of them.

    ``mutex`` guards everything. Rows count from ``put`` until ``release``, so those that are being stored count too.

    Args:
        lines: how many writers there are.
        row_limit, byte_limit: most rows, and most bytes of them, that may wait and be under way.
        batch_rows: rows of one batch, at which a line is not waited for any longer.
        delay: seconds that a batch may wait to become larger.
        clock: monotonic seconds.
        label: for messages.
    """

    def __init__(
        self,
        lines: int,
        *,
        row_limit: int,
        byte_limit: int,
        batch_rows: int,
        delay: float,
        clock: Callable[[], float],
        label: str,
    ) -> None:
        self.row_limit = row_limit
        self.byte_limit = byte_limit
        self._batch_rows = batch_rows
        self._delay = delay
        self._clock = clock
        self._label = label
        self._count = lines
        self.renew()

    def renew(self) -> None:
        """Begin anew, empty; for a forked child, too."""
        self.mutex = threading.Lock()
        self.state = QueueState.OPEN
        self.rows = self.bytes = self.refused = 0
        self.lines = [Line(self.mutex) for _ in range(self._count)]
        self.changed = threading.Condition(self.mutex)
        """Told when the state changes, and when the last row of a closed queue is done."""

    def put(self, entry: Entry, number: int) -> None:
        """Append to a line; never waits.

        Raises:
            PoolClosed. PoolBusy: the bounds are reached.
        """
        count, size = len(entry.rows), entry.size
        mutex = self.mutex
        mutex.acquire()  # not `with`, whose end takes as long in CPython 3.11 as all of this
        try:
            rows, whole = self.rows + count, self.bytes + size
            if self.state is not _OPEN:
                raise PoolClosed(f"{self._label} is closed")
            if rows > self.row_limit or whole > self.byte_limit:
                self.refused += count
                raise PoolBusy(
                    f"{self._label}: {self.rows} rows of {self.bytes} bytes wait to be stored already; "
                    f"at most {self.row_limit} rows and {self.byte_limit} bytes may"
                )
            self.rows, self.bytes = rows, whole
            line = self.lines[number]
            line.entries.append(entry)
            line.rows += count
            line.bytes += size
            if line.is_waited_for:
                line.wake_locked()
        finally:
            mutex.release()

    def mark(self, pendings: Sequence[Pending[None]]) -> bool:
        """Put a mark behind everything that waits now, one into each line, and let no batch wait to become larger.

        Returns:
            False if the queue is closed: no writer may be there to reach them.
        """
        with self.mutex:
            if self.state is not QueueState.OPEN:
                return False
            for line, pending in zip(self.lines, pendings, strict=True):
                line.entries.append(Entry((), pending, 0, float("inf")))
                line.is_hurried = True
                line.wake_locked()
            return True

    def shortest(self) -> int:
        """The line with the fewest rows; a hint, so it is taken without the mutex."""
        rows = [line.rows for line in self.lines]
        return rows.index(min(rows))

    def take(self, number: int, most_bytes: Callable[[], int]) -> list[Entry] | None:
        """Wait for entries, and take as many as make a batch; None when the queue is closed and the line empty.

        Args:
            number: whose line.
            most_bytes: says how many bytes a batch may have.
        """
        line = self.lines[number]
        with self.mutex:
            while not line.entries:
                if self.state is not QueueState.OPEN:
                    return None
                line.is_waited_for = True
                line.ready.wait()
            line.is_waited_for = False
            if self._delay:
                self._gather_locked(line)
            line.is_hurried = False
            return self._cut_locked(line, most_bytes())

    def _gather_locked(self, line: Line) -> None:
        """Let the batch become larger, for at most the delay."""
        until = self._clock() + self._delay
        while line.rows < self._batch_rows and not line.is_hurried and self.state is QueueState.OPEN:
            left = until - self._clock()
            if left <= 0:
                break
            line.is_waited_for = True
            line.ready.wait(left)
        line.is_waited_for = False

    def _cut_locked(self, line: Line, most_bytes: int) -> list[Entry]:
        """The first entries that fit into a batch; at least one."""
        entries = line.entries
        if line.rows <= self._batch_rows and line.bytes <= most_bytes:
            batch = list(entries)
            entries.clear()
            line.rows = line.bytes = 0
            return batch
        batch = [entries.popleft()]
        rows, size = len(batch[0].rows), batch[0].size
        while entries and rows + len(entries[0].rows) <= self._batch_rows and size + entries[0].size <= most_bytes:
            first = entries.popleft()
            rows += len(first.rows)
            size += first.size
            batch.append(first)
        line.rows -= rows
        line.bytes -= size
        return batch

    def release(self, entries: Sequence[Entry]) -> None:
        """These have their result: their places are free."""
        rows, size = count_rows(entries), sum(map(SIZE, entries))
        with self.mutex:
            self.rows -= rows
            self.bytes -= size
            if self.state is not QueueState.OPEN and self._is_over_locked():
                self.changed.notify_all()

    def take_expired(self) -> tuple[list[Entry], float]:
        """Take out what has waited for too long.

        Returns:
            The entries, and when the next one will have (infinity: none is there).
        """
        expired: list[Entry] = []
        with self.mutex:
            now, following = self._clock(), float("inf")
            for line in self.lines:
                if any(entry.deadline <= now for entry in line.entries):
                    late = [entry for entry in line.entries if entry.deadline <= now]
                    line.entries = deque(entry for entry in line.entries if entry.deadline > now)
                    line.rows -= count_rows(late)
                    line.bytes -= sum(map(SIZE, late))
                    expired += late
                following = min(following, min((entry.deadline for entry in line.entries), default=following))
        return expired, following

    def take_all(self) -> list[Entry]:
        """Take out everything that waits, and have the writers give up what they hold."""
        with self.mutex:
            self.state = QueueState.ABANDONED
            left = [entry for line in self.lines for entry in line.entries]
            for line in self.lines:
                line.entries.clear()
                line.rows = line.bytes = 0
            self._tell_all_locked()
        return left

    def close(self) -> bool:
        """Take no more rows; False if it was closed before."""
        with self.mutex:
            if self.state is not QueueState.OPEN:
                return False
            self.state = QueueState.CLOSING
            self._tell_all_locked()
            return True

    def _tell_all_locked(self) -> None:
        self.changed.notify_all()
        for line in self.lines:
            line.is_waited_for = False
            line.ready.notify()

    def rest(self, seconds: float) -> bool:
        """Wait for so long, or until nothing is left to do: abandoned, or closed and without rows.

        Returns:
            Whether that is so.
        """
        with self.mutex:
            return self.changed.wait_for(self._is_over_locked, max(0.0, seconds))

    def _is_over_locked(self) -> bool:
        return self.state is QueueState.ABANDONED or (self.state is QueueState.CLOSING and not self.rows)
