"""Counting durations in classes that double: cheap enough for every loan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLASSES: Final = 30  # the last one takes all from 2 ** 28 us (4.5 minutes) on


@dataclass(frozen=True)
class Durations:
    """How long something took, how often.

    Args:
        counts: the first counts what took less than 1 us, each next one what took up to twice as long.
    """

    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The upper bound, in seconds, of the class in which this share of all ends; 0.0 if nothing was counted.

        Args:
            share: 0.5 for the median, 0.99 for the slowest hundredth.
        """
        left = share * self.total
        for number, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                return 2.0**number / 1e6
        return 0.0


class DurationCounter:
    """A ``Durations`` that grows; guarded by whatever guards its owner."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * CLASSES

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[class_of(seconds)] += 1

    def snapshot(self) -> Durations:
        """The counts of this moment."""
        return Durations(tuple(self.counts))


def class_of(seconds: float) -> int:
    """The class of a duration; a clock that goes back counts as 0."""
    number = int(seconds * 1e6).bit_length() if seconds > 0 else 0
    return number if number < CLASSES else CLASSES - 1
