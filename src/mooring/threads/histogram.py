"""How often which duration occurred, in buckets that are a fixed ratio wide."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

PER_OCTAVE = 4
"""Buckets for each doubling: a bucket ends 19 % above its beginning."""

BUCKETS = 64 * PER_OCTAVE
"""From a microsecond to longer than anything lasts, so that no duration needs a check."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations counted; adds to another.

    Attributes:
        counts: how many fell into each bucket; ``upper_bound`` says where a bucket ends.
        seconds: their sum.
    """

    counts: tuple[int, ...] = field(default=(0,) * BUCKETS, repr=False)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many durations there were."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Seconds; 0.0 if there were none."""
        return self.seconds / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Seconds that ``share`` (0.0 to 1.0) of the durations did not exceed, up to 19 % too high; 0.0 if none.

        Raises:
            ValueError: ``share`` is not between 0 and 1.
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share must be between 0 and 1, not {share}")
        below = list(accumulate(self.counts))
        if not below[-1]:
            return 0.0
        return self.upper_bound(bisect_left(below, max(1, math.ceil(share * below[-1]))))

    @staticmethod
    def upper_bound(index: int) -> float:
        """Seconds at which bucket ``index`` ends."""
        return float((2.0 ** ((index + 1) / PER_OCTAVE) - 1.0) / 1e6)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration."""
    return int(math.log2(seconds * 1e6 + 1.0) * PER_OCTAVE)
