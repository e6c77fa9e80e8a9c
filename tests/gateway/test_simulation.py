"""The parts of the simulation that need no network."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.gateway.device.backoff import full_jitter
from mooring.gateway.simulation.latencies import Latencies
from mooring.gateway.simulation.statistics import Statistics


@pytest.mark.parametrize(("attempt", "bound"), [(0, 0.2), (1, 0.4), (3, 1.6), (10, 10.0), (10_000, 10.0)])
def test_the_wait_is_anything_up_to_a_bound_that_doubles(attempt: int, bound: float) -> None:
    random.seed(1)
    waits = [full_jitter(attempt) for _ in range(500)]
    assert 0 <= min(waits) < bound / 10
    assert bound * 0.9 < max(waits) <= bound


@given(st.lists(st.floats(0.0001, 1000), min_size=1))
def test_percentiles_are_two_percent_exact(values: list[float]) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    values.sort()
    for percent in (1, 50, 95, 99, 100):
        exact = values[max(0, -(-len(values) * percent // 100) - 1)]
        assert exact * 0.97 <= latencies.percentile(percent) <= exact * 1.03
    assert latencies.longest == values[-1]


def test_no_latencies_and_absurd_ones_are_no_error() -> None:
    latencies = Latencies()
    assert latencies.percentile(50) == 0.0
    for value in (0.0, -1.0, 1e9):
        latencies.add(value)
    assert latencies.count == 3


def test_the_live_line_tells_what_was_promised() -> None:
    statistics = Statistics(connected=2, pushed=10, acknowledged=8, reconnects=1)
    statistics.latencies.add(0.005)
    line = statistics.line(3.0)
    for part in ("connected 2", "pushed 10", "acknowledged 8", "p50/p95/p99 5.0/5.0/5.0", "max 5.0", "reconnects 1"):
        assert part in line
    assert "2 unanswered" in statistics.summary()
