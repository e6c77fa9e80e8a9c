"""What a pool counts."""

from __future__ import annotations

from math import log2

from .histogram import BUCKETS, PER_OCTAVE, Histogram
from .tasks import CANCELLED, COMPLETED, Outcome

BATCH = 32
"""Ended tasks that are counted together: it takes some 20 us, and a worker that has to rest should do so at once."""


class Tally:
    """Counts of tasks, and how long they waited and ran. Guarded by the pool's mutex.

    Whoever has ended a task is about to wait for the next, and the one that waits for the result can go on only when it
    does so: counting one by one made a call through the pool a fifth longer. So tasks are noted by ``end`` and counted
    later; ``settle`` comes before any look at the counts.
    """

    __slots__ = (
        "_noted", "cancelled", "completed", "failed", "grown", "runs", "shrunk", "stuck_ever", "waited", "waits",
        "worked",
    )  # fmt: skip

    def __init__(self) -> None:
        self._noted: list[tuple[Outcome, float, float]] = []
        self.completed = self.failed = self.cancelled = 0
        self.grown = self.shrunk = self.stuck_ever = 0
        self.waits = [0] * BUCKETS
        self.runs = [0] * BUCKETS
        self.waited = self.worked = 0.0

    def end(self, outcome: Outcome, wait: float, run: float) -> None:
        """A task has ended that waited and ran for so many seconds. Called for every message of a server."""
        self._noted.append((outcome, wait, run))
        if len(self._noted) >= BATCH:
            self.settle()

    def settle(self) -> None:
        """Count what was noted."""
        waits, runs, waited, worked, completed = self.waits, self.runs, self.waited, self.worked, self.completed
        for outcome, wait, run in self._noted:
            if outcome is COMPLETED:
                completed += 1
            elif outcome is CANCELLED:
                self.cancelled += 1
                continue
            else:
                self.failed += 1
            # `bucket_of` by hand: two calls less for every task.
            waits[int(log2(wait * 1e6 + 1.0) * PER_OCTAVE)] += 1
            runs[int(log2(run * 1e6 + 1.0) * PER_OCTAVE)] += 1
            waited += wait
            worked += run
        self.waited, self.worked, self.completed = waited, worked, completed
        self._noted.clear()

    @property
    def ended(self) -> int:
        """Tasks that have run."""
        return self.completed + self.failed

    def histograms(self) -> tuple[Histogram, Histogram]:
        """How long tasks waited, and how long they ran."""
        return Histogram(tuple(self.waits), self.waited), Histogram(tuple(self.runs), self.worked)
