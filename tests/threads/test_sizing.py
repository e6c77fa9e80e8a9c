"""The function alone: samples in, sizes out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mooring.threads import sizing
from mooring.threads.sizing import Memory, Sample, checked_sizes, is_used_up, next_step


class Pool:
    """What a pool would show: ``pass_time`` moves it on and gives the size that follows."""

    def __init__(self, size: int = 2, min_size: int = 2, max_size: int = 64) -> None:
        self.sample = Sample(now=1000.0, size=size, min_size=min_size, max_size=max_size)
        self.memory = next_step(Memory(size), self.sample)

    @property
    def size(self) -> int:
        return self.memory.size

    def pass_time(
        self,
        seconds: float,
        *,
        rate: float = 0.0,
        work: float = 0.0,
        wait: float = 0.0,
        cpu: float = 0.0,
        more: int = 0,
        **now: float,
    ) -> int:
        """``rate`` tasks a second arrive and end, each after ``wait`` and ``work`` seconds; ``more`` only arrive."""
        before, ended = self.sample, round(rate * seconds)
        self.sample = replace(
            before,
            now=before.now + seconds,
            size=self.size,
            arrived=before.arrived + ended + more,
            ended=before.ended + ended,
            waited=before.waited + ended * wait,
            worked=before.worked + ended * work,
            running=before.running if ended else before.running + now.get("busy", 0) * seconds,
            cpu=before.cpu + cpu * seconds,
            **{"busy": 0, "idle": 0, "queued": 0, "starting": 0, "oldest_wait": 0.0, "counts": True, **now},  # type: ignore[arg-type]
        )
        self.memory = next_step(self.memory, self.sample)
        return self.size


def test_a_pool_without_load_keeps_its_least_size() -> None:
    pool = Pool()
    assert [pool.pass_time(1.0, idle=2) for _ in range(100)] == [2] * 100


def test_the_first_sample_says_nothing() -> None:
    assert next_step(Memory(2), Sample(now=5.0, size=2, min_size=2, max_size=9, queued=50, oldest_wait=9.0)).size == 2


def test_tasks_that_wait_bring_the_threads_that_littles_law_asks_for() -> None:
    pool = Pool(size=6)
    sizes = [
        pool.pass_time(0.1, rate=1000, work=0.010, wait=0.05, busy=6, queued=20, oldest_wait=0.05) for _ in range(2)
    ]
    assert sizes == [6, 12], "once is chance; 10 are in use, and 0.75 times their root"


@pytest.mark.parametrize(
    ("work", "wait", "grows"),
    [
        (0.050, 0.0012, True),
        (0.050, 0.0008, False),
        (0.005, 0.0008, True),
        (0.005, 0.0004, False),
        (0.001, 0.0003, True),
        (0.001, 0.0002, False),
    ],
)
def test_how_long_tasks_may_wait_depends_on_how_long_they_take(work: float, wait: float, grows: bool) -> None:
    pool = Pool(size=6)
    late = {"rate": 6 / work, "work": work, "wait": wait, "busy": 6, "queued": 2, "oldest_wait": wait}
    for _ in range(3):
        pool.pass_time(0.2, **late)
    assert (pool.size > 6) is grows


def test_where_many_have_waited_it_does_not_matter_how_long_the_first_one_has() -> None:
    late = {"rate": 1150.0, "work": 0.005, "busy": 6, "queued": 2}
    for wait, oldest, size in ((0.0008, 0.00001, 8), (0.0001, 0.002, 6)):
        pool = Pool(size=6)
        for _ in range(2):
            pool.pass_time(0.1, wait=wait, oldest_wait=oldest, **late)
        assert pool.size == size


def test_a_backlog_brings_more_so_that_it_is_gone_in_a_second() -> None:
    pool = Pool(size=10)
    size = pool.pass_time(0.1, rate=1000, work=0.010, wait=0.5, busy=10, queued=1000, oldest_wait=0.5)
    assert size == 20


def test_a_growth_is_not_more_than_what_waits_nor_more_than_fourfold() -> None:
    pool = Pool(size=10)
    assert pool.pass_time(0.1, rate=1000, work=0.010, wait=0.5, busy=10, queued=1, oldest_wait=0.5) == 11
    pool = Pool(size=2)
    assert pool.pass_time(0.1, rate=1000, work=0.1, wait=0.5, busy=2, queued=500, oldest_wait=0.5) == 8


def test_a_long_queue_that_moves_fast_brings_none() -> None:
    pool = Pool()
    assert pool.pass_time(0.1, rate=90_000, work=1e-5, wait=0.001, busy=2, queued=200, oldest_wait=0.001) == 2


def test_nothing_grows_while_a_thread_is_idle_or_on_its_way() -> None:
    for there in ("idle", "starting"):
        pool = Pool()
        assert pool.pass_time(0.1, rate=1000, work=0.1, wait=0.5, queued=50, oldest_wait=0.5, **{there: 1}) == 2


def test_when_nothing_ends_it_grows_step_by_step() -> None:
    pool = Pool(size=8)
    assert [pool.pass_time(0.1, busy=pool.size, queued=50, oldest_wait=1.0) for _ in range(3)] == [10, 12, 15]


def test_a_process_that_has_used_up_its_core_does_not_grow() -> None:
    pool = Pool()
    for _ in range(50):
        assert pool.pass_time(0.1, rate=100, work=0.02, wait=0.5, cpu=0.97, busy=2, queued=50, oldest_wait=0.5) == 2


def test_a_core_that_others_have_used_up_says_nothing_of_tasks_that_wait() -> None:
    pool = Pool()
    late = {"rate": 400.0, "work": 0.005, "wait": 0.01, "cpu": 0.97, "busy": 2, "queued": 6, "oldest_wait": 0.01}
    sizes = [pool.pass_time(0.1, **late, computed=0.002 * number) for number in range(20)]  # 2 % of a core
    assert max(sizes) == 8
    pool = Pool()
    sizes = [pool.pass_time(0.1, **late, computed=0.09 * number) for number in range(20)]  # nearly all of it
    assert max(sizes) == 2


EIGHT_CALLERS = {"rate": 400.0, "work": 0.005, "wait": 0.015, "busy": 2, "queued": 6, "oldest_wait": 0.014}


def test_callers_who_ask_again_when_they_are_answered_get_a_thread_each() -> None:
    pool = Pool()
    sizes = [pool.pass_time(0.1, **EIGHT_CALLERS, computed=0.002 * number) for number in range(3)]
    assert sizes == [2, 8, 8], "the law alone sees what two threads can do, and asks for a third"


def test_callers_get_a_thread_each_also_after_a_time_with_little_to_do() -> None:
    pool = Pool()
    for _ in range(3):
        pool.pass_time(0.1, rate=20, work=0.005, idle=2, computed=0.0)
    for _ in range(2):
        pool.pass_time(0.1, **EIGHT_CALLERS, computed=0.0)
    assert pool.size == 8


@pytest.mark.parametrize(
    ("why", "first", "second"),
    [
        ("they compute", {"computed": 0.0}, {"computed": 0.08}),
        ("what they compute is not known", {"computed": None}, {"computed": None}),
        ("more come than end", {"computed": 0.0}, {"computed": 0.0, "more": 3}),
        ("more end than come", {"computed": 0.0}, {"computed": 0.0, "more": -3}),
        (
            "hardly any have ended",
            {"computed": 0.0, "rate": 90, "work": 0.02},
            {"computed": 0.0, "rate": 90, "work": 0.02},
        ),
    ],
)
def test_if_not_just_as_many_come_as_end_or_they_may_compute_the_law_decides(
    why: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    pool = Pool()
    pool.pass_time(0.1, **{**EIGHT_CALLERS, **first})
    assert pool.pass_time(0.1, **{**EIGHT_CALLERS, **second}) == 3, why


def test_a_step_that_did_not_pay_is_not_followed_by_another_large_one() -> None:
    pool = Pool(size=2)
    late: dict[str, Any] = {"work": 0.005, "wait": 0.05, "queued": 60, "oldest_wait": 0.05, "computed": 0.0}
    for _ in range(2):
        pool.pass_time(0.1, rate=400, busy=2, **late)
    assert pool.size == 8
    # Eight wait for what four can have: each of them twice as long.
    assert pool.pass_time(0.1, rate=800, busy=8, **{**late, "work": 0.01, "queued": 54}) < 16


def test_cores_count_only_where_threads_can_compute_at_once() -> None:
    assert is_used_up(0.9, cores=8, gil=True)
    assert not is_used_up(0.9, cores=8, gil=False)
    assert not is_used_up(0.5, cores=1, gil=True)
    assert not is_used_up(2.0, cores=4, gil=True), "more than a core: it computes without the GIL"
    assert is_used_up(3.6, cores=4, gil=True)


def test_a_growth_that_did_not_help_is_taken_back_and_not_tried_again_at_once() -> None:
    pool = Pool(size=4)
    late = {"rate": 100.0, "work": 0.04, "wait": 2.0, "queued": 400, "oldest_wait": 2.0}
    pool.pass_time(0.1, busy=4, **late)
    assert pool.size > 4
    sizes = [pool.pass_time(0.1, busy=pool.size, **late) for _ in range(50)]
    assert 4 in sizes[:15]
    assert sizes[sizes.index(4) :][:30] == [4] * 30


def test_a_growth_that_helped_is_kept() -> None:
    pool = Pool(size=4)
    pool.pass_time(0.1, rate=100, work=0.04, wait=2.0, busy=4, queued=400, oldest_wait=2.0)
    grown = pool.size
    for _ in range(12):
        pool.pass_time(0.1, rate=25 * grown, work=0.04, wait=2.0, busy=grown, queued=400, oldest_wait=2.0)
    assert pool.size >= grown > 4


def test_threads_that_the_load_does_not_need_go_after_a_while_and_not_before() -> None:
    pool = Pool(size=40)
    sizes = [pool.pass_time(1.0, rate=200, work=0.05, busy=10, idle=pool.size - 10) for _ in range(20)]
    assert sizes[:3] == [40] * 3
    assert sizes[-1] == 12


def test_between_growing_and_trimming_lies_a_band_in_which_nothing_changes() -> None:
    for size in (12, 13, 14):
        pool = Pool(size=size)
        assert {pool.pass_time(1.0, rate=200, work=0.05, busy=10, idle=size - 10) for _ in range(60)} == {size}


def test_after_silence_the_least_is_left_within_thirty_seconds() -> None:
    pool = Pool(size=64)
    pool.pass_time(1.0, rate=1200, work=0.05, busy=60, idle=4)
    sizes = [pool.pass_time(1.0, idle=pool.size) for _ in range(30)]
    assert sizes[-1] == 2
    assert sizes == sorted(sizes, reverse=True)


def test_fewer_threads_are_tried_when_tasks_always_wait_and_kept_if_that_does_no_harm() -> None:
    pool = Pool(size=16)
    late = {"rate": 100.0, "wait": 0.2, "cpu": 1.0, "queued": 50, "oldest_wait": 0.3}
    for _ in range(1000):
        pool.pass_time(0.1, work=pool.size / 100, busy=pool.size, **late)
    assert pool.size == 2


def test_fewer_threads_that_did_harm_are_taken_back() -> None:
    pool = Pool(size=16, max_size=16)
    sizes = [
        pool.pass_time(0.1, rate=10 * pool.size, work=0.1, wait=0.2, busy=pool.size, queued=50, oldest_wait=0.3)
        for _ in range(600)
    ]
    assert set(sizes) == {12, 16}
    assert sizes.count(12) < 100


@pytest.mark.parametrize("counts", [(False, False), (False, True), (True, False)])
def test_the_time_next_to_a_sample_that_does_not_count_says_nothing(counts: tuple[bool, bool]) -> None:
    pool = Pool()
    late = {"wait": 0.5, "busy": 2, "queued": 50, "oldest_wait": 0.5}
    pool.pass_time(0.1, idle=2, counts=counts[0])
    assert pool.pass_time(0.1, rate=100, work=0.1, counts=counts[1], **late) == 2
    if counts[1]:
        assert pool.pass_time(0.1, rate=100, work=0.1, **late) > 2


def test_a_sample_after_a_long_gap_is_a_beginning() -> None:
    pool = Pool()
    gap = sizing.LONGEST_WINDOW + 0.1
    assert pool.pass_time(gap, rate=100, work=0.1, wait=0.5, busy=2, queued=50, oldest_wait=0.5) == 2


def test_the_size_stays_within_its_bounds() -> None:
    late = {"rate": 1000.0, "work": 1.0, "wait": 0.5, "queued": 5000, "oldest_wait": 0.5}
    pool = Pool(size=63)
    assert pool.pass_time(0.1, busy=63, **late) == 64
    assert pool.pass_time(0.1, busy=64, **late) == 64
    for size, expected in ((1, 2), (100, 64)):
        assert Pool(size=size).size == expected
    fixed = Pool(size=4, min_size=4, max_size=4)
    assert {fixed.pass_time(0.1, busy=4, **late) for _ in range(100)} == {4}
    assert {fixed.pass_time(1.0, idle=4) for _ in range(100)} == {4}


def test_the_same_samples_give_the_same_sizes() -> None:
    def sizes() -> list[int]:
        pool = Pool()
        return [
            pool.pass_time(0.05 + step % 7 / 10, rate=step * 3, work=0.05, wait=step % 5 / 20, queued=step % 11)
            for step in range(200)
        ]

    assert sizes() == sizes()


def test_bounds_that_make_no_sense_are_refused() -> None:
    assert checked_sizes(3, None) == (3, 3)
    with pytest.raises(ValueError, match="min_size must be 1 or more, not 0"):
        checked_sizes(0, None)
    with pytest.raises(ValueError, match="not -1"):
        checked_sizes(-1, 4)
    with pytest.raises(ValueError, match=r"max_size \(2\) is smaller than min_size \(3\)"):
        checked_sizes(3, 2)
    with pytest.raises(TypeError):
        checked_sizes(1.5, 2)  # type: ignore[arg-type]
