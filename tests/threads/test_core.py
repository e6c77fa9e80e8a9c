"""The state machine alone: workers of which no thread is ever started, and a clock that stands still."""

from __future__ import annotations

import pytest

from mooring.threads.core import NEEDS_SAMPLER, NEEDS_THREAD, NO_HELP, OPEN, PoolCore
from mooring.threads.sizing import FAST_INTERVAL, GROW_AFTER, SHRINK_AFTER, SLOW_INTERVAL
from mooring.threads.tasks import Task
from mooring.threads.worker import Worker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Nobody:
    def _begin(self, worker: Worker) -> None: ...

    def _serve(self, worker: Worker) -> None: ...


class Bench:
    """A core, and the pool's part of the work done by hand."""

    def __init__(self, min_size: int = 1, max_size: int | None = None) -> None:
        self.clock = Clock()
        self.core = PoolCore("pool", min_size, max_size or min_size, self.clock)

    def task(self) -> Task:
        return (None, print, (), None, self.clock.now)

    def worker(self) -> Worker:
        return Worker("worker", Nobody())

    def submit(self) -> Worker | None:
        """One task; the worker that has begun with it, or None if it is queued or went to an idle one."""
        core = self.core
        if core.idle and core.state is OPEN:
            core.idle.pop()
            return None
        if core.enqueue(self.task()) is not NEEDS_THREAD:
            return None
        worker = self.worker()
        assert core.begin(worker) is not None
        return worker

    def busy(self, count: int) -> list[Worker]:
        workers = [self.submit() for _ in range(count)]
        assert None not in workers
        return workers  # type: ignore[return-value]


def test_a_thread_is_started_only_when_none_is_idle_and_the_target_allows() -> None:
    bench = Bench(2)
    core = bench.core
    assert core.enqueue(bench.task()) is NEEDS_THREAD
    assert core.enqueue(bench.task()) is NEEDS_THREAD
    assert core.enqueue(bench.task()) is NO_HELP
    assert (core.size, core.starting, core.running()) == (2, 2, 0)


def test_the_last_to_become_idle_is_on_top_and_the_longest_idle_leaves_first() -> None:
    bench = Bench(3)
    first, second, third = bench.busy(3)
    for worker in (second, first, third):
        assert bench.core.next_task(worker) is None
    assert bench.core.idle == [second, first, third]
    assert bench.core.resize(2, 2).leaving == [second]
    assert bench.core.idle == [first, third]


def test_busy_workers_that_are_too_many_leave_when_their_task_ends_and_the_last_stays() -> None:
    bench = Bench(3)
    workers = bench.busy(3)
    bench.submit()
    orders = bench.core.resize(1, 1)
    assert (orders.leaving, orders.starting) == ([], 0)
    assert bench.core.next_task(workers[0]) is None
    assert bench.core.next_task(workers[1]) is None
    assert workers[0].leaves
    assert workers[1].leaves
    assert bench.core.next_task(workers[2]) is not None
    assert bench.core.size == 1


def test_a_shrink_taken_back_costs_no_worker() -> None:
    bench = Bench(3)
    workers = bench.busy(3)
    bench.core.resize(1, 1)
    bench.core.resize(3, 3)
    for worker in workers:
        bench.core.next_task(worker)
        assert not worker.leaves
    assert bench.core.idle == workers


def test_a_larger_pool_gets_threads_for_what_is_queued_and_no_more() -> None:
    bench = Bench(1)
    bench.busy(1)
    bench.submit()
    bench.submit()
    assert bench.core.resize(8, 8).starting == 2


def test_threads_already_on_their_way_are_not_started_again() -> None:
    bench = Bench(2)
    bench.core.enqueue(bench.task())
    bench.core.enqueue(bench.task())
    assert bench.core.resize(4, 4).starting == 0


def test_a_paused_pool_gives_out_no_task_and_starts_no_thread() -> None:
    bench = Bench(2)
    (worker,) = bench.busy(1)
    bench.core.pause()
    assert bench.core.enqueue(bench.task()) is NO_HELP
    assert bench.core.next_task(worker) is None
    assert bench.core.idle == [worker]
    assert bench.core.is_quiet()
    bench.core.enqueue(bench.task())
    orders = bench.core.resume()
    assert [handed for handed, _ in orders.handed] == [worker]
    assert orders.starting == 1


def test_after_shutdown_the_queue_is_worked_off_and_then_workers_leave() -> None:
    bench = Bench(1)
    (worker,) = bench.busy(1)
    bench.submit()
    bench.core.shut()
    assert bench.core.settle().leaving == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        bench.core.enqueue(bench.task())
    assert bench.core.next_task(worker) is not None
    assert bench.core.next_task(worker) is None
    assert worker.leaves
    assert bench.core.is_over()
    assert bench.core.workers == {worker}, "kept, so that it can be joined"


def test_shutdown_of_a_paused_pool_hands_out_what_is_queued() -> None:
    bench = Bench(2)
    (worker,) = bench.busy(1)
    bench.core.next_task(worker)
    bench.core.pause()
    bench.core.enqueue(bench.task())
    bench.core.enqueue(bench.task())
    bench.core.shut()
    orders = bench.core.settle()
    assert ([handed for handed, _ in orders.handed], orders.starting) == ([worker], 1)


def test_a_thread_that_cannot_be_started_leaves_its_task_to_the_others_and_is_not_tried_at_once_again() -> None:
    bench = Bench(2)
    bench.busy(1)
    task = bench.task()
    assert bench.core.enqueue(task) is NEEDS_THREAD
    bench.core.uncount(1)
    assert not bench.core.withdraw(task), "there is a worker that will take it"
    assert bench.core.enqueue(bench.task()) is NO_HELP
    bench.clock.now += 1.0
    assert bench.core.enqueue(bench.task()) is NEEDS_THREAD


def test_without_any_thread_the_task_is_given_back_and_nothing_stays_counted() -> None:
    bench = Bench(1)
    task = bench.task()
    bench.core.enqueue(task)
    bench.core.uncount(1)
    assert bench.core.withdraw(task)
    assert not bench.core.withdraw(task)
    assert (bench.core.size, bench.core.starting, len(bench.core.queue)) == (0, 0, 0)
    assert bench.core.enqueue(bench.task()) is NEEDS_THREAD


def test_the_sampler_is_woken_once_when_a_task_waits_in_a_pool_that_could_grow() -> None:
    bench = Bench(1, 4)
    bench.busy(1)
    assert bench.core.enqueue(bench.task()) is NEEDS_SAMPLER
    assert bench.core.enqueue(bench.task()) is NO_HELP
    fixed = Bench(1)
    fixed.busy(1)
    assert fixed.core.enqueue(fixed.task()) is NO_HELP


def test_a_pool_grows_while_tasks_wait_and_gives_the_threads_back_after_silence() -> None:
    bench = Bench(1, 4)
    core, clock = bench.core, bench.clock
    workers = bench.busy(1)
    for _ in range(8):
        core.enqueue(bench.task())
    assert core.adjust_by_sampler()[1] == FAST_INTERVAL
    assert core.target == 1, "nothing has waited yet"
    clock.now += 2 * GROW_AFTER
    while core.target < 4:
        orders, interval = core.adjust_by_sampler()
        assert orders.starting == 1
        worker = bench.worker()
        assert core.begin(worker) is not None
        workers.append(worker)
    assert interval == SLOW_INTERVAL, "at its largest there is nothing to hurry for"
    core.queue.clear()
    for worker in workers:
        core.next_task(worker)
    assert core.adjust_by_sampler()[1] == SLOW_INTERVAL
    clock.now += SHRINK_AFTER - 0.1
    core.adjust_by_sampler()
    assert core.target == 4
    clock.now += 0.1
    assert [core.adjust_by_sampler()[1] for _ in range(2)] == [SLOW_INTERVAL, None]
    assert (core.target, core.size, core.grown, core.shrunk) == (1, 1, 3, 2)
    assert core.idle == [workers[-1]], "the last one used is the last to go"


def test_rest_during_a_pause_is_no_reason_to_shrink() -> None:
    bench = Bench(1, 2)
    (worker,) = bench.busy(1)
    bench.core.target = 2
    bench.core.next_task(worker)
    bench.core.adjust()
    bench.core.pause()
    bench.clock.now += 10 * SHRINK_AFTER
    assert bench.core.adjust_by_sampler()[1] is None, "a paused pool is not sampled"
    bench.core.resume()
    bench.core.adjust()
    assert (bench.core.target, bench.core.shrunk) == (2, 0)


def test_every_task_is_in_exactly_one_count() -> None:
    bench = Bench(1)
    bench.busy(1)
    bench.submit()
    bench.clock.now += 3.0
    stats = bench.core.stats()
    assert (stats.busy, stats.queued, stats.completed, stats.oldest_wait) == (1, 1, 0, 3.0)
    assert len(bench.core.take_queue()) == 1
    assert bench.core.stats().cancelled == 1
