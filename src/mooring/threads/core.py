"""The state of a thread pool and every decision about it. Nothing is run, started, woken or waited for here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures.thread import BrokenThreadPool
from dataclasses import dataclass, replace
from enum import Enum

from ..errors import QueueFull
from .sizing import FAST_INTERVAL, SLOW_INTERVAL, Memory, Sample, next_step
from .stats import ThreadPoolStats
from .tally import Tally
from .tasks import Task
from .worker import Worker

START_RETRY = 1.0
"""Seconds before another thread is tried after the system refused one, while others do the work."""


class State(Enum):
    """OPEN <-> PAUSED; both -> SHUT; any -> BROKEN, when an initializer raises."""

    OPEN = "open"
    PAUSED = "paused"
    SHUT = "shut down"
    BROKEN = "broken"


class Help(Enum):
    """What a queued task needs beside the workers there are."""

    NONE = "a worker will come"
    THREAD = "a thread is to be started; it is counted already"
    FIRST = "the pool is used for the first time: it is to be settled"
    SAMPLER = "the sampler is to be woken"


@dataclass(slots=True)
class Orders:
    """What was decided, for the pool to carry out when it has let go of the mutex."""

    handed: list[tuple[Worker, Task]]
    leaving: list[Worker]
    starting: int
    wakes_sampler: bool


OPEN, PAUSED, SHUT, BROKEN = State
NO_HELP, NEEDS_THREAD, NEEDS_THREADS, NEEDS_SAMPLER = Help
Waiter = tuple[Callable[[], bool], threading.Lock]


class PoolCore:
    """Which worker does what, how many there are, and who waits.

    Every method needs the pool's mutex. Popping a worker from ``idle`` gives the right, and the duty, to hand it a task
    or to dismiss it. The invariants, outside of the mutex:

    - Idle workers mean an empty queue, or that the pool is paused, or that a worker is ``waking``: handed a task and
      not yet arrived. It hands on what was queued meanwhile. So a crowd of small tasks wakes one thread after the
      other, and no more of them than it takes.
    - Once the pool has been used there are ``min_size`` threads or more, unless the system refuses them.
    - ``size <= limit``, but for those that have not ended their task since the limit was lowered.
    - A queued task has a worker that has begun or is starting; or the system refuses threads, which is retried.
    """

    __slots__ = (
        "clock", "computed", "ended_before", "exiting", "idle", "limit", "max_size", "memory", "min_size", "name",
        "no_start_before", "queue", "queue_limit", "samples_fast", "size", "starting", "state", "stuck", "stuck_after",
        "tally", "target", "used", "waiters", "waking", "watched", "workers",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        min_size: int,
        max_size: int,
        clock: Callable[[], float],
        *,
        queue_limit: int | None = None,
        stuck_after: float | None = None,
    ) -> None:
        self.name = name
        self.clock = clock
        self.queue_limit = queue_limit
        self.stuck_after = stuck_after
        self.state = State.OPEN
        self.exiting = False
        self.min_size = min_size
        self.max_size = max_size
        self.target = min_size
        self.tally = Tally()
        self.no_start_before = 0.0
        self.computed = 0.0
        self.ended_before = 0  # tasks ended when the sampler looked last
        self.forget_others(None)

    def forget_others(self, thread: threading.Thread | None) -> None:
        """Begin without work and without threads, but for the worker that ``thread`` is: what is left after a fork."""
        mine = {worker for worker in getattr(self, "workers", ()) if worker.thread is thread}
        self.queue: deque[Task] = deque()
        self.idle: list[Worker] = []  # a stack: the longest idle at the bottom
        self.workers: set[Worker] = mine  # those that have begun; after shutdown also those that left, to be joined
        self.size = len(mine)  # starting or live, and not told to leave nor about to
        self.starting = 0
        self.waiters: list[Waiter] = []
        self.samples_fast = self.used = self.waking = False
        self.watched = self.stuck_after is None  # whether somebody looks for stuck tasks, or nobody needs to
        self.stuck = sum(worker.stuck for worker in mine)
        self.memory = Memory(self.target)
        self.set_limit()

    # --- tasks -----------------------------------------------------------------------------------------------------

    def enqueue(self, task: Task) -> Help:
        """Queue a task that is not handed to an idle worker.

        Raises:
            RuntimeError, BrokenThreadPool: the pool accepts none.
            QueueFull: as many tasks wait as may.
        """
        if self.state is not OPEN and not self.is_alive():
            raise self.refusal()
        if self.queue_limit is not None and len(self.queue) - self.starting - len(self.idle) >= self.queue_limit:
            self._check_room()
        self.queue.append(task)
        if not self.used:
            self.used = True
            return NEEDS_THREADS
        if self.state is PAUSED or self.idle:
            return NO_HELP
        if self.size < self.limit:
            if self.size and task[4] < self.no_start_before:
                return NO_HELP
            self.size += 1
            self.starting += 1
            return NEEDS_THREAD
        if self.target < self.max_size and not self.samples_fast:
            self.samples_fast = self.watched = True
            return NEEDS_SAMPLER
        return NO_HELP if self.watched else self.watch()

    def _check_room(self) -> None:
        assert self.queue_limit is not None
        coming = self.starting + len(self.idle) + (0 if self.state is PAUSED else max(0, self.limit - self.size))
        if len(self.queue) - coming < self.queue_limit:
            return  # there are threads to come for so many
        raise QueueFull(
            f"thread pool {self.name}: {len(self.queue)} tasks wait and {self.running()} run, its queue_limit of "
            f"{self.queue_limit} is reached; bring fewer, or give it more threads (max_size {self.max_size})"
        )

    def watch(self) -> Help:
        """Something runs now: the sampler is to look for tasks that are stuck, if it does not."""
        if self.watched or self.stuck_after is None:
            return NO_HELP
        self.watched = True
        return NEEDS_SAMPLER

    def withdraw(self, task: Task) -> bool:
        """Take back a task for which there is no thread; False if there is one, or the task has been taken."""
        if self.workers:
            return False
        for index, queued in enumerate(self.queue):
            if queued is task:
                del self.queue[index]
                self.used = bool(self.size)
                return True
        return False

    def take_orphan(self) -> Task | None:
        """The next task of a pool without threads."""
        return None if self.size or not self.queue else self.queue.popleft()

    def take_queue(self) -> deque[Task]:
        """All queued tasks, which will not run."""
        # Exchanged, not cleared: what the tasks hold is let go of outside the mutex.
        tasks, self.queue = self.queue, deque()
        self.tally.cancelled += len(tasks)
        return tasks

    # --- workers ---------------------------------------------------------------------------------------------------

    def begin(self, worker: Worker) -> Task | None:
        """A new thread is there; its first task, or None as in ``next_task``."""
        self.starting -= 1
        self.workers.add(worker)
        return self.next_task(worker, self.clock())

    def arrive(self) -> tuple[Worker, Task] | None:
        """A worker has woken with its task; which one is to be woken next, and for what."""
        if self.idle and self.queue and self.state is not PAUSED:
            return self.idle.pop(), self.queue.popleft()
        self.waking = False
        return None

    def next_task(self, worker: Worker, now: float) -> Task | None:
        """What a worker without a task does: the next one, or None: it rests among the idle, or leaves."""
        if self.size <= self.limit:
            if self.queue and self.state is not PAUSED:
                worker.started_at = now
                return self.queue.popleft()
            worker.started_at = 0.0
            if self.state is OPEN or self.is_alive():
                self.idle.append(worker)
                return None
        worker.leaves = True
        worker.started_at = 0.0
        self.size -= 1
        if self.is_alive():
            self.workers.discard(worker)
        return None

    def uncount(self, count: int) -> None:
        """The system refused ``count`` threads that were counted as starting."""
        self.size -= count
        self.starting -= count
        self.no_start_before = self.clock() + START_RETRY

    def break_down(self) -> deque[Task]:
        """The initializer of a starting worker raised; the tasks that will not run."""
        self.starting -= 1
        self.size -= 1
        self.state = BROKEN
        return self.take_queue()

    def settle(self) -> Orders:
        """Bring workers in line with state, limit and queue, after one of them has changed."""
        self.set_limit()
        handed = []
        while self.queue and self.idle and self.state is not PAUSED:
            handed.append((self.idle.pop(), self.queue.popleft()))
        leaving = self._take_superfluous()
        starting = self._count_missing()
        self.size += starting
        self.starting += starting
        return Orders(handed, leaving, starting, self._wants_sampler())

    def set_limit(self) -> None:
        """Stuck tasks do not count: each has its thread made good, up to as many as the pool may have."""
        self.limit = self.target + min(self.stuck, self.max_size)

    def _take_superfluous(self) -> list[Worker]:
        alive = self.is_alive()
        count = max(0, self.size - self.limit) if alive else len(self.idle)
        leaving = self.idle[:count]
        del self.idle[:count]
        self.size -= len(leaving)
        if alive:
            self.workers.difference_update(leaving)
        return leaving

    def _count_missing(self) -> int:
        if self.state is BROKEN or not self.is_short() or (self.size and self.clock() < self.no_start_before):
            return 0
        wanted = 0 if self.state is PAUSED else min(len(self.queue) - self.starting, self.limit - self.size)
        return max(0, wanted, self.min_size - self.size if self.is_alive() else 0)

    def is_short(self) -> bool:
        """Whether threads are missing: for the queue, or for the least size of a pool that is in use."""
        if self.used and self.is_alive() and self.size < self.min_size:
            return True
        return self.state is not PAUSED and self.size < self.limit and len(self.queue) > self.starting

    def _wants_sampler(self) -> bool:
        if self.state is not OPEN or self.samples_fast:
            return False
        self.samples_fast = len(self.queue) > self.starting and self.target < self.max_size
        return self.samples_fast or self.target > self.min_size or self.is_short()

    # --- state and size --------------------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        """Whether tasks are accepted."""
        return self.state is OPEN or self.state is PAUSED

    def pause(self) -> None:
        """Give out no task until ``resume``."""
        self.state = PAUSED

    def resume(self) -> Orders:
        """End a pause."""
        if self.state is PAUSED:
            self.state = OPEN
            self.memory = replace(self.memory, last=None)  # the time of the pause measures nothing
        return self.settle()

    def shut(self) -> None:
        """Accept no further task."""
        if self.is_alive():
            self.state = SHUT

    def resize(self, min_size: int, max_size: int) -> Orders:
        """Set the bounds, and move the target between them."""
        self.min_size = min_size
        self.max_size = max_size
        self.target = min(max(self.target, min_size), max_size)
        return self.settle()

    def refusal(self) -> RuntimeError:
        """The error for whoever brings a task now."""
        if self.state is BROKEN:
            return BrokenThreadPool(f"thread pool {self.name} is broken: its initializer raised; see the log")
        if self.exiting:
            return RuntimeError(f"cannot schedule new futures after interpreter shutdown (thread pool {self.name})")
        return RuntimeError(f"cannot schedule new futures after shutdown (thread pool {self.name})")

    # --- sizing ----------------------------------------------------------------------------------------------------

    def adjust(self, sample: Sample) -> Orders:
        """One step of sizing."""
        self.memory = next_step(self.memory, sample)
        size = self.memory.size
        self.tally.grown += size > self.target
        self.tally.shrunk += size < self.target
        self.target = size
        return self.settle()

    def sampling_interval(self) -> float | None:
        """Seconds until the sampler is to come again; None: when it is woken."""
        intervals = []
        self.tally.settle()
        if self.is_short():
            intervals.append(START_RETRY)
        if self.state is OPEN and self.queue and self.target < self.max_size:
            intervals.append(FAST_INTERVAL)
        if self.state is OPEN and self.target > self.min_size:
            intervals.append(SLOW_INTERVAL)
        if self.stuck_after is not None and self.state is not BROKEN:
            starts = [worker.started_at for worker in self.workers if worker.started_at and not worker.stuck]
            if starts:
                # A little later than due, so that it is due then.
                intervals.append(max(0.0, min(starts) + self.stuck_after - self.clock()) + 0.001)
            elif self.tally.ended != self.ended_before:
                # Short tasks come and go: had it to be woken for each one that finds nobody else at work, they would
                # cost twice as much. What begins now is not due before then.
                intervals.append(self.stuck_after)
            self.ended_before = self.tally.ended
        self.samples_fast = FAST_INTERVAL in intervals
        self.watched = self.stuck_after is None or bool(intervals)
        return min(intervals) if intervals else None

    def cpu_of_workers(self) -> float | None:
        """CPU seconds of the pool's threads so far; None where the system does not tell.

        A thread's clock may be asked for only while the thread lives. Under the mutex those in ``workers`` do, as long
        as the pool is alive: they would have to take it to leave.
        """
        if not hasattr(time, "pthread_getcpuclockid") or not self.is_alive():
            return None
        for worker in self.workers:
            if not worker.leaves and worker.thread.ident is not None:
                cpu = time.clock_gettime(time.pthread_getcpuclockid(worker.thread.ident))
                self.computed += cpu - worker.cpu
                worker.cpu = cpu
        return self.computed

    def sample(self, cpu: float, cores: int, gil: bool, counts: bool, *, computed: float | None = None) -> Sample:
        """The pool at this moment, for sizing."""
        now, tally, running = self.clock(), self.tally, self.running()
        tally.settle()
        return Sample(
            now=now,
            size=self.target,
            min_size=self.min_size,
            max_size=self.max_size,
            queued=len(self.queue),
            oldest_wait=self.oldest_wait(now),
            busy=max(0, running - self.stuck),
            idle=len(self.idle),
            starting=self.starting,
            arrived=tally.completed + tally.failed + tally.cancelled + len(self.queue) + running,
            ended=tally.ended,
            waited=tally.waited,
            worked=tally.worked,
            running=sum(now - one.started_at for one in self.workers if one.started_at and not one.stuck),
            cpu=cpu,
            computed=computed,
            cores=cores,
            gil=gil,
            counts=counts and self.state is OPEN,
        )

    # --- stuck tasks -----------------------------------------------------------------------------------------------

    def take_stuck(self) -> list[tuple[Worker, Task, float, bool]]:
        """Workers whose task has just become stuck, the task, for how long it runs, and whether the thread is made
        good; each is counted once."""
        if self.stuck_after is None:
            return []
        now = self.clock()
        found: list[tuple[Worker, Task, float, bool]] = []
        for worker in self.workers:
            task, started_at = worker.task, worker.started_at
            if task and started_at and not worker.stuck and now - started_at >= self.stuck_after:
                worker.stuck = True
                found.append((worker, task, now - started_at, self.stuck + len(found) < self.max_size))
        self.stuck += len(found)
        self.tally.stuck_ever += len(found)
        return found

    def recover(self, worker: Worker) -> None:
        """A stuck task has ended after all."""
        worker.stuck = False
        self.stuck -= 1
        self.set_limit()

    # --- what is asked ---------------------------------------------------------------------------------------------

    def running(self) -> int:
        """Workers that run a task."""
        return self.size - self.starting - len(self.idle)

    def is_quiet(self) -> bool:
        """No task runs, and none is about to."""
        return not self.running() and (not self.queue or self.state is PAUSED)

    def is_over(self) -> bool:
        """There is no thread, apart from those on their way out."""
        return not self.size

    def due_waiters(self) -> list[threading.Lock]:
        """The batons of those whose condition is true at this moment; they are waiters no longer."""
        if not self.waiters or self.running():
            return []
        due = [waiter for waiter in self.waiters if waiter[0]()]
        self.waiters = [waiter for waiter in self.waiters if waiter not in due]
        return [baton for _, baton in due]

    def oldest_wait(self, now: float) -> float:
        """Seconds that the head of the queue has waited; 0.0 if there is none."""
        return max(0.0, now - self.queue[0][4]) if self.queue else 0.0

    def stats(self) -> ThreadPoolStats:
        """A picture of this moment."""
        self.tally.settle()
        waits, runs = self.tally.histograms()
        return ThreadPoolStats(
            size=self.size,
            busy=self.running(),
            idle=len(self.idle),
            queued=len(self.queue),
            oldest_wait=self.oldest_wait(self.clock()),
            completed=self.tally.completed,
            failed=self.tally.failed,
            cancelled=self.tally.cancelled,
            grown=self.tally.grown,
            shrunk=self.tally.shrunk,
            min_size=self.min_size,
            max_size=self.max_size,
            target=self.target,
            paused=self.state is PAUSED,
            stuck=self.stuck,
            stuck_ever=self.tally.stuck_ever,
            waits=waits,
            runs=runs,
        )
