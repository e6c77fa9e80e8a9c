"""Long work in short slices: with the GIL, a thread that computes for long keeps the loop of the server waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

SLICE: Final = 0.0005
"""Seconds after which the thread lets the others run."""

PAUSE: Final = 0.001
"""Seconds that it then sleeps. (Yielding without a sleep would get the GIL back before anybody else has woken.)"""

CHUNK: Final = 250
"""Items that are worked on between two looks at the clock."""


class Slices:
    """Counts the CPU time since the last sleep; ``breathe`` sleeps when a slice is over."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._began = clock()
        self.longest = 0.0
        """Seconds of the longest stretch without a sleep so far."""

    async def breathe(self, *, force: bool = False) -> None:
        """Let the other threads run, if this one has run for a slice."""
        ran = self._clock() - self._began
        if ran < SLICE and not force:
            return
        self.longest = max(self.longest, ran)
        await asyncio.sleep(PAUSE)
        self._began = self._clock()


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def sort(items: list[T], slices: Slices, most: int | None = None, *, descending: bool = False) -> list[T]:
    """Sort a long list in slices: small pieces first, which are then merged in pairs.

    Args:
        items: not changed.
        slices: the work's.
        most: only so many of the first are wanted.
        descending: the largest come first.
    """
    runs: list[list[T]] = []
    for chunk in chunks(items):
        runs.append(sorted(chunk, reverse=descending)[:most])  # type: ignore[type-var]
        await slices.breathe()
    while len(runs) > 1:
        merged = []
        for first, second in zip(runs[::2], [*runs[1::2], []], strict=False):
            # Two sorted runs one after the other are what the sort of Python merges fastest.
            both = first + second
            both.sort(reverse=descending)
            merged.append(both[:most])
            await slices.breathe()
        runs = merged
    return runs[0] if runs else []
