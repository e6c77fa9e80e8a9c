"""A group commit's numbers: counted per commit, not per row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..durations import DurationCounter, Durations

SIZES: Final = 24
RATE_SPAN: Final = 10
"""Seconds over which the rate of rows is an average."""
COUNTERS: Final = (
    "commits",
    "committed",
    "repeated",
    "failed",
    "expired",
    "unknown",
    "bisected",
    "retries",
    "losses",
    "waits",
)


@dataclass(frozen=True)
class GroupCommitStats:
    """A snapshot of a group commit: what waits now, and counters since it was made.

    Args:
        table: where the rows go.
        state: ``"open"``, ``"closing"`` or ``"abandoned"`` (closed).
        rows, bytes: rows that wait or are being stored, and their size in a statement, at most.
        commits: commits that succeeded. ``committed``: rows in them, those that were there already included.
        repeated: rows of batches in which some were there already, so that they were compared.
        batch_rows: how many commits had 1 row, 2 to 3, 4 to 7 and so on.
        commit: how long the statements of a batch took, to the end of its commit.
        rows_per_second: committed rows per second, over the last ten seconds.
        failed: rows that the database refused, or that differ from what is stored.
        refused: rows that found the queue full. ``expired``: that waited for ``queue_timeout``.
        unknown: rows that failed as ``CommitUnknown``.
        bisected: batches that were cut in two because one of their rows was refused.
        retries: commits that were tried again after a deadlock or a lock wait time-out.
        losses: connections that were lost during a commit.
        waits: pauses because the database could not store anything.
        blocked_by: why what waits could not be stored when it was last tried; None if it was, or if nothing waits.
        last_error: why the last one of these was; None if there was none.
    """

    table: str
    state: str
    rows: int
    bytes: int
    commits: int
    committed: int
    repeated: int
    batch_rows: tuple[int, ...]
    commit: Durations
    rows_per_second: float
    failed: int
    refused: int
    expired: int
    unknown: int
    bisected: int
    retries: int
    losses: int
    waits: int
    blocked_by: str | None
    last_error: str | None


class Rate:
    """Things per second over the last full seconds; guarded by whatever guards its owner."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[int, int] = {}

    def add(self, count: int) -> None:
        """Count so many now."""
        second = int(self._clock())
        if second not in self._counts:
            self._forget(second)
        self._counts[second] = self._counts.get(second, 0) + count

    def per_second(self) -> float:
        """The average; the second that has just begun does not count."""
        now = int(self._clock())
        self._forget(now)
        return sum(count for second, count in self._counts.items() if second < now) / RATE_SPAN

    def _forget(self, now: int) -> None:
        for second in [second for second in self._counts if second < now - RATE_SPAN]:
            del self._counts[second]


class Tally:
    """The counters behind ``GroupCommitStats``; ``_mutex`` guards everything."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Begin anew at zero; for a forked child, too."""
        self._mutex = threading.Lock()
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._sizes = [0] * SIZES
        self._commit = DurationCounter()
        self._rate = Rate(self._clock)
        self._blocked_by: str | None = None
        self._last_error: str | None = None

    def note_commit(self, rows: int, seconds: float) -> None:
        """So many rows were committed."""
        with self._mutex:
            self._counters["commits"] += 1
            self._counters["committed"] += rows
            self._sizes[min(max(rows, 1).bit_length() - 1, SIZES - 1)] += 1
            self._commit.add(seconds)
            self._rate.add(rows)
            self._blocked_by = None

    def note(self, name: str, count: int = 1, error: BaseException | None = None) -> None:
        """Add to one of the counters, and keep the reason."""
        with self._mutex:
            self._counters[name] += count
            if error is not None:
                self._last_error = _text_of(error)

    def note_wait(self, error: BaseException) -> None:
        """The database cannot store anything for the moment."""
        with self._mutex:
            self._counters["waits"] += 1
            self._last_error = self._blocked_by = _text_of(error)

    def snapshot(self, table: str, state: str, rows: int, size: int, refused: int) -> GroupCommitStats:
        """The numbers of this moment."""
        with self._mutex:
            return GroupCommitStats(
                table=table,
                state=state,
                rows=rows,
                bytes=size,
                refused=refused,
                batch_rows=tuple(self._sizes),
                commit=self._commit.snapshot(),
                rows_per_second=self._rate.per_second(),
                blocked_by=self._blocked_by if rows else None,
                last_error=self._last_error,
                **self._counters,
            )


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
