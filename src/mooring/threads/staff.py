"""What happens inside a thread pool: tasks come in, threads are started and serve, the sampler looks after them."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

from . import exit as interpreter_exit
from .core import NEEDS_SAMPLER, NEEDS_THREADS, NO_HELP, OPEN, Help, Orders, PoolCore
from .sampler import Sampler
from .sizing import Sample, checked_sizes
from .tasks import Task, drop_tasks, run_task
from .watch import Describe, report_recovered, stuck_report
from .worker import Worker

logger = logging.getLogger("mooring.threads")

T = TypeVar("T")

EXIT_PATIENCE = 5.0
"""Seconds without a finished task after which exit gives up a pool that was shut down without waiting."""

ABANDONED_PATIENCE = 1.0
"""The same for one whose queue was cancelled, too: whoever did that is in a hurry."""

_pool_numbers = itertools.count()


class Staff(Executor):
    """The private half of ``ThreadPool``, which see.

    ``_mutex`` guards ``_core`` with all its fields, ``paused`` and ``_exit_patience``. Under it only fields change:
    tasks, callbacks, log lines, thread starts and waiting have no place there. ``_advisers`` is replaced, never
    changed.
    """

    def __init__(
        self,
        min_size: int,
        max_size: int | None,
        name: str,
        initializer: Callable[..., object] | None,
        initargs: tuple[object, ...],
        queue_limit: int | None,
        stuck_after: float | None,
    ) -> None:
        min_size, max_size = checked_sizes(min_size, max_size)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be callable, not {initializer!r}")
        if queue_limit is not None and queue_limit < 0:
            raise ValueError(f"queue_limit must be 0 or more, or None for no limit, not {queue_limit}")
        if stuck_after is not None and not stuck_after > 0:
            raise ValueError(f"stuck_after must be more than 0 seconds, or None to switch it off, not {stuck_after}")
        self._name = name or f"ThreadPool-{next(_pool_numbers)}"
        self._thread_numbers = itertools.count()
        self._initializer = initializer
        self._initargs = initargs
        self._mutex = threading.Lock()
        self._core = PoolCore(
            self._name, min_size, max_size, time.monotonic, queue_limit=queue_limit, stuck_after=stuck_after
        )
        self._advisers: tuple[tuple[Callable[[], bool] | None, Describe | None], ...] = ()
        self._sampler = Sampler(self, f"sampler of {self._name}")
        self.paused = False
        self._exit_patience: float | None = None  # None: as long as it takes
        interpreter_exit.register(self)

    # --- work comes in ---------------------------------------------------------------------------------------------

    def _accept(
        self,
        future: Future[T] | None,
        function: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object] | None,
    ) -> None:
        core, orders = self._core, None
        with self._mutex:
            task = (future, function, args, kwargs, core.clock())
            if core.idle and core.state is OPEN and not core.waking:
                core.waking = True
                worker = core.idle.pop()
                help_needed = NO_HELP if core.watched else core.watch()
            else:
                worker = None
                help_needed = core.enqueue(task)
                if help_needed is NEEDS_THREADS:
                    orders = core.settle()
        if worker is not None:
            worker.pool, worker.task = self, task  # `hand` by hand: once for every message of a server
            worker.baton.release()
        if help_needed is not NO_HELP:
            self._help(task, help_needed, orders or Orders([], [], 1, False))

    def _help(self, task: Task, help_needed: Help, orders: Orders) -> None:
        if help_needed is NEEDS_SAMPLER:
            self._wake_sampler()
            return
        exc = self._carry_out(orders)
        with self._mutex:
            is_lost = exc is not None and self._core.withdraw(task)
            is_short = self._core.is_short()
            watch = self._core.watch()
        if watch is NEEDS_SAMPLER or is_short:
            self._wake_sampler()
        if is_lost:
            raise RuntimeError(f"thread pool {self._name} has no thread, and none can be started: {exc}") from exc
        if exc is not None:
            self._tell_refusal(exc)

    def _tell_refusal(self, exc: Exception) -> None:
        if self._core.exiting:
            return  # the interpreter gives no more threads; `_finish_exit` sees to what is queued
        logger.warning("thread pool %s: %s; its tasks wait for the threads there are", self._name, exc)

    # --- threads ---------------------------------------------------------------------------------------------------

    def _start_threads(self, count: int) -> Exception | None:
        """Start threads that are already counted; if the system refuses, uncount the rest and return why."""
        for started in range(count):
            worker = Worker(f"{self._name}_{next(self._thread_numbers)}", self)
            try:
                worker.thread.start()
            except (RuntimeError, MemoryError) as exc:
                with self._mutex:
                    self._core.uncount(count - started)
                    waiters = self._core.due_waiters()
                _release(waiters)
                return exc
        return None

    def _begin(self, worker: Worker) -> None:
        """First call of a new thread."""
        if self._initializer is not None:
            try:
                self._initializer(*self._initargs)
            except BaseException:
                logger.critical("initializer of thread pool %s raised; the pool is broken", self._name, exc_info=True)
                self._break(worker)
                return
        with self._mutex:
            worker.task = self._core.begin(worker)
            has_task = worker.task is not None
            waiters = self._core.due_waiters()
        _release(waiters)
        if has_task:
            self._work(worker)

    def _serve(self, worker: Worker) -> None:
        """Run the task with which the worker was woken, and what is queued after it."""
        core, following = self._core, None
        worker.started_at = core.clock()
        with self._mutex:
            if core.queue:
                following = core.arrive()
            else:
                core.waking = False  # `arrive` by hand: whoever waits for the result waits for this, too
        if following is not None:
            following[0].hand(self, following[1])
        self._work(worker)

    def _work(self, worker: Worker) -> None:
        """Run the worker's task and then what is queued, until it is among the idle ones or has to leave."""
        core, clock = self._core, self._core.clock
        task, started_at = worker.task, worker.started_at
        while task is not None:
            outcome = run_task(task)
            queued_at = task[4]
            with self._mutex:
                now = clock()
                core.tally.end(outcome, started_at - queued_at, now - started_at)
                recovered = worker.stuck
                if recovered:
                    core.recover(worker)
                # Once the worker is among the idle, `task` belongs to whoever pops it: not touched after the mutex.
                task = worker.task = core.next_task(worker, now)
                waiters = core.due_waiters() if core.waiters else None
            if recovered:
                report_recovered(self._name, worker.thread, now - started_at)
            started_at = now
            if waiters:
                _release(waiters)

    def _break(self, worker: Worker) -> None:
        worker.leaves = True
        with self._mutex:
            tasks = self._core.break_down()
            self.paused = False
            reason = self._core.refusal()
            orders = self._core.settle()
            waiters = self._core.due_waiters()
        posts = drop_tasks(tasks, reason)
        if posts:
            logger.error("thread pool %s: %d posted calls will never run", self._name, posts)
        _release(waiters)
        self._carry_out_and_tell(orders)

    def _carry_out(self, orders: Orders) -> Exception | None:
        """Do, without the mutex, what was decided under it; why the system refused a thread, if it did."""
        for worker, task in orders.handed:
            worker.hand(self, task)
        for worker in orders.leaving:
            worker.dismiss()
        if orders.wakes_sampler:
            self._wake_sampler()
        return self._start_threads(orders.starting)

    def _carry_out_and_tell(self, orders: Orders) -> None:
        exc = self._carry_out(orders)
        if exc is not None:
            self._tell_refusal(exc)

    # --- sizing and stuck tasks ------------------------------------------------------------------------------------

    def _adjust(self) -> int:
        counts = self._counts()
        with self._mutex:
            orders = self._core.adjust(self._picture_locked(counts))
            target = self._core.target
        self._carry_out_and_tell(orders)
        return target

    def _sample(self) -> float | None:
        """One step of the sampler's thread; seconds until the next."""
        counts = self._counts()
        core = self._core
        with self._mutex:
            core.samples_fast = core.watched = True  # it is awake: nobody need wake it
            stuck = core.take_stuck()
            queue = list(core.queue) if stuck else []
            is_full = not core.idle and core.running() >= core.max_size
        # Written before a thread takes the place of the stuck one: that may be what it waits for.
        reports = [
            stuck_report(self._name, worker.thread, task, seconds, made_good, queue, is_full, self._describe)
            for worker, task, seconds, made_good in stuck
        ]
        with self._mutex:
            orders = core.adjust(self._picture_locked(counts))
        self._carry_out_and_tell(orders)
        for report in reports:
            logger.warning(report)
        with self._mutex:
            return core.sampling_interval()

    def _picture_locked(self, counts: bool) -> Sample:
        core = self._core
        return core.sample(time.process_time(), _cores(), _has_gil(), counts, computed=core.cpu_of_workers())

    def _counts(self) -> bool:
        return all(counts() for counts, _ in self._advisers if counts is not None)

    def _describe(self, ident: int, function: Callable[..., object], args: tuple[object, ...]) -> str | None:
        for _, describe in self._advisers:
            text = describe(ident, function, args) if describe is not None else None
            if text:
                return text
        return None

    def _wake_sampler(self) -> None:
        try:
            self._sampler.wake()
        except (RuntimeError, MemoryError) as exc:
            logger.warning("thread pool %s: no thread for its sizing: %s; it keeps its size", self._name, exc)
            with self._mutex:
                self._core.samples_fast = False

    # --- waiting ---------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        self._run_orphans()
        self._wait(self._core.is_over, None)
        with self._mutex:
            workers = list(self._core.workers)
        for worker in workers:
            worker.thread.join()
        self._sampler.join()

    def _run_orphans(self) -> None:
        """Run the queue of a pool that has no thread, and gets none, in the thread that ends it: no task is lost."""
        while True:
            with self._mutex:
                task = self._core.take_orphan()
            if task is None:
                return
            outcome = run_task(task)
            with self._mutex:
                self._core.tally.end(outcome, 0.0, 0.0)

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        with self._mutex:
            if condition():
                return True
            baton = threading.Lock()
            baton.acquire()
            waiter = (condition, baton)
            self._core.waiters.append(waiter)
        if baton.acquire(timeout=-1 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
            return True
        with self._mutex:
            if waiter in self._core.waiters:
                self._core.waiters.remove(waiter)
                return False
        return True  # it came true after all, between the time-out and the mutex

    def _check_caller(self, what: str) -> None:
        thread = threading.current_thread()
        with self._mutex:
            inside = any(worker.thread is thread for worker in self._core.workers)
        if inside:
            raise RuntimeError(f"{what} was called by a task of thread pool {self._name}: it would wait for itself")

    def _check_alive_locked(self, what: str) -> None:
        if not self._core.is_alive():
            raise RuntimeError(f"cannot {what} thread pool {self._name}: it is {self._core.state.value}")

    # --- the end of the interpreter, a fork, the last reference ----------------------------------------------------

    def _begin_exit(self) -> None:
        with self._mutex:
            self._core.exiting = True
            self._core.shut()
            self.paused = False
            orders = self._core.settle()
        self._carry_out_and_tell(orders)

    def _finish_exit(self) -> None:
        patience = self._exit_patience
        self._run_orphans()
        before = self._ended()
        while not self._wait(self._core.is_over, patience):
            ended = self._ended()
            if ended == before:
                with self._mutex:
                    running, queued = self._core.running(), len(self._core.queue)
                logger.warning(
                    "exit abandons thread pool %s, shut down without waiting: %d running and %d queued tasks, "
                    "and none has ended for %.0f s", self._name, running, queued, patience
                )  # fmt: skip
                return
            before = ended

    def _limit_patience_locked(self, is_cancelled: bool) -> None:
        self._exit_patience = ABANDONED_PATIENCE if is_cancelled else EXIT_PATIENCE

    def _ended(self) -> int:
        tally = self._core.tally
        with self._mutex:
            tally.settle()
            return tally.ended + tally.cancelled

    def _reset_after_fork(self) -> None:
        self._mutex = threading.Lock()
        self._core.forget_others(threading.current_thread())
        self._sampler = Sampler(self, f"sampler of {self._name}")

    def __del__(self) -> None:
        core: PoolCore | None = getattr(self, "_core", None)
        if core is None:
            return  # the constructor refused its arguments
        # Without the mutex: nobody else has a reference. Idle workers hold none and busy ones do, so here none is busy.
        for worker in core.idle:
            worker.dismiss()
        self._sampler.leave()
        if core.queue:
            logger.error("thread pool %s was dropped while paused, with %d tasks queued", self._name, len(core.queue))
            drop_tasks(core.queue)


def _release(batons: list[threading.Lock]) -> None:
    for baton in batons:
        baton.release()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_gil() -> bool:
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_enabled()
