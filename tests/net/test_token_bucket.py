"""Token buckets, by a clock that is a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.net.limits.token_bucket import BucketTable, TokenBucket


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=10.0, size=5.0, now=100.0)
    for _ in range(5):
        assert bucket.wait(100.0, 1.0) == 0.0
        bucket.charge(1, 100.0)
    assert bucket.wait(100.0, 1.0) == pytest.approx(0.1)
    assert bucket.wait(100.1, 1.0) == pytest.approx(0.0)


def test_what_is_charged_beyond_what_is_there_is_owed() -> None:
    bucket = TokenBucket(rate=10.0, size=5.0, now=0.0)
    bucket.charge(25, 0.0)
    assert bucket.wait(0.0) == pytest.approx(2.0)
    assert bucket.wait(1.5) == pytest.approx(0.5)
    assert bucket.wait(2.0) == pytest.approx(0.0)
    assert not bucket.is_full(2.0)
    assert bucket.is_full(2.5)


def test_a_long_rest_saves_no_more_than_the_burst_and_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=10.0, size=5.0, now=0.0)
    bucket.charge(5, 1000.0)
    assert bucket.wait(1000.0, 1.0) == pytest.approx(0.1)
    assert bucket.wait(900.0, 1.0) == pytest.approx(0.1)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 20)), max_size=40))
def test_over_any_time_no_more_passes_than_the_burst_and_the_rate(steps: list[tuple[float, int]]) -> None:
    bucket, now, passed = TokenBucket(rate=4.0, size=6.0, now=0.0), 0.0, 0
    for pause, wanted in steps:
        now += pause
        for _ in range(wanted):
            if bucket.wait(now, 1.0) == 0.0:
                bucket.charge(1, now)
                passed += 1
    assert passed <= 6 + 4 * now + 1e-6


def test_each_key_has_a_bucket_of_its_own() -> None:
    table = BucketTable(rate=1.0, size=2.0, most=10)
    assert [table.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert table.take("b", 0.0)
    assert not table.take("a", 0.9)
    assert table.take("a", 1.0)  # what was refused cost nothing


def test_quiet_keys_are_forgotten_as_others_come() -> None:
    table = BucketTable(rate=1.0, size=2.0, most=1000)
    for number in range(500):
        table.take(number, 0.0)
    assert len(table) == 500
    for number in range(500, 800):
        table.take(number, 10.0)
    assert len(table) == 300


def test_a_flood_of_keys_is_bounded_and_the_one_that_keeps_coming_is_still_known() -> None:
    table = BucketTable(rate=0.001, size=3.0, most=100)
    taken = 0
    for number in range(100_000):
        table.take(number, 0.0)
        if number % 50 == 0:
            taken += table.take("again and again", 0.0)
    assert len(table) <= 100
    assert taken == 3
