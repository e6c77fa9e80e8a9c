from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future, as_completed
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

import pytest
from waiting import wait_until

from mooring.errors import QueueFull
from mooring.threads import ThreadPool, ThreadPoolStats
from mooring.threads import staff as staff_module
from mooring.threads.core import PoolCore


class Gate:
    """A task that says when it has begun and ends when it is told to."""

    def __init__(self) -> None:
        self._begun = threading.Semaphore(0)
        self._end = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> threading.Thread:
        self.threads.append(threading.current_thread())
        self._begun.release()
        assert self._end.wait(30)
        return threading.current_thread()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._begun.acquire(timeout=20), "the task does not begin"

    def open(self) -> None:
        self._end.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def names(prefix: str) -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(prefix))


def check_sum(stats: ThreadPoolStats, tasks: int) -> None:
    assert stats.queued + stats.busy + stats.completed + stats.failed + stats.cancelled == tasks


# --- an executor ---------------------------------------------------------------------------------------------------


def test_it_is_an_executor() -> None:
    with ThreadPool(4) as pool:
        assert isinstance(pool, Executor)
        assert pool.submit(divmod, 17, 5).result(10) == (3, 2)
        assert pool.submit(lambda *, key: key, key="value").result(10) == "value"
        assert list(pool.map(pow, [2, 3], [5, 2])) == [32, 9]
        assert {future.result() for future in as_completed([pool.submit(abs, -n) for n in range(50)])} == set(range(50))


def test_no_thread_is_there_before_the_first_task() -> None:
    with ThreadPool(4, thread_name_prefix="lazy"):
        assert names("lazy") == []


def test_threads_have_the_given_prefix_and_are_daemons(gate: Gate) -> None:
    with ThreadPool(2, thread_name_prefix="prefix") as pool:
        futures = [pool.submit(gate) for _ in range(2)]
        gate.wait_for(2)
        gate.open()
        assert sorted(future.result(10).name for future in futures) == ["prefix_0", "prefix_1"]
        assert all(thread.daemon for thread in gate.threads)
    assert names("prefix") == []


def test_an_idle_thread_is_used_again_before_another_is_started() -> None:
    with ThreadPool(1, 8) as pool:
        for _ in range(20):
            pool.submit(abs, -1).result(10)
            assert pool.wait_for_completion(10)
        assert pool.stats().size == 1


def test_the_thread_that_became_idle_last_is_used_first() -> None:
    with ThreadPool(3) as pool:
        gates = [Gate() for _ in range(3)]
        for gate in gates:
            pool.post(gate)
            gate.wait_for(1)
        for index in (1, 2, 0):
            gates[index].open()
            wait_until(lambda: pool.stats().idle == [1, 2, 0].index(index) + 1)  # noqa: B023
        again = Gate()
        pool.post(again)
        again.wait_for(1)
        again.open()
        assert again.threads == gates[0].threads


def test_a_queued_task_can_be_cancelled_and_does_not_run(gate: Gate) -> None:
    ran: list[int] = []
    with ThreadPool(1) as pool:
        pool.post(gate)
        gate.wait_for(1)
        future = pool.submit(ran.append, 1)
        assert future.cancel()
        gate.open()
        assert pool.wait_for_completion(10)
        assert (ran, pool.stats().cancelled) == ([], 1)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_costs_a_thread(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise kind

    with ThreadPool(1) as pool:
        first = pool.submit(threading.get_ident).result(10)
        assert isinstance(pool.submit(fail).exception(10), kind)
        pool.post(fail)
        assert pool.submit(threading.get_ident).result(10) == first
        assert pool.wait_for_completion(10)
        stats = pool.stats()
    assert (stats.completed, stats.failed) == (2, 2)
    assert len(caplog.records) == 1, "the post is logged, the future has its own"


def test_the_initializer_runs_once_in_every_thread(gate: Gate) -> None:
    local = threading.local()

    def initialize(value: int) -> None:
        local.value = getattr(local, "value", 0) + value

    def read() -> int:
        gate()
        return int(local.value)

    with ThreadPool(3, initializer=initialize, initargs=(7,)) as pool:
        futures = [pool.submit(read) for _ in range(6)]
        gate.wait_for(3)
        gate.open()
        assert [future.result(10) for future in futures] == [7] * 6


def test_an_initializer_that_raises_breaks_the_pool_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("no licence")

    with ThreadPool(2, initializer=fail) as pool:
        assert isinstance(pool.submit(abs, -1).exception(10), BrokenThreadPool)
        with pytest.raises(BrokenThreadPool, match="its initializer raised"):
            pool.submit(abs, -1)
        with pytest.raises(BrokenThreadPool):
            pool.post(abs, -1)
        assert pool.wait_for_completion(10)
    assert "no licence" in caplog.text


def test_what_makes_no_sense_is_refused() -> None:
    for sizes in ((0, None), (-3, 4), (3, 2)):
        with pytest.raises(ValueError):
            ThreadPool(*sizes)
    with pytest.raises(TypeError, match="initializer"):
        ThreadPool(1, initializer=3)  # type: ignore[arg-type]
    with ThreadPool(2) as pool:
        for sizes in ((0, None), (-3, 4), (3, 2)):
            with pytest.raises(ValueError):
                pool.resize(*sizes)
        assert (pool.stats().min_size, pool.stats().max_size) == (2, 2)


# --- pause, resume, completion -------------------------------------------------------------------------------------


def test_a_paused_pool_finishes_what_runs_and_starts_nothing(gate: Gate) -> None:
    ran: list[int] = []
    with ThreadPool(2) as pool:
        pool.post(gate)
        gate.wait_for(1)
        pool.pause()
        pool.pause()
        assert pool.paused
        for number in range(5):
            pool.post(ran.append, number)
        assert not pool.wait_for_completion(0.01)
        gate.open()
        assert pool.wait_for_completion(10), "paused: it waits for the running one only"
        assert (ran, pool.stats().queued, pool.stats().paused) == ([], 5, True)
        pool.resume()
        pool.resume()
        assert pool.wait_for_completion(10)
        assert sorted(ran) == [0, 1, 2, 3, 4]


def test_a_pause_lets_those_go_who_wait_for_completion(gate: Gate) -> None:
    with ThreadPool(1) as pool:
        pool.pause()
        pool.post(abs, -1)
        pool.resume()
        pool.post(gate)
        gate.wait_for(1)
        pool.post(abs, -1)
        with ThreadPool(1) as other:
            waiting = other.submit(pool.wait_for_completion, 20)
            wait_until(lambda: pool._core.waiters)
            pool.pause()
            gate.open()
            assert waiting.result(10) is True
        assert pool.stats().queued == 1


def test_waiting_for_completion_ends_with_the_last_task_or_its_time(gate: Gate) -> None:
    with ThreadPool(2) as pool:
        assert pool.wait_for_completion(0)
        pool.post(gate)
        gate.wait_for(1)
        assert not pool.wait_for_completion(0)
        assert not pool.wait_for_completion(-1)
        assert pool._core.waiters == [], "who gave up is forgotten"
        gate.open()
        assert pool.wait_for_completion()


def test_waiting_from_a_task_of_the_same_pool_is_refused() -> None:
    with ThreadPool(1) as pool:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            pool.submit(pool.wait_for_completion).result(10)
        with pytest.raises(RuntimeError, match="would wait for itself"):
            pool.submit(pool.shutdown).result(10)
        assert pool.submit(abs, -1).result(10) == 1, "nothing was changed"
        pool.submit(pool.shutdown, wait=False).result(10)
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(abs, -1)


# --- size ----------------------------------------------------------------------------------------------------------


def test_a_larger_pool_takes_up_what_is_queued_at_once(gate: Gate) -> None:
    with ThreadPool(1) as pool:
        for _ in range(4):
            pool.post(gate)
        gate.wait_for(1)
        assert (pool.stats().busy, pool.stats().queued) == (1, 3)
        pool.resize(4)
        gate.wait_for(3)
        assert (pool.stats().busy, pool.stats().queued) == (4, 0)
        gate.open()


def test_a_smaller_pool_lets_idle_threads_go_and_busy_ones_when_they_are_done(gate: Gate) -> None:
    with ThreadPool(4, thread_name_prefix="shrink") as pool:
        held = Gate()
        for task in (gate, gate, held, held):
            pool.post(task)
        gate.wait_for(2)
        held.wait_for(2)
        gate.open()
        wait_until(lambda: pool.stats().idle == 2)
        pool.resize(1)
        wait_until(lambda: len(names("shrink")) == 2)
        assert pool.stats().busy == 2
        held.open()
        wait_until(lambda: len(names("shrink")) == 1)
        assert pool.submit(abs, -1).result(10) == 1


def test_a_pool_between_bounds_grows_by_itself_while_tasks_wait(gate: Gate) -> None:
    with ThreadPool(1, 6) as pool:
        for _ in range(10):
            pool.post(gate)
        gate.wait_for(6)
        stats = pool.stats()
        assert (stats.size, stats.busy, stats.target, stats.grown) == (6, 6, 6, 5)
        gate.open()


def test_a_pool_between_bounds_shrinks_by_itself_after_silence(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TRIM_AFTER", 0.02), ("LASTING", 0.02)):
        monkeypatch.setattr(f"mooring.threads.sizing.{name}", seconds)
    monkeypatch.setattr("mooring.threads.core.SLOW_INTERVAL", 0.03)
    with ThreadPool(2, 6, thread_name_prefix="age", stuck_after=None) as pool:
        for _ in range(12):
            pool.post(gate)
        gate.wait_for(6)
        gate.open()
        wait_until(lambda: pool.stats().size == 2)
        wait_until(lambda: len(names("age")) == 2)
        wait_until(lambda: pool._core.sampling_interval() is None, what="at its least it is not sampled")


def test_a_step_of_sizing_can_be_taken_by_hand(gate: Gate) -> None:
    with ThreadPool(1, 3, stuck_after=None) as pool:
        assert pool.adjust() == 1
        core: PoolCore = pool._core
        core.samples_fast = True  # as if the sampler were awake already: nobody wakes it
        for _ in range(3):
            pool.post(gate)
        gate.wait_for(1)
        later = core.clock()
        for expected in (2, 3, 3):
            later += 0.3
            core.clock = lambda: later  # noqa: B023
            assert pool.adjust() == expected
            gate.wait_for(expected - pool.stats().busy)
        gate.open()


def test_a_fixed_pool_without_a_watch_has_no_sampler_and_stays_as_it_is(gate: Gate) -> None:
    before = threading.active_count()
    with ThreadPool(2, stuck_after=None) as pool:
        for _ in range(10):
            pool.post(gate)
        gate.wait_for(2)
        assert pool.adjust() == 2
        assert threading.active_count() == before + 2
        gate.open()


def test_the_first_task_starts_the_least_size_and_it_is_kept(gate: Gate) -> None:
    with ThreadPool(3, 6, thread_name_prefix="least") as pool:
        assert pool.stats().size == 0
        pool.submit(abs, -1).result(10)
        wait_until(lambda: names("least") == ["least_0", "least_1", "least_2"])
        pool.resize(5, 6)
        assert pool.stats().size == 5, "min <= live"


def test_what_the_pool_shows_while_it_does_not_count_changes_nothing(gate: Gate) -> None:
    with ThreadPool(1, 8) as pool:
        detach = pool.attach(counts=lambda: False)
        for _ in range(8):
            pool.post(gate)
        gate.wait_for(1)
        samples = pool._core.memory
        wait_until(lambda: pool._core.memory is not samples)
        for _ in range(5):
            assert pool.adjust() == 1
        detach()
        gate.wait_for(1)
        gate.open()


def test_the_cpu_time_of_its_threads_is_known_and_only_grows() -> None:
    def compute() -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < 0.02:
            pass

    with ThreadPool(2, 4) as pool:
        assert pool._core.cpu_of_workers() == 0.0
        for future in [pool.submit(compute) for _ in range(4)]:
            future.result(30)
        with pool._mutex:
            used = pool._core.cpu_of_workers()
        assert used is not None
        assert used >= 0.08
        pool.resize(1)
        with pool._mutex:
            assert (pool._core.cpu_of_workers() or 0.0) >= used
    assert pool._core.cpu_of_workers() is None, "its threads are gone, and must not be asked"


# --- the queue's limit ---------------------------------------------------------------------------------------------


def test_no_more_tasks_wait_than_the_limit_allows(gate: Gate) -> None:
    with ThreadPool(2, queue_limit=3) as pool:
        for _ in range(2):
            pool.post(gate)
        gate.wait_for(2)
        futures = [pool.submit(abs, -1) for _ in range(3)]
        for call in (pool.submit, pool.post):
            with pytest.raises(QueueFull, match="3 tasks wait and 2 run, its queue_limit of 3 is reached"):
                call(abs, -1)  # type: ignore[operator]
        gate.open()
        assert [future.result(10) for future in futures] == [1, 1, 1]
        assert pool.submit(abs, -1).result(10) == 1


def test_a_limit_of_zero_takes_what_there_are_threads_for(gate: Gate) -> None:
    with ThreadPool(2, queue_limit=0) as pool:
        for _ in range(2):
            pool.post(gate)
        with pytest.raises(QueueFull):
            pool.post(gate)
        gate.open()


# --- map -----------------------------------------------------------------------------------------------------------


def test_map_takes_no_more_from_its_input_than_the_buffer_holds() -> None:
    with ThreadPool(2) as pool:
        taken = itertools.count()
        results = pool.map(abs, taken, buffersize=4)
        assert next(taken) == 4
        assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
        assert next(taken) == 9
        results.close()  # type: ignore[attr-defined]
        for wrong, error in ((0, ValueError), (1.5, TypeError)):
            with pytest.raises(error, match="buffersize"):
                pool.map(abs, [], buffersize=wrong)  # type: ignore[arg-type]


def test_map_gives_up_at_its_time_and_cancels_the_rest(gate: Gate) -> None:
    with ThreadPool(1) as pool:
        results = pool.map(lambda _: gate(), range(3), timeout=0.01)
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()
        assert pool.wait_for_completion(10)
        assert pool.stats().cancelled == 2


# --- what is stuck -------------------------------------------------------------------------------------------------


def test_a_stuck_task_is_reported_once_replaced_and_its_end_is_told(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPool(1, stuck_after=0.05) as pool:
        pool.attach(describe=lambda ident, function, args: "route 'login'")
        pool.post(gate)
        gate.wait_for(1)
        assert pool.submit(abs, -1).result(10) == 1, "another thread has taken its place"
        assert (pool.stats().stuck, pool.stats().stuck_ever, pool.stats().target) == (1, 1, 1)
        info = pool.dump()[0]
        assert (info.task, info.stuck) == ("Gate (route 'login')", True)
        assert info.seconds >= 0.05
        gate.open()
        wait_until(lambda: "has ended after" in caplog.text)
        wait_until(lambda: pool.stats().size == 1)
    (report,) = (record.getMessage() for record in caplog.records if "runs for" in record.getMessage())
    assert "Gate (route 'login')" in report
    assert "self._end.wait(30)" in report, "its stack"
    assert pool.stats().stuck == 0


def test_the_report_of_a_stuck_task_says_when_no_thread_takes_its_place(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPool(1, stuck_after=0.05) as pool:
        pool.post(gate)
        pool.post(gate)
        wait_until(lambda: caplog.text.count("runs for") == 2)
        gate.open()
    first, second = (record.getMessage() for record in caplog.records if "runs for" in record.getMessage())
    assert "another thread takes its place" in first
    assert "no thread takes its place: more tasks are stuck than the pool may have threads" in second


def test_a_task_that_waits_for_a_task_of_the_same_full_pool_is_named_a_deadlock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ThreadPool(1, stuck_after=0.05) as pool:
        assert pool.submit(lambda: pool.submit(abs, -1).result(20)).result(20) == 1, "the replacement resolves it"
        assert pool.wait_for_completion(10)
    assert "DEADLOCK: it waits for abs, which is queued in this same pool" in caplog.text


def test_histograms_tell_how_long_tasks_waited_and_ran() -> None:
    with ThreadPool(1) as pool:
        for _ in range(10):
            pool.submit(abs, -1)
        pool.submit(threading.Event().wait, 0.02)
        assert pool.wait_for_completion(10)
        stats = pool.stats()
    assert (stats.waits.count, stats.runs.count) == (11, 11)
    assert stats.runs.quantile(0.5) < 0.02 <= stats.runs.quantile(1.0)


# --- the end -------------------------------------------------------------------------------------------------------


def test_shutdown_runs_what_is_queued_and_ends_all_threads() -> None:
    done: list[int] = []
    pool = ThreadPool(3, 9, thread_name_prefix="end")
    for number in range(500):
        pool.post(done.append, number)
    pool.shutdown()
    assert sorted(done) == list(range(500))
    assert names("end") == []
    pool.shutdown()
    pool.shutdown(wait=False)


def test_shutdown_of_a_paused_pool_resumes_it(gate: Gate) -> None:
    never_used = ThreadPool(2)
    never_used.pause()
    future = never_used.submit(abs, -1)
    never_used.shutdown()
    assert future.result(0) == 1


def test_shutdown_can_cancel_what_is_queued(gate: Gate) -> None:
    pool = ThreadPool(1)
    running = pool.submit(gate)
    gate.wait_for(1)
    queued = [pool.submit(abs, -1) for _ in range(5)]
    pool.post(abs, -1)
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in queued)
    with pytest.raises(CancelledError):
        queued[0].result(0)
    gate.open()
    running.result(10)
    pool.shutdown()
    assert (pool.stats().cancelled, pool.stats().completed) == (6, 1)


def test_after_shutdown_every_call_says_so_or_is_harmless() -> None:
    pool = ThreadPool(1)
    pool.shutdown()
    for call in (lambda: pool.submit(abs, -1), lambda: pool.post(abs, -1)):
        with pytest.raises(RuntimeError, match="after shutdown"):
            call()
    for refused in (pool.pause, lambda: pool.resize(3)):
        with pytest.raises(RuntimeError, match="it is shut down"):
            refused()
    pool.resume()
    assert pool.adjust() == 1
    assert pool.wait_for_completion(0)
    assert "shut down" in repr(pool)


def test_a_pool_that_nobody_holds_any_more_ends_its_threads_after_its_work(gate: Gate) -> None:
    pool = ThreadPool(2, thread_name_prefix="dropped")
    futures = [pool.submit(gate) for _ in range(2)]
    futures += [pool.submit(threading.current_thread) for _ in range(5)]
    gate.wait_for(2)
    gone = weakref.ref(pool)
    del pool
    gate.open()
    assert len({future.result(10) for future in futures}) <= 2
    wait_until(lambda: gone() is None and names("dropped") == [])


def test_a_task_handed_to_an_idle_thread_is_run_though_its_pool_is_dropped() -> None:
    pool = ThreadPool(1, thread_name_prefix="handed")
    pool.submit(abs, -1).result(10)
    pool.wait_for_completion(10)
    future = pool.submit(abs, -2)
    del pool
    assert future.result(10) == 2
    wait_until(lambda: names("handed") == [])


def test_a_paused_pool_that_is_dropped_cancels_what_it_held(caplog: pytest.LogCaptureFixture) -> None:
    pool = ThreadPool(1)
    pool.pause()
    future = pool.submit(abs, -1)
    del pool
    wait_until(future.cancelled)
    assert "dropped while paused, with 1 tasks" in caplog.text


# --- threads that cannot be started --------------------------------------------------------------------------------


class Refusing(threading.Thread):
    refuses = True

    def start(self) -> None:
        if Refusing.refuses:
            raise RuntimeError("can't start new thread")
        super().start()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> type[Refusing]:
    monkeypatch.setattr(threading, "Thread", Refusing)
    monkeypatch.setattr(Refusing, "refuses", True)
    return Refusing


def test_a_task_stays_queued_when_no_further_thread_can_be_started(
    refusing: type[Refusing], gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    refusing.refuses = False
    with ThreadPool(1) as pool:
        pool.post(gate)
        gate.wait_for(1)
        refusing.refuses = True
        pool.resize(4)
        futures = [pool.submit(abs, -number) for number in range(3)]
        assert pool.stats().size == 1
        assert caplog.text.count("can't start new thread") == 1, "the second is not even tried so soon"
        gate.open()
        assert [future.result(10) for future in futures] == [0, 1, 2]


def test_the_submitter_is_told_when_there_is_no_thread_at_all(refusing: type[Refusing]) -> None:
    with ThreadPool(2) as pool:
        with pytest.raises(RuntimeError, match="has no thread, and none can be started: can't start new thread"):
            pool.submit(abs, -1)
        assert (pool.stats().size, pool.stats().queued) == (0, 0)
        refusing.refuses = False
        assert pool.submit(abs, -1).result(10) == 1


def test_shutdown_runs_the_queue_itself_when_there_is_no_thread_at_all(refusing: type[Refusing]) -> None:
    pool = ThreadPool(2)
    future: Future[Any] = Future()
    with pool._mutex:  # as those who submit while the first threads are on their way, which then do not come
        pool._core.queue.append((future, threading.current_thread, (), {}, 0.0))
    pool.shutdown()
    assert future.result(0) is threading.current_thread()
    assert pool.stats().completed == 1


def test_tasks_left_by_several_submitters_whose_threads_all_failed_run_as_soon_as_there_is_one(
    refusing: type[Refusing],
) -> None:
    with ThreadPool(2) as pool:
        left: Future[Any] = Future()
        with pool._mutex:
            pool._core.queue.append((left, abs, (-7,), {}, 0.0))
        with pytest.raises(RuntimeError, match="has no thread"):
            pool.submit(abs, -1)
        refusing.refuses = False
        assert pool.submit(abs, -2).result(10) == 2
        assert left.result(10) == 7


def test_a_pool_that_cannot_start_its_sampler_still_works(refusing: type[Refusing], gate: Gate) -> None:
    refusing.refuses = False
    with ThreadPool(1, 4) as pool:
        pool.post(gate)
        gate.wait_for(1)
        refusing.refuses = True
        future = pool.submit(abs, -1)
        refusing.refuses = False
        gate.open()
        assert future.result(10) == 1


def test_patience_at_exit_is_finite() -> None:
    assert 0 < staff_module.EXIT_PATIENCE < 60
