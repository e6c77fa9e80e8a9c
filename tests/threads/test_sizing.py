import pytest

from mooring.threads.sizing import GROW_AFTER, Sample, checked_sizes, next_size

WAITED = GROW_AFTER * 2


def sample(size: int, **fields: float) -> Sample:
    return Sample(size=size, min_size=2, max_size=64, **fields)  # type: ignore[arg-type]


def test_a_pool_without_load_keeps_its_size() -> None:
    assert next_size(sample(10, busy=3, idle=7)) == 10


def test_a_task_that_has_waited_while_nothing_is_idle_brings_a_thread() -> None:
    assert next_size(sample(2, busy=2, queued=1, oldest_wait=WAITED)) == 3


def test_a_long_queue_that_moves_fast_brings_none() -> None:
    assert next_size(sample(2, busy=2, queued=10_000, oldest_wait=GROW_AFTER / 2)) == 2


def test_nothing_grows_while_a_thread_is_idle_or_on_its_way() -> None:
    assert next_size(sample(4, busy=3, idle=1, queued=5, oldest_wait=WAITED)) == 4
    assert next_size(sample(4, busy=3, starting=1, queued=5, oldest_wait=WAITED)) == 4


def test_growth_is_a_quarter_but_not_more_than_what_waits() -> None:
    assert next_size(sample(40, busy=40, queued=100, oldest_wait=WAITED)) == 50
    assert next_size(sample(40, busy=40, queued=3, oldest_wait=WAITED)) == 43


def test_the_size_ends_at_its_bounds() -> None:
    assert next_size(sample(63, busy=63, queued=100, oldest_wait=WAITED)) == 64
    assert next_size(sample(64, busy=64, queued=100, oldest_wait=WAITED)) == 64
    assert next_size(sample(3, idle=3, unused=3)) == 2
    assert next_size(sample(2, idle=2, unused=2)) == 2
    assert next_size(sample(1)) == 2
    assert next_size(sample(100)) == 64


def test_from_least_to_most_takes_few_steps() -> None:
    size, steps = 2, 0
    while size < 64:
        size = next_size(sample(size, busy=size, queued=1000, oldest_wait=1.0))
        steps += 1
    assert steps == 17


def test_half_of_the_unused_threads_go() -> None:
    assert next_size(sample(20, idle=9, unused=8)) == 16
    assert next_size(sample(20, idle=9, unused=1)) == 19


def test_no_thread_goes_while_tasks_wait() -> None:
    assert next_size(sample(20, idle=9, unused=8, queued=1)) == 20


def test_a_paused_pool_neither_grows_nor_shrinks() -> None:
    assert next_size(sample(4, busy=4, queued=100, oldest_wait=60.0, paused=True)) == 4
    assert next_size(sample(20, idle=20, unused=20, paused=True)) == 20


@pytest.mark.parametrize("queued", [0, 1, 50])
@pytest.mark.parametrize("idle", [0, 5])
def test_the_same_sample_gives_the_same_size(queued: int, idle: int) -> None:
    value = sample(8, busy=8 - idle, idle=idle, queued=queued, oldest_wait=WAITED)
    assert next_size(value) == next_size(value)


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
