"""Loads for a thread pool that finds its own size, and what is seen of it meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..threads import ThreadPool

LOOK_INTERVAL = 0.02
"""Seconds between two looks at a pool."""


@dataclass
class Course:
    """A pool over time, from the moment at which the load began.

    Attributes:
        sizes: (seconds, threads allowed), one for each look.
        changes: seconds at which sizing changed the size.
        waits: (seconds at which a task was queued, seconds that it waited for a thread).
    """

    sizes: list[tuple[float, int]] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)

    def sizes_between(self, begin: float, end: float) -> list[int]:
        """The sizes seen between two moments, in seconds."""
        return [size for at, size in self.sizes if begin <= at < end]

    def wait_quantile(self, share: float, begin: float, end: float) -> float:
        """Seconds that ``share`` of the tasks queued between two moments did not exceed; 0.0 if there were none."""
        waits = sorted(wait for at, wait in self.waits if begin <= at < end)
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else 0.0

    def changes_between(self, begin: float, end: float) -> int:
        """How often sizing changed the size between two moments."""
        return sum(begin <= at < end for at in self.changes)

    def wait_line(self, step: float) -> list[tuple[float, float]]:
        """The 99th percentile of the waits that ended in each ``step`` seconds."""
        bins: dict[int, list[float]] = {}
        for at, wait in self.waits:
            bins.setdefault(int((at + wait) / step), []).append(wait)
        return [
            (index * step, sorted(waits)[min(len(waits) - 1, int(0.99 * len(waits)))])
            for index, waits in sorted(bins.items())
        ]


class Watch:
    """Looks at a pool until it is left: ``with Watch(pool) as watch: ...``, then ``watch.course``.

    Its thread alone writes ``sizes`` and ``changes``; tasks append to ``waits``.
    """

    def __init__(self, pool: ThreadPool) -> None:
        self.course = Course()
        self._pool = pool
        self._begun = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._begun

    def post(self, work: Callable[[], object]) -> None:
        """Queue a task and note how long it waits."""
        self._pool.post(self._run, self.now, work)

    def _run(self, queued_at: float, work: Callable[[], object]) -> None:
        self.course.waits.append((queued_at, self.now - queued_at))
        work()

    def _look(self) -> None:
        changed = 0
        while not self._end.wait(LOOK_INTERVAL):
            stats = self._pool.stats()
            at = self.now
            self.course.sizes.append((at, stats.target))
            self.course.changes += [at] * (stats.grown + stats.shrunk - changed)
            changed = stats.grown + stats.shrunk


def post_at_random(watch: Watch, work: Callable[[], object], *, rate: float, seconds: float, seed: int = 1) -> None:
    """Tasks with exponential gaps, ``rate`` a second in the mean, on a schedule that a slow pool does not delay."""
    dice = random.Random(seed)
    due = watch.now
    end = due + seconds
    while due < end:
        pause = due - watch.now
        if pause > 0:
            time.sleep(pause)
        watch.post(work)
        due += dice.expovariate(rate)


def keep_busy(watch: Watch, work: Callable[[], object], *, waiting: int, seconds: float) -> int:
    """Always so many tasks queued or running; how many were done."""
    places = threading.Semaphore(waiting)

    def run() -> None:
        try:
            work()
        finally:
            places.release()

    end = watch.now + seconds
    while watch.now < end:
        places.acquire()
        watch.post(run)
    for _ in range(waiting):
        places.acquire()
    return len(watch.course.waits)


def wait_for_least(pool: ThreadPool, timeout: float) -> float:
    """Seconds until the pool is back at its least size, threads included; ``timeout`` if it is not by then."""
    begun = time.monotonic()
    while (spent := time.monotonic() - begun) < timeout:
        stats = pool.stats()
        if stats.target == stats.size == stats.min_size:
            return spent
        time.sleep(LOOK_INTERVAL)
    return timeout


def compute(seconds: float) -> Callable[[], None]:
    """A task that computes for about ``seconds`` while it has a core for itself."""
    rounds = 1000

    def count(rounds: int) -> None:
        total = 0
        for number in range(rounds):
            total += number

    while True:
        begun = time.perf_counter()
        count(rounds)
        spent = time.perf_counter() - begun
        if spent > 0.01:
            break
        rounds *= 2
    exact = max(1, int(rounds * seconds / spent))
    return lambda: count(exact)
