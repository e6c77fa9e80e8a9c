"""Latencies in a log-linear histogram: of fixed size, whatever their number, and with a known error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PRECISION: Final = 7
"""Bits kept of each value: a bucket is at most 1/64 (1.6 %) wide."""
_HALF: Final = 1 << (PRECISION - 1)


def bucket_of(value: int) -> int:
    """The bucket of a value: exact below 128, then 64 buckets for each power of two.

    After G. Tene's HdrHistogram (http://hdrhistogram.org).
    """
    shift = max(value.bit_length() - PRECISION, 0)
    return shift * _HALF + (value >> shift)


def highest_in(bucket: int) -> int:
    """The highest value that falls into a bucket."""
    if bucket < 2 * _HALF:
        return bucket
    shift = bucket // _HALF - 1
    return ((bucket - shift * _HALF + 1) << shift) - 1


class Histogram:
    """Counts whole, non-negative numbers, for example nanoseconds. For one thread.

    Attributes:
        count: values recorded.
        longest: the highest of them, exact; 0 if there are none.
    """

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.longest = 0
        for value in values:
            self.record(value)

    def record(self, value: int) -> None:
        """Count one."""
        bucket = bucket_of(value)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.longest = max(self.longest, value)

    def percentile(self, percent: float) -> int:
        """The value that ``percent`` of all do not exceed, at most 1.6 % too high; 0 if there are none."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(highest_in(bucket), self.longest)
        return self.longest
