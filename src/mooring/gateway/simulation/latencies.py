"""Latencies in a histogram of fixed size, whatever their number."""

from __future__ import annotations

import math
from typing import Final

_SMALLEST: Final = 1e-5
_STEP: Final = math.log(1.02)  # each bucket is 2 % wider than the one before: percentiles are that exact
_BUCKETS: Final = 1000  # up to 10 us * 1.02**1000: more than an hour


class Latencies:
    """For one thread."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = int(math.log(max(seconds, _SMALLEST) / _SMALLEST) / _STEP)
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.count += 1
        self.longest = max(self.longest, seconds)

    def percentile(self, percent: float) -> float:
        """Seconds that ``percent`` of all took at most; 0.0 if there are none."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(self.longest, _SMALLEST * math.exp((bucket + 1) * _STEP))
        return self.longest
