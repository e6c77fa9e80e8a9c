"""The histogram against the sorted values."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mooring.bench.histogram import Histogram, bucket_of, highest_in

LATENCIES = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200)


@given(st.integers(0, 1 << 50))
def test_a_bucket_holds_its_value_and_is_at_most_a_64th_wide(value: int) -> None:
    highest = highest_in(bucket_of(value))
    assert value <= highest <= value * (1 + 1 / 64)
    assert bucket_of(highest) == bucket_of(value)
    assert bucket_of(highest + 1) == bucket_of(value) + 1


@given(LATENCIES, st.floats(1, 100))
def test_a_percentile_is_that_of_the_sorted_values_and_at_most_a_64th_more(values: list[int], percent: float) -> None:
    exact = sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]
    assert exact <= Histogram(values).percentile(percent) <= exact * (1 + 1 / 64)


@given(LATENCIES)
def test_the_longest_is_exact(values: list[int]) -> None:
    histogram = Histogram(values)
    assert histogram.longest == histogram.percentile(100) == max(values)
    assert histogram.count == len(values)


def test_nothing_recorded_is_zero() -> None:
    assert (Histogram().percentile(99), Histogram().longest, Histogram().count) == (0, 0, 0)
