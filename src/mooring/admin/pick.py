"""A page out of many things in some order, found in slices and without sorting them all.

Sorting needs a tuple for each thing, and thousands of new objects call up the garbage collector, which goes through
all objects of the process and holds every thread up meanwhile. So most things are only compared here, by keys that are
plain numbers or strings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from .slices import CHUNK, Slices, sort


class Numbered(Protocol):
    """Something that has a number of its own, which decides between equals."""

    id: int


T = TypeVar("T", bound=Numbered)

FEW: Final = 1000
"""Up to here the first things are kept sorted; further ones are found by where their keys lie among all keys."""


class First(Generic[T]):
    """Keeps the first so many of the things that it is shown, and forgets what comes after the last of those.

    Args:
        offset, limit: which of them are wanted.
        descending: the largest come first.
        slices: the work's.
    """

    def __init__(self, offset: int, limit: int, slices: Slices, *, descending: bool) -> None:
        self._offset = offset
        self._most = offset + limit
        self._descending = descending
        self._slices = slices
        self._room = self._most + max(self._most, CHUNK)
        self._kept: list[tuple[Any, int, T]] = []
        self._last: tuple[Any, int] | None = None

    async def show(self, keys: Sequence[Any], things: Sequence[T]) -> None:
        """Look at some more.

        Args:
            keys: what they are ordered by, in the order of ``things``.
            things: shown once each.
        """
        self._kept.extend(self._candidates(keys, things))
        if len(self._kept) >= self._room:
            await self._cut()

    async def page(self) -> list[T]:
        """Those that are wanted, in order."""
        await self._cut()
        return [thing for _, _, thing in self._kept[self._offset :]]

    def _candidates(self, keys: Sequence[Any], things: Sequence[T]) -> list[tuple[Any, int, T]]:
        pairs = zip(keys, things, strict=True)
        if self._last is None:
            return [(key, one.id, one) for key, one in pairs]
        last, number = self._last
        if self._descending:
            return [(key, one.id, one) for key, one in pairs if key >= last and (key > last or one.id > number)]
        return [(key, one.id, one) for key, one in pairs if key <= last and (key < last or one.id < number)]

    async def _cut(self) -> None:
        self._kept = await sort(self._kept, self._slices, self._most, descending=self._descending)
        if len(self._kept) == self._most:
            self._last = self._kept[-1][:2]


class Between(Generic[T]):
    """The same for a page far from the beginning: only the keys are sorted, then those of the page are picked.

    Args:
        offset, limit, slices, descending: see First.
    """

    def __init__(self, offset: int, limit: int, slices: Slices, *, descending: bool) -> None:
        self._offset = offset
        self._limit = limit
        self._descending = descending
        self._slices = slices
        self._keys: list[Any] = []
        self._shown: list[tuple[Sequence[Any], Sequence[T]]] = []

    async def show(self, keys: Sequence[Any], things: Sequence[T]) -> None:
        """See First."""
        self._keys.extend(keys)
        self._shown.append((keys, things))

    async def page(self) -> list[T]:
        """See First."""
        keys = await sort(self._keys, self._slices)
        if self._offset >= len(keys):
            return []
        # Counted from the other end, the page lies at the same distance from the end as it does from the beginning.
        one, other = self._offset, min(self._offset + self._limit, len(keys)) - 1
        if self._descending:
            one, other = len(keys) - 1 - other, len(keys) - 1 - one
        low, high = keys[one], keys[other]
        before = len(keys) - bisect_right(keys, high) if self._descending else bisect_left(keys, low)
        found = await sort(await self._of_keys(low, high), self._slices, descending=self._descending)
        start = self._offset - before
        return [thing for _, _, thing in found[start : start + self._limit]]

    async def _of_keys(self, low: Any, high: Any) -> list[tuple[Any, int, T]]:
        found: list[tuple[Any, int, T]] = []
        for keys, things in self._shown:
            found += [(key, one.id, one) for key, one in zip(keys, things, strict=True) if low <= key <= high]
            await self._slices.breathe()
        return found


def pick(offset: int, limit: int, slices: Slices, *, descending: bool) -> First[Any] | Between[Any]:
    """What finds this page with the least work."""
    kind = First if offset + limit <= FEW else Between
    return kind(offset, limit, slices, descending=descending)
