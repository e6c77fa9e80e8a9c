"""The thread pool: an executor that can be resized and paused, and finds its own size between two bounds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from .mapping import checked_buffersize, results_of, submit_all, submit_as_needed
from .sizing import checked_sizes
from .staff import Staff, _release
from .stats import ThreadInfo, ThreadPoolStats
from .tasks import Task, drop_tasks
from .watch import Describe, name_of_task

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool(Staff):
    """A ``concurrent.futures.Executor`` with a size that changes, a pause, and a way to run things without a Future.

    The first task starts ``min_size`` threads, which are kept. A pool whose bounds differ allows more while tasks wait,
    and gives them back when the load does not need them; ``docs/topics/thread-pool-sizing.md`` has the reasoning. The
    longest idle thread is the last to get work, so that those not needed can age. What a task raises, SystemExit
    included, never costs a thread; a thread that cannot be started never costs a task.

    Args:
        min_size: threads that are there from the first task on; 1 or more.
        max_size: the most threads; None means ``min_size``, a fixed pool.
        thread_name_prefix: threads are called ``prefix_0``, ``prefix_1``, ...; "" chooses ``ThreadPool-N``.
        initializer: called with ``initargs`` in each new thread. If it raises, the pool is broken: what is queued
            fails with ``BrokenThreadPool``, as does every later ``submit``.
        initargs: arguments of ``initializer``.
        queue_limit: tasks that may wait for a thread; ``submit`` and ``post`` raise ``QueueFull`` beyond. None: any
            number.
        stuck_after: seconds after which a running task is reported once, with its stack, and its thread made good by
            another until it ends; at most ``max_size`` further ones. None switches it off.

    Raises:
        ValueError: a size below 1, ``max_size`` below ``min_size``, a negative limit or time.

    Attributes:
        paused: whether no task may start at present; not to be set. Plain, for those who ask for every message.

    All methods may be called from any thread, though not from a signal handler or a ``__del__``: the mutex is not
    reentrant, and both can run in the middle of another call.
    """

    def __init__(
        self,
        min_size: int,
        max_size: int | None = None,
        *,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        queue_limit: int | None = None,
        stuck_after: float | None = 60.0,
    ) -> None:
        super().__init__(min_size, max_size, thread_name_prefix, initializer, initargs, queue_limit, stuck_after)

    # --- work comes in ---------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in a thread of the pool.

        Returns:
            The future of its result. A task still queued can be cancelled by it.

        Raises:
            RuntimeError: after ``shutdown``, or if the pool has no thread and the system gives none.
            QueueFull: ``queue_limit`` tasks wait already.
            BrokenThreadPool: an initializer has raised.
        """
        future: Future[T] = Future()
        self._accept(future, fn, args, kwargs)
        return future

    def post(self, function: Callable[..., object], /, *args: object) -> None:
        """Run ``function(*args)`` without a Future: the cheap way when nobody waits for a result.

        If it raises, that is logged once, with its traceback; the thread goes on.

        Raises:
            RuntimeError, QueueFull, BrokenThreadPool: as ``submit``.
        """
        self._accept(None, function, args, None)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """The results of ``fn`` for the elements of the iterables, in their order, computed in the threads.

        Args:
            timeout: seconds from now after which waiting for a result raises TimeoutError; None: no limit.
            chunksize: without effect, as in ``ThreadPoolExecutor``.
            buffersize: how many tasks may be ahead of the results taken, so that endless iterables can be mapped;
                None: all are submitted at once.

        Raises:
            ValueError, TypeError: ``buffersize`` is not a positive integer.
            RuntimeError, QueueFull: as ``submit``; what was submitted is cancelled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        tasks = zip(*iterables, strict=False)
        if checked_buffersize(buffersize) is None:
            futures = deque(submit_all(self, fn, tasks))
            return results_of(futures, deadline, None)
        futures = deque()
        more = submit_as_needed(self, fn, tasks, futures)
        for _ in zip(range(buffersize or 0), more, strict=False):
            pass
        return results_of(futures, deadline, more)

    # --- size ------------------------------------------------------------------------------------------------------

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Set new bounds; ``max_size`` None means a fixed size. Running tasks are not disturbed.

        Threads that are too many leave when they have no task; further ones start when tasks need them.

        Raises:
            ValueError: as the constructor.
            RuntimeError: after ``shutdown``.
        """
        lowest, highest = checked_sizes(min_size, max_size)
        with self._mutex:
            self._check_alive_locked("resize")
            orders = self._core.resize(lowest, highest)
        self._carry_out_and_tell(orders)

    def adjust(self) -> int:
        """Take one step of sizing now, and return how many threads are allowed from now on.

        A pool whose bounds differ does this by itself while tasks wait or threads may be too many. The name is public
        for those who drive the sizing at moments of their own: ``Server.adjust_thread_pool_size`` is this call.
        """
        return self._adjust()

    def attach(
        self, *, counts: Callable[[], bool] | None = None, describe: Describe | None = None
    ) -> Callable[[], None]:
        """Have the pool ask whoever uses it, for sizing and for its reports. For servers.

        Args:
            counts: whether what the pool shows now says anything about the size it needs; False, for example, while
                the database is down. Called from the sampler's thread, without a lock; must be quick.
            describe: ``(thread ident, function, args)`` to the name of what runs there, such as a route; None: not
                known. Called when a task is stuck, and by ``dump``.

        Returns:
            A function that undoes it.
        """
        adviser = (counts, describe)
        with self._mutex:
            self._advisers = (*self._advisers, adviser)

        def detach() -> None:
            with self._mutex:
                self._advisers = tuple(other for other in self._advisers if other is not adviser)

        return detach

    # --- pause, completion, the end --------------------------------------------------------------------------------

    def pause(self) -> None:
        """Let no further task start; those running go on, new ones are queued. Twice is harmless.

        Raises:
            RuntimeError: after ``shutdown``.
        """
        with self._mutex:
            self._check_alive_locked("pause")
            self._core.pause()
            self.paused = True
            waiters = self._core.due_waiters()
        _release(waiters)

    def resume(self) -> None:
        """Go on after ``pause``; harmless if the pool is not paused."""
        with self._mutex:
            orders = self._core.resume()
            self.paused = False
        self._carry_out_and_tell(orders)

    def wait_for_completion(self, timeout: float | None = None) -> bool:
        """Wait for a moment in which no task runs or is queued; on a paused pool, for one in which none runs.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Returns:
            False if the time ran out.

        Raises:
            RuntimeError: called by a task of this pool: it would wait for itself.
        """
        self._check_caller("wait_for_completion")
        return self._wait(self._core.is_quiet, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no further task. What is queued still runs; a paused pool is resumed for that. Twice is harmless.

        Args:
            wait: return only after the last task has ended and all threads are gone.
            cancel_futures: drop what is queued: futures are cancelled, posted calls are forgotten.

        What the exit of the interpreter then waits for:

        - after ``shutdown()``: nothing is left.
        - after ``shutdown(wait=False)``: queued tasks still run; exit waits for them, but gives up, with a line in the
          log, when no task has ended for 5 seconds. A stuck task cannot keep the process.
        - after ``shutdown(wait=False, cancel_futures=True)``: for running tasks, in the same way, but for 1 second.
        - without ``shutdown``: for all that was accepted, as long as it takes.

        Raises:
            RuntimeError: ``wait`` from a task of this pool, which would wait for itself; nothing has been changed then.
        """
        if wait:
            self._check_caller("shutdown(wait=True)")
        tasks: deque[Task] = deque()
        with self._mutex:
            self._core.shut()
            self.paused = False
            if cancel_futures:
                tasks = self._core.take_queue()
            if not wait:
                self._limit_patience_locked(cancel_futures)
            orders = self._core.settle()
            waiters = self._core.due_waiters()
        self._sampler.leave()
        self._carry_out_and_tell(orders)
        _release(waiters)
        drop_tasks(tasks)
        if wait:
            self._join()

    # --- what it tells ---------------------------------------------------------------------------------------------

    def stats(self) -> ThreadPoolStats:
        """What the pool does and has done: one consistent picture."""
        with self._mutex:
            return self._core.stats()

    def dump(self) -> list[ThreadInfo]:
        """What each thread does now: those that run something first, the longest at the top. For people."""
        with self._mutex:
            now = self._core.clock()
            found = [
                (worker.thread, worker.task, now - worker.started_at if worker.started_at else 0.0, worker.stuck)
                for worker in self._core.workers
                if not worker.leaves
            ]
        infos = [
            ThreadInfo(
                name=thread.name,
                ident=thread.ident,
                task=name_of_task(task, thread.ident or 0, self._describe) if task and seconds else None,
                seconds=seconds,
                stuck=stuck,
            )
            for thread, task, seconds, stuck in found
        ]
        return sorted(infos, key=lambda info: (-info.seconds, info.name))

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<ThreadPool {self._name}: {self._core.state.value}, {stats.min_size}-{stats.max_size} threads, "
            f"{stats.busy} busy, {stats.idle} idle, {stats.queued} queued>"
        )
