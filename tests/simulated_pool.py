"""A thread pool without threads: the real state machine, workers in memory, and a clock that jumps."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

from mooring.threads.core import NEEDS_SAMPLER, NEEDS_THREAD, NEEDS_THREADS, OPEN, Orders, PoolCore
from mooring.threads.tasks import COMPLETED, Task
from mooring.threads.worker import Worker

START_TIME = 0.0002
"""Seconds that a thread takes to start."""


class Nobody:
    """The pool of workers whose threads are never started."""

    def _begin(self, worker: Worker) -> None: ...

    def _serve(self, worker: Worker) -> None: ...


class Simulation:
    """What ``ThreadPool`` does around the state machine, on one thread and in no time.

    Tasks wait for ``work`` seconds; with ``cores`` they compute instead, and share that many; with ``scarce`` they wait
    for something that only so many can have at a time. The same seed gives the same course.

    Attributes:
        sizes: (seconds, size) at each change.
        waits: (seconds at which it was queued, seconds that it waited) of each task.
    """

    def __init__(
        self, min_size: int, max_size: int, *, cores: int | None = None, scarce: int = 1_000_000, seed: int = 1
    ) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.core = PoolCore("simulation", min_size, max_size, lambda: self.now, stuck_after=None)
        self.sizes: list[tuple[float, int]] = [(0.0, min_size)]
        self.waits: list[tuple[float, float]] = []
        self.cpu = 0.0
        self._cores = cores
        self._scarce = scarce  # that nobody has
        self._wanting: deque[Worker] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._sampling = 0  # the number of the sample that is due; earlier ones are void
        self._computing: dict[Worker, float] = {}  # seconds of work left

    # --- time ------------------------------------------------------------------------------------------------------

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), call))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while True:
            at = self._events[0][0] if self._events else end
            soonest = self._soonest()
            if soonest is not None and soonest[1] <= min(at, end):
                self._compute(soonest[1])
                del self._computing[soonest[0]]
                self._end(soonest[0])
            elif at <= end and self._events:
                self._compute(at)
                heapq.heappop(self._events)[2]()
            else:
                self._compute(end)
                return

    def _share(self) -> float:
        """Of a core, for each task that computes."""
        assert self._cores is not None
        return min(1.0, self._cores / len(self._computing))

    def _soonest(self) -> tuple[Worker, float] | None:
        if not self._computing:
            return None
        worker = min(self._computing, key=self._computing.__getitem__)
        return worker, self.now + self._computing[worker] / self._share()

    def _compute(self, until: float) -> None:
        if self._computing:
            done = (until - self.now) * self._share()
            self.cpu += done * len(self._computing)
            for worker in self._computing:
                self._computing[worker] -= done
        self.now = until

    # --- load ------------------------------------------------------------------------------------------------------

    def post_at_random(self, rate: float, work: float, seconds: float) -> None:
        """Tasks with exponential gaps, ``rate`` a second in the mean."""
        end = self.now + seconds

        def post() -> None:
            if self.now < end:
                self.post(work)
                self.after(self.random.expovariate(rate), post)

        self.after(self.random.expovariate(rate), post)

    def keep_busy(self, waiting: int, work: float, seconds: float, pause: float = 0.0) -> None:
        """Always so many tasks queued or running, but for those whose callers pause between two of them."""
        end = self.now + seconds

        def post() -> None:
            if self.now < end:
                self.post(work, call_again)

        def call_again() -> None:
            if pause:
                self.after(self.random.expovariate(1 / pause), post)
            else:
                post()

        for _ in range(waiting):
            post()

    def post(self, work: float, then: Callable[[], None] = lambda: None) -> None:
        """Queue a task."""
        task: Task = (None, then, (work,), None, self.now)
        core = self.core
        if core.idle and core.state is OPEN and not core.waking:
            self._hand(core.idle.pop(), task)
            return
        help_needed = core.enqueue(task)
        if help_needed is NEEDS_THREADS:
            self._carry_out(core.settle())
        elif help_needed is NEEDS_THREAD:
            self._carry_out(Orders([], [], 1, False))
        elif help_needed is NEEDS_SAMPLER:
            self._sample_after(0.0)

    # --- the pool's part -------------------------------------------------------------------------------------------

    def _carry_out(self, orders: Orders) -> None:
        for worker, task in orders.handed:
            self._hand(worker, task)
        if orders.wakes_sampler:
            self._sample_after(0.0)
        for _ in range(orders.starting):
            self.after(START_TIME, self._begin)

    def _begin(self) -> None:
        worker = Worker("simulated", Nobody())
        worker.task = self.core.begin(worker)
        self._start(worker)

    def _hand(self, worker: Worker, task: Task) -> None:
        worker.task, worker.started_at = task, self.now
        self._start(worker)

    def _start(self, worker: Worker) -> None:
        task = worker.task
        if task is None:
            return
        self.waits.append((task[4], self.now - task[4]))
        if self._cores is not None:
            self._computing[worker] = task[2][0]
        elif self._scarce:
            self._scarce -= 1
            self.after(task[2][0], lambda: self._give_back(worker))
        else:
            self._wanting.append(worker)

    def _give_back(self, worker: Worker) -> None:
        self._scarce += 1
        if self._wanting:
            following = self._wanting.popleft()
            task = following.task
            assert task is not None
            self._scarce -= 1
            self.after(task[2][0], lambda: self._give_back(following))
        self._end(worker)

    def _end(self, worker: Worker) -> None:
        task = worker.task
        assert task is not None
        self.core.tally.end(COMPLETED, worker.started_at - task[4], self.now - worker.started_at)
        following = worker.task = self.core.next_task(worker, self.now)
        task[1]()
        if following is not None:  # else it may have been handed one just now
            self._start(worker)

    def _sample_after(self, seconds: float) -> None:
        self._sampling += 1
        number = self._sampling
        self.after(seconds, lambda: self._sample(number))

    def _sample(self, number: int) -> None:
        if number != self._sampling:
            return
        core = self.core
        core.samples_fast = True
        orders = core.adjust(core.sample(self.cpu, self._cores or 2, True, True, computed=self.cpu))
        if core.target != self.sizes[-1][1]:
            self.sizes.append((self.now, core.target))
        self._carry_out(orders)
        interval = core.sampling_interval()
        if interval is not None and number == self._sampling:
            self._sample_after(interval)

    # --- what is seen ----------------------------------------------------------------------------------------------

    def sizes_between(self, begin: float, end: float) -> set[int]:
        """All sizes that there were between two moments."""
        before = [size for at, size in self.sizes if at <= begin]
        return {before[-1], *(size for at, size in self.sizes if begin <= at < end)}

    def changes_between(self, begin: float, end: float) -> int:
        """How often the size changed."""
        return sum(begin <= at < end for at, _ in self.sizes)

    def wait_quantile(self, share: float, begin: float, end: float) -> float:
        """Seconds that ``share`` of the tasks queued between two moments did not exceed."""
        waits = sorted(wait for at, wait in self.waits if begin <= at < end)
        return waits[int(share * len(waits))]
