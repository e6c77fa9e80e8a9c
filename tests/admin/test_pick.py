"""A page is found without sorting everything, and is the page that sorting everything would give."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mooring.admin.pick import FEW, pick
from mooring.admin.slices import CHUNK, Slices


class Thing:
    """Has a number and something to be ordered by."""

    def __init__(self, id: int, key: Any) -> None:
        self.id = id
        self.key = key


def page(things: list[Thing], offset: int, limit: int, *, descending: bool) -> list[Thing]:
    async def find() -> list[Thing]:
        picked = pick(offset, limit, Slices(), descending=descending)
        for start in range(0, len(things), CHUNK):
            some = things[start : start + CHUNK]
            await picked.show([one.key for one in some], some)
        return await picked.page()

    return asyncio.run(find())


KEYS: dict[str, Callable[[int], Any]] = {
    "all different": lambda number: random.random(),
    "growing": lambda number: number,
    "shrinking": lambda number: -number,
    "all the same": lambda number: 0,
    "few different": lambda number: number % 7 // 5,
    "text": lambda number: f"meter-{number * 37 % 101}",
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("offset", [0, 50, FEW - 50, FEW, 2900, 2990, 3000, 10_000])
@pytest.mark.parametrize("name", KEYS)
def test_it_is_the_page_of_the_sorted_list(name: str, offset: int, descending: bool) -> None:
    things = [Thing(number, KEYS[name](number)) for number in range(3000)]
    whole = sorted(things, key=lambda one: (one.key, one.id), reverse=descending)
    random.shuffle(things)
    assert page(things, offset, 50, descending=descending) == whole[offset : offset + 50]


@pytest.mark.parametrize("offset", [0, FEW])
def test_of_nothing_every_page_is_empty(offset: int) -> None:
    assert page([], offset, 50, descending=True) == []


@contextmanager
def collections() -> Iterator[list[int]]:
    """The generations that the garbage collector goes through meanwhile, but for the youngest."""
    found: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"]:
            found.append(info["generation"])

    gc.collect()
    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its collector goes through a little at each time")
@pytest.mark.parametrize("offset", [0, 10_000])
@pytest.mark.parametrize("descending", [False, True])
def test_a_page_out_of_thousands_does_not_call_up_the_garbage_collector(offset: int, descending: bool) -> None:
    things = [Thing(number, random.random()) for number in range(20_000)]
    with collections() as found:
        assert len(page(things, offset, 50, descending=descending)) == 50
    assert found == []
