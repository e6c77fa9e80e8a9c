"""Giving entries their results: first all places and all results, then those who wait for them."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import CommitUnknown, PoolError, PoolUnavailable
from ...threads.pending import complete_together, settle_together
from .queue import PENDING, Entry, Queue, count_rows
from .stats import Tally


class Results:
    """The end of every entry; for any thread.

    Args:
        queue: where the places of entries are freed.
        tally: counts.
        label: for messages.

    Attributes:
        last_error: why the last attempt failed, None after a commit; for messages, so it needs no lock.
    """

    def __init__(self, queue: Queue, tally: Tally, label: str) -> None:
        self._queue = queue
        self._tally = tally
        self._label = label
        self.last_error: BaseException | None = None

    def stored(self, entries: Sequence[Entry]) -> None:
        """All of these are stored, or are marks that have been reached."""
        self._queue.release(entries)
        complete_together(map(PENDING, entries))

    def settle(self, outcomes: Sequence[tuple[Entry, BaseException | None]]) -> None:
        """These are stored (None) or have failed; a mark has been reached in any case."""
        self._queue.release([entry for entry, _ in outcomes])
        settle_together((entry.pending, error if entry.rows else None) for entry, error in outcomes)

    def give_up(self, entries: Sequence[Entry], error: PoolError) -> None:
        """Have these fail; those that may be stored all the same fail as ``CommitUnknown``."""
        unknown = CommitUnknown(f"{error}; it may have been stored")
        error.__cause__ = unknown.__cause__ = self.last_error
        self._tally.note("unknown", count_rows(entry for entry in entries if entry.is_unknown))
        self.settle([(entry, unknown if entry.is_unknown else error) for entry in entries])

    def expire(self, entries: Sequence[Entry]) -> None:
        """These have waited for too long."""
        self._tally.note("expired", count_rows(entries))
        reason = f": {self.last_error}" if self.last_error is not None else ""
        self.give_up(entries, PoolUnavailable(f"{self._label}: not stored in time{reason}"))
