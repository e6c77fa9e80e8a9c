"""The state machine alone: workers of which no thread is ever started, and a clock that stands still."""

from __future__ import annotations

import pytest
from clock import Clock

from mooring.errors import QueueFull
from mooring.threads.core import NEEDS_SAMPLER, NEEDS_THREAD, NEEDS_THREADS, NO_HELP, START_RETRY, Orders, PoolCore
from mooring.threads.sizing import FAST_INTERVAL, SLOW_INTERVAL
from mooring.threads.tasks import COMPLETED, Task
from mooring.threads.worker import Worker


class Nobody:
    def _begin(self, worker: Worker) -> None: ...

    def _serve(self, worker: Worker) -> None: ...


class Bench:
    """A core, and the pool's part of the work done by hand. Threads begin at once unless they are kept back."""

    def __init__(
        self,
        min_size: int = 1,
        max_size: int | None = None,
        *,
        queue_limit: int | None = None,
        stuck_after: float | None = None,
    ) -> None:
        self.clock = Clock()
        self.core = PoolCore(
            "pool", min_size, max_size or min_size, self.clock, queue_limit=queue_limit, stuck_after=stuck_after
        )

    def task(self) -> Task:
        return (None, print, (), None, self.clock.now)

    def enqueue(self) -> None:
        self.core.enqueue(self.task())

    def begin(self) -> Worker:
        """One of the threads on their way is there."""
        worker = Worker("worker", Nobody())
        worker.task = self.core.begin(worker)
        return worker

    def first(self) -> list[Worker]:
        """The first task; the workers that are started then, which have begun."""
        assert self.core.enqueue(self.task()) is NEEDS_THREADS
        return [self.begin() for _ in range(self.core.settle().starting)]

    def busy(self) -> list[Worker]:
        """As many workers as the pool has at least, each with a task."""
        workers = self.first()
        for worker in workers[1:]:
            assert self.core.idle.pop(0) is worker
            worker.task, worker.started_at = self.task(), self.clock.now
        return workers

    def end(self, worker: Worker) -> bool:
        """The worker has done its task; whether it has got another."""
        core = self.core
        assert worker.task is not None
        core.tally.end(COMPLETED, worker.started_at - worker.task[4], self.clock.now - worker.started_at)
        if worker.stuck:
            core.recover(worker)
        worker.task = core.next_task(worker, self.clock.now)
        return worker.task is not None

    def adjust(self, counts: bool = True) -> Orders:
        return self.core.adjust(self.core.sample(cpu=0.0, cores=2, gil=True, counts=counts))


# --- threads -------------------------------------------------------------------------------------------------------


def test_the_first_task_starts_the_least_size() -> None:
    bench = Bench(3, 8)
    core = bench.core
    assert core.settle().starting == 0
    assert core.enqueue(bench.task()) is NEEDS_THREADS
    assert core.settle().starting == 3
    assert (core.size, core.starting, core.running()) == (3, 3, 0)
    assert core.settle().starting == 0


def test_a_worker_that_begins_takes_the_oldest_task_or_rests() -> None:
    bench = Bench(2)
    first, second = bench.first()
    assert first.task is not None
    assert second.task is None
    assert bench.core.idle == [second]


def test_a_thread_is_started_only_when_none_is_idle_and_the_size_allows() -> None:
    bench = Bench(1)
    bench.busy()
    assert bench.core.enqueue(bench.task()) is NO_HELP
    bench.core.resize(1, 3)
    bench.core.target = 2
    bench.core.set_limit()
    assert bench.core.enqueue(bench.task()) is NEEDS_THREAD
    assert (bench.core.size, bench.core.starting) == (2, 1)


def test_a_task_queued_while_a_worker_wakes_is_handed_on_by_it() -> None:
    bench = Bench(2)
    first, second = bench.first()
    assert not bench.end(first)
    core = bench.core
    core.waking = True
    assert core.idle.pop() is first
    assert core.enqueue(bench.task()) is NO_HELP
    handed = core.arrive()
    assert handed is not None
    assert handed[0] is second
    assert core.waking, "the next one is on its way now"
    assert core.arrive() is None
    assert not core.waking


def test_the_last_to_become_idle_is_on_top_and_the_longest_idle_leaves_first() -> None:
    bench = Bench(3)
    first, second, third = bench.busy()
    for worker in (second, first, third):
        assert not bench.end(worker)
    assert bench.core.idle == [second, first, third]
    assert bench.core.resize(2, 2).leaving == [second]
    assert bench.core.idle == [first, third]


def test_busy_workers_that_are_too_many_leave_when_their_task_ends_and_the_last_stays() -> None:
    bench = Bench(3)
    workers = bench.busy()
    bench.enqueue()
    orders = bench.core.resize(1, 1)
    assert (orders.leaving, orders.starting) == ([], 0)
    assert not bench.end(workers[0])
    assert not bench.end(workers[1])
    assert workers[0].leaves
    assert workers[1].leaves
    assert bench.end(workers[2])
    assert bench.core.size == 1


def test_a_shrink_taken_back_costs_no_worker() -> None:
    bench = Bench(3)
    workers = bench.busy()
    bench.core.resize(1, 1)
    bench.core.resize(3, 3)
    for worker in workers:
        bench.end(worker)
        assert not worker.leaves
    assert bench.core.idle == workers


def test_a_used_pool_gets_the_threads_of_its_new_least_size_at_once() -> None:
    bench = Bench(1)
    assert bench.core.resize(2, 2).starting == 0, "nobody has needed it yet"
    bench.busy()
    assert bench.core.resize(5, 8).starting == 3


def test_threads_already_on_their_way_are_not_started_again() -> None:
    bench = Bench(2)
    bench.enqueue()
    assert bench.core.settle().starting == 2
    bench.enqueue()
    assert bench.core.resize(2, 4).starting == 0


# --- pause, the end ------------------------------------------------------------------------------------------------


def test_a_paused_pool_gives_out_no_task_and_starts_no_thread() -> None:
    bench = Bench(1, 2)
    (worker,) = bench.busy()
    bench.core.target = 2
    bench.core.set_limit()
    bench.core.pause()
    assert bench.core.enqueue(bench.task()) is NO_HELP
    assert not bench.end(worker)
    assert bench.core.idle == [worker]
    assert bench.core.is_quiet()
    bench.enqueue()
    orders = bench.core.resume()
    assert [handed for handed, _ in orders.handed] == [worker]
    assert orders.starting == 1


def test_after_shutdown_the_queue_is_worked_off_and_then_workers_leave() -> None:
    bench = Bench(1)
    (worker,) = bench.busy()
    bench.enqueue()
    bench.core.shut()
    assert bench.core.settle().leaving == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        bench.enqueue()
    assert bench.end(worker)
    assert not bench.end(worker)
    assert worker.leaves
    assert bench.core.is_over()
    assert bench.core.workers == {worker}, "kept, so that it can be joined"


def test_shutdown_of_a_paused_pool_hands_out_what_is_queued() -> None:
    bench = Bench(1, 2)
    (worker,) = bench.busy()
    bench.end(worker)
    bench.core.target = 2
    bench.core.pause()
    bench.enqueue()
    bench.enqueue()
    bench.core.shut()
    orders = bench.core.settle()
    assert ([handed for handed, _ in orders.handed], orders.starting) == ([worker], 1)


def test_a_broken_pool_gives_back_its_queue_and_takes_nothing() -> None:
    bench = Bench(1)
    bench.enqueue()
    bench.core.settle()
    assert len(bench.core.break_down()) == 1
    assert bench.core.is_over()
    with pytest.raises(RuntimeError, match="its initializer raised"):
        bench.enqueue()


# --- threads that cannot be started --------------------------------------------------------------------------------


def test_a_thread_that_cannot_be_started_leaves_its_task_to_the_others_and_is_tried_again_later() -> None:
    bench = Bench(1)
    bench.busy()
    bench.core.target = bench.core.max_size = 2
    bench.core.set_limit()
    task = bench.task()
    assert bench.core.enqueue(task) is NEEDS_THREAD
    bench.core.uncount(1)
    assert not bench.core.withdraw(task), "there is a worker that will take it"
    assert bench.core.enqueue(bench.task()) is NO_HELP
    assert bench.core.sampling_interval() == START_RETRY
    assert bench.adjust().starting == 0
    bench.clock.now += START_RETRY
    assert bench.adjust().starting == 1


def test_without_any_thread_the_task_is_given_back_and_nothing_stays_counted() -> None:
    bench = Bench(1)
    task = bench.task()
    bench.core.enqueue(task)
    bench.core.uncount(bench.core.settle().starting)
    assert bench.core.withdraw(task)
    assert not bench.core.withdraw(task)
    assert (bench.core.size, bench.core.starting, len(bench.core.queue)) == (0, 0, 0)
    assert bench.core.enqueue(bench.task()) is NEEDS_THREADS, "as if it had never been used"


# --- the queue's limit ---------------------------------------------------------------------------------------------


def test_tasks_for_which_there_is_a_thread_to_come_do_not_count_as_waiting() -> None:
    bench = Bench(2, queue_limit=1)
    bench.enqueue()
    assert bench.core.settle().starting == 2
    bench.enqueue()
    bench.enqueue()
    with pytest.raises(QueueFull, match="queue_limit of 1"):
        bench.enqueue()
    bench.begin()
    with pytest.raises(QueueFull):
        bench.enqueue()


# --- sizing --------------------------------------------------------------------------------------------------------


def test_the_sampler_is_woken_once_when_a_task_waits_in_a_pool_that_could_grow() -> None:
    bench = Bench(1, 4)
    bench.busy()
    assert bench.core.enqueue(bench.task()) is NEEDS_SAMPLER
    assert bench.core.enqueue(bench.task()) is NO_HELP
    fixed = Bench(1)
    fixed.busy()
    assert fixed.core.enqueue(fixed.task()) is NO_HELP


def test_the_tasks_queued_before_the_first_threads_came_wake_the_sampler_too() -> None:
    bench = Bench(1, 4)
    bench.enqueue()
    bench.enqueue()
    assert bench.core.settle().wakes_sampler


def test_a_pool_is_sampled_often_while_tasks_wait_seldom_while_large_and_otherwise_not() -> None:
    bench = Bench(1, 4)
    core = bench.core
    (worker,) = bench.busy()
    assert core.sampling_interval() is None
    bench.enqueue()
    assert core.sampling_interval() == FAST_INTERVAL
    core.pause()
    assert core.sampling_interval() is None
    core.resume()
    assert bench.end(worker)
    assert core.sampling_interval() is None
    core.target = 2
    assert core.sampling_interval() == SLOW_INTERVAL


def test_a_growth_starts_threads_for_what_is_queued_and_is_counted_once() -> None:
    bench = Bench(4, 16)
    bench.busy()
    for _ in range(3):
        bench.enqueue()
    bench.adjust()
    bench.clock.now += 0.2
    assert bench.adjust().starting == 1, "nothing has ended yet: one more, to see"
    assert (bench.core.target, bench.core.size, bench.core.tally.grown) == (5, 5, 1)


@pytest.mark.parametrize("adjusts", [True, False])
def test_what_is_seen_while_paused_changes_nothing(adjusts: bool) -> None:
    bench = Bench(1, 4)
    core = bench.core
    (worker,) = bench.busy()
    core.target = 3
    bench.adjust()
    core.pause()
    assert not bench.end(worker)
    for _ in range(50):
        bench.enqueue()
    bench.clock.now += 1.0
    if adjusts:
        assert bench.adjust().starting == 0
    assert (core.target, core.tally.grown, core.tally.shrunk) == (3, 0, 0)
    core.resume()
    bench.clock.now += 0.1
    bench.adjust()
    assert core.target == 3, "the time of the pause is no measurement"


def test_what_is_seen_while_it_does_not_count_changes_nothing() -> None:
    bench = Bench(1, 4)
    bench.busy()
    for _ in range(50):
        bench.enqueue()
        bench.clock.now += 0.5
        bench.adjust(counts=False)
    assert bench.core.target == 1
    bench.clock.now += 0.5
    bench.adjust()
    assert bench.core.target == 1, "the time since then is the first that counts"
    bench.clock.now += 0.5
    bench.adjust()
    assert bench.core.target == 2


# --- stuck tasks ---------------------------------------------------------------------------------------------------


def test_a_task_is_stuck_once_its_time_is_over_and_its_thread_is_made_good_while_it_lasts() -> None:
    bench = Bench(1, stuck_after=60.0)
    core = bench.core
    (worker,) = bench.busy()
    worker.started_at = bench.clock.now
    bench.enqueue()
    assert core.sampling_interval() == pytest.approx(60.0, abs=0.01)
    bench.clock.now += 59.9
    assert core.take_stuck() == []
    bench.clock.now += 0.1
    ((found, _, seconds, made_good),) = core.take_stuck()
    assert (found, seconds, made_good) == (worker, pytest.approx(60.0), True)
    assert core.take_stuck() == [], "each is reported once"
    assert core.settle().starting == 1
    replacement = bench.begin()
    assert (core.size, core.stats().stuck, core.target) == (2, 1, 1)
    sample = core.sample(cpu=0.0, cores=1, gil=True, counts=True)
    assert sample.busy == 1, "the stuck one is not part of the load"
    assert not bench.end(worker)
    assert worker.leaves
    assert (core.size, core.stats().stuck, core.stats().stuck_ever) == (1, 0, 1)
    assert not replacement.leaves


def test_short_tasks_one_after_another_do_not_wake_the_sampler_each_time() -> None:
    bench = Bench(1, stuck_after=60.0)
    core = bench.core
    (worker,) = bench.busy()
    assert core.watch() is NEEDS_SAMPLER
    worker.started_at = bench.clock.now
    assert not bench.end(worker)
    assert core.sampling_interval() == 60.0, "something ran since: more of it may come"
    assert core.watch() is NO_HELP
    assert core.sampling_interval() is None, "nothing did: until it is woken"
    assert core.watch() is NEEDS_SAMPLER


def test_no_more_than_max_size_threads_are_made_good() -> None:
    bench = Bench(2, stuck_after=1.0)
    core = bench.core
    bench.busy()
    for _ in range(10):
        bench.enqueue()
    for _ in range(5):
        bench.clock.now += 2.0
        for worker in core.workers:
            worker.started_at = worker.started_at or bench.clock.now - 2.0
        core.take_stuck()
        for _ in range(core.settle().starting):
            bench.begin()
    assert (core.stuck, core.size) == (4, 4)


# --- what it tells -------------------------------------------------------------------------------------------------


def test_every_task_is_in_exactly_one_count() -> None:
    bench = Bench(1)
    bench.busy()
    bench.enqueue()
    bench.clock.now += 3.0
    stats = bench.core.stats()
    assert (stats.busy, stats.queued, stats.completed, stats.oldest_wait) == (1, 1, 0, 3.0)
    assert len(bench.core.take_queue()) == 1
    assert bench.core.stats().cancelled == 1


def test_after_a_fork_the_child_has_neither_tasks_nor_threads() -> None:
    bench = Bench(2, 4, stuck_after=1.0)
    bench.busy()
    bench.enqueue()
    bench.core.forget_others(None)
    stats = bench.core.stats()
    assert (stats.size, stats.busy, stats.queued, stats.stuck) == (0, 0, 0, 0)
    assert bench.core.enqueue(bench.task()) is NEEDS_THREADS
