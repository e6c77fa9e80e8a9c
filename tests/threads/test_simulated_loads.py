"""Whole loads on the real state machine, with workers in memory and a clock that jumps: exact, and over in a moment."""

from __future__ import annotations

import pytest
from simulated_pool import Simulation

WAIT = 0.0051
"""Seconds that a wait of 5 ms takes in a thread."""


@pytest.mark.parametrize("seed", range(1, 7))
def test_tasks_that_wait_at_random_get_their_threads_at_once_and_the_size_is_steady(seed: int) -> None:
    pool = Simulation(2, 64, seed=seed)
    pool.post_at_random(2000, WAIT, 63)
    pool.run(63)
    assert pool.wait_quantile(0.99, 3, 63) < 0.010
    assert pool.sizes_between(3, 63) <= {11, 12, 13, 14}
    assert pool.changes_between(3, 63) <= 2
    pool.run(30)
    assert (pool.core.target, pool.core.size) == (2, 2)


@pytest.mark.parametrize(
    ("rate", "work", "lowest", "highest"), [(100, 0.1, 10, 18), (200, 0.2, 38, 60), (20, 0.02, 2, 2)]
)
def test_other_loads_get_what_they_need_too(rate: float, work: float, lowest: int, highest: int) -> None:
    """Arrivals by chance: of long tasks few come in the time that is looked at, and their number varies more."""
    pool = Simulation(2, 64)
    pool.post_at_random(rate, work, 65)
    pool.run(65)
    sizes = pool.sizes_between(5, 65)
    assert lowest <= min(sizes)
    assert max(sizes) <= highest
    assert pool.wait_quantile(0.99, 5, 65) < work


def test_a_load_that_moves_is_followed_both_ways() -> None:
    pool = Simulation(2, 64)
    for rate, size in ((400, 4), (2000, 13), (6000, 35), (1000, 8)):
        pool.post_at_random(rate, WAIT, 20)
        pool.run(20)
        assert abs(pool.core.target - size) <= max(2, size // 5), rate


@pytest.mark.parametrize(("callers", "seed"), [(8, 1), (8, 2), (8, 3), (20, 1), (50, 1)])
def test_callers_who_ask_again_when_they_are_answered_soon_have_a_thread_each(callers: int, seed: int) -> None:
    pool = Simulation(2, 64, seed=seed)
    pool.keep_busy(callers, WAIT, 12, pause=0.001)
    pool.run(12)
    assert min(pool.sizes_between(0.3, 12)) >= 0.9 * callers
    assert max(size for _, size in pool.sizes) <= callers
    assert pool.changes_between(0.3, 12) == 0


@pytest.mark.parametrize("seed", range(1, 9))
def test_callers_who_come_one_after_another_soon_have_threads_enough_too(seed: int) -> None:
    pool = Simulation(2, 64, seed=seed)
    for number in range(8):
        pool.after(0.02 * number, lambda: pool.keep_busy(1, WAIT, 12, pause=0.001))
    pool.run(12)
    waited = [wait for at, wait in pool.waits if 1 < at < 12]
    assert sum(waited) / len(waited) < 0.1 * WAIT
    assert max(size for _, size in pool.sizes) <= 9
    assert pool.changes_between(2, 12) == 0


def test_callers_who_wait_for_something_scarce_are_not_given_a_thread_each() -> None:
    pool = Simulation(2, 64, scarce=4)
    pool.keep_busy(64, WAIT, 45)
    pool.run(45)
    assert max(size for _, size in pool.sizes) <= 24, "and that only to see whether it helps"
    assert max(pool.sizes_between(15, 45)) <= 10


@pytest.mark.parametrize("least", [1, 2, 4])
def test_tasks_that_compute_get_no_thread_that_does_not_help(least: int) -> None:
    pool = Simulation(least, 64, cores=1)
    pool.keep_busy(32, 0.005, 60)
    pool.run(60)
    assert pool.sizes == [(0.0, least)]


@pytest.mark.parametrize("work", [0.0005, 0.005, 0.1])
def test_a_burst_is_done_and_the_size_comes_back(work: float) -> None:
    pool = Simulation(2, 64)
    for _ in range(10_000):
        pool.post(work)
    pool.run(120)
    assert len(pool.waits) == 10_000
    assert max(size for _, size in pool.sizes) > 2
    done = max(at + wait for at, wait in pool.waits)
    assert done < 10_000 * work / 2
    assert pool.core.target == pool.core.size == 2
    assert pool.sizes[-1][0] - done < 30


def test_a_pool_that_is_too_small_for_its_load_stays_at_its_most() -> None:
    pool = Simulation(2, 16)
    pool.keep_busy(1000, 0.05, 120)
    pool.run(120)
    seconds_below = sum(
        until - at
        for (at, size), (until, _) in zip(pool.sizes[1:], [*pool.sizes[2:], (120.0, 0)], strict=True)
        if size < 16
    )
    assert pool.core.target == 16
    assert seconds_below < 12, "only to see whether fewer would do"


def test_the_same_load_has_the_same_course() -> None:
    def course() -> list[tuple[float, int]]:
        pool = Simulation(2, 64, seed=7)
        pool.post_at_random(1500, WAIT, 10)
        pool.run(30)
        return pool.sizes

    assert course() == course()
