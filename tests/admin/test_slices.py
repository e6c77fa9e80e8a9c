"""Long work is done in short slices, and comes to the same as if it were not."""

from __future__ import annotations

import asyncio
import random

import pytest

from mooring.admin.scan import BOUNDS, SOONEST, scan
from mooring.admin.slices import SLICE, Slices, sort


class Clock:
    """Goes on by a tenth of a millisecond at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.0001
        return self.now


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("most", [None, 10, 700])
@pytest.mark.parametrize("size", [0, 1, 249, 250, 251, 5000])
def test_a_list_is_sorted_as_ever(size: int, most: int | None, descending: bool) -> None:
    items = [random.random() for _ in range(size)]
    found = asyncio.run(sort(items, Slices(), most, descending=descending))
    assert found == sorted(items, reverse=descending)[:most]


def test_a_slice_ends_when_its_time_is_over() -> None:
    slices = Slices(Clock())
    asyncio.run(sort(list(range(20_000)), slices))
    assert SLICE <= slices.longest < 1.5 * SLICE


class Silent:
    """As much of a connection as a scan looks at."""

    def __init__(self, id: int, last_received: float, outbox: int = 0) -> None:
        self.id = id
        self._last_received = last_received
        self._outbox_size = outbox


def test_a_scan_counts_every_connection_once() -> None:
    silences = [random.expovariate(1 / 60) for _ in range(3000)]
    connections = [Silent(number, 10_000.0 - silence, number % 7) for number, silence in enumerate(silences)]
    pieces = [connections[start : start + 250] for start in range(0, 3000, 250)]
    found = asyncio.run(scan([*pieces, []], 90.0, Slices(), 10_000.0))  # type: ignore[list-item]
    assert sum(found.silence) == found.count == 3000
    edges = [0.0, *BOUNDS, float("inf")]
    for index, count in enumerate(found.silence):
        assert count == sum(edges[index] <= silence < edges[index + 1] for silence in silences)
    assert found.late == sum(silence >= 90.0 for silence in silences)
    assert found.waiting == sum(number % 7 for number in range(3000))
    longest = sorted(range(3000), key=lambda number: -silences[number])[:SOONEST]
    assert [connection.id for _, _, connection in found.soonest] == longest
