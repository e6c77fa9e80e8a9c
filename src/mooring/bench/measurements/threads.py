"""``mooring bench threads``: what the thread pool costs beside the standard library's, and how it finds its size."""

from __future__ import annotations

import logging
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from ...threads import ThreadPool
from .. import pool_at_random
from ..courses import Course, Line
from ..goals import Goal
from ..pool_load import Watch, compute, keep_busy, post_at_random, wait_for_least
from ..resources import resources
from ..session import Session

BENCHMARK: Final = "threads"
MOORING: Final = "Mooring"
EXECUTOR: Final = "ThreadPoolExecutor"
FIXED: Final = "Mooring, fixed at 2"
WAITING_CASE: Final = "2,000 tasks a second that wait 5 ms"
COMPUTING_CASE: Final = "tasks that compute 5 ms, 32 at once"
BURST_CASE: Final = "a burst of 10,000 tasks that wait 1 ms"
ENDLESS_CASE: Final = "10 million tasks"
RANDOM_CASE: Final = "100,000 operations at random from 8 threads"
CALL: Final = "submit and result"
P99: Final = "p99 wait after 3 s"
SMALLEST, LARGEST, MEAN_SIZE = "smallest size after 3 s", "largest size after 3 s", "mean size"
CHANGES: Final = "changes a minute after 3 s"
BACK: Final = "back at the least size"
RATE: Final = "tasks"
UNDONE: Final = "tasks not done"
GROWN_THREADS: Final = "threads more at the end"
GROWN_MEMORY: Final = "memory more at the end"
LOST: Final = "tasks lost"
TWICE: Final = "tasks run twice"
THREADS_LEFT: Final = "threads left"
BELOW: Final = "times below the least size"
PRODUCERS: Final = (1, 8)
WORKERS: Final = 8
LEAST, MOST = 2, 64
TASK_RATE: Final = 2000.0
TASK_TIME: Final = 0.005
SETTLED: Final = 3.0
CHUNK: Final = 1000


def measure(session: Session, parts: Iterable[str] = ()) -> None:
    """All parts, or those named: see ``PARTS``."""
    for part in tuple(parts) or PARTS:
        PARTS[part](session)


# What it costs ------------------------------------------------------------------------------------------------------


def handing_over_case(producers: int) -> str:
    """The name of the case."""
    return f"submit and result, {producers} producer{'s' if producers > 1 else ''}"


def _hand_over(session: Session) -> None:
    """Calls through a pool of 8 threads; the two pools take turns many times in each round."""
    for producers in PRODUCERS:
        for number in range(1, session.settings.rounds + 1):
            with ThreadPool(WORKERS) as ours, ThreadPoolExecutor(WORKERS) as theirs:
                seconds = _calls(ours, theirs, producers, session.settings.window)
            for name, value in zip((MOORING, EXECUTOR), seconds, strict=True):
                session.keep(BENCHMARK, handing_over_case(producers), name)(CALL, "us", value * 1e6)
            said = f"{seconds[0] * 1e6:.1f} us, {EXECUTOR} {seconds[1] * 1e6:.1f} us"
            session.report(f"{handing_over_case(producers)}, round {number} of {session.settings.rounds}: {said}")


def _calls(ours: Executor, theirs: Executor, producers: int, seconds: float) -> tuple[float, float]:
    """Seconds for a call through each, in the median of turns of a tenth of a second; both have half of the time."""
    turns = max(2, int(seconds / 0.2))
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for index, pool in ((0, ours), (1, theirs))[:: 1 if turn % 2 else -1]:
            times[index].append(_turn(pool, producers, min(0.1, seconds / 4)))
    return statistics.median(times[0]), statistics.median(times[1])


def _turn(pool: Executor, producers: int, seconds: float) -> float:
    counts = [0] * producers
    end = time.perf_counter() + seconds

    def produce(index: int) -> None:
        submit, count = pool.submit, 0
        while time.perf_counter() < end:
            submit(_nothing).result()
            count += 1
        counts[index] = count

    begun = time.perf_counter()
    threads = [threading.Thread(target=produce, args=(index,)) for index in range(producers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - begun) / max(1, sum(counts))


def _nothing() -> None:
    pass


def _endless(session: Session) -> None:
    """Half of them with a Future; after a twentieth, which warms all up, and at the end memory and threads are seen."""
    count = session.settings.pool_tasks
    with ThreadPool(LEAST, 8) as pool:
        _run(pool, count // 20)
        before, begun = resources(os.getpid()), time.monotonic()
        _run(pool, count - count // 20)
        seconds = time.monotonic() - begun
        after = resources(os.getpid())
        ended = pool.stats().completed
    keep = session.keep(BENCHMARK, ENDLESS_CASE, MOORING)
    keep(GROWN_MEMORY, "MiB", (after.memory - before.memory) / (1 << 20))
    keep(GROWN_THREADS, "", after.threads - before.threads)
    keep(RATE, "1/s", (count - count // 20) / seconds)
    session.report(f"{ENDLESS_CASE}: {ended:,} done, {(after.memory - before.memory) / 1024:.0f} KiB more")


def _run(pool: ThreadPool, count: int) -> None:
    for _ in range(max(1, count // CHUNK)):
        for _ in range(CHUNK // 2):
            pool.post(_nothing)
            last = pool.submit(_nothing)
        last.result()


# How it finds its size ----------------------------------------------------------------------------------------------


def _waiting(session: Session) -> None:
    """A minute of it, then silence."""
    seconds = session.settings.pool_seconds
    with ThreadPool(LEAST, MOST) as pool, Watch(pool) as watch:
        post_at_random(watch, lambda: time.sleep(TASK_TIME), rate=TASK_RATE, seconds=seconds)
        back = wait_for_least(pool, session.settings.pool_silence)
    course = watch.course
    settled = min(SETTLED, seconds / 2)
    sizes = course.sizes_between(settled, seconds) or [LEAST]
    keep = session.keep(BENCHMARK, WAITING_CASE, MOORING)
    keep(P99, "ms", course.wait_quantile(0.99, settled, seconds) * 1e3)
    keep(SMALLEST, "", min(sizes))
    keep(LARGEST, "", max(sizes))
    keep(CHANGES, "", course.changes_between(settled, seconds) * 60 / (seconds - settled))
    keep(BACK, "s", back)
    _draw(session, WAITING_CASE, watch)
    session.report(f"{WAITING_CASE}: {min(sizes)} to {max(sizes)} threads, back after {back:.1f} s")


def _computing(session: Session) -> None:
    """The same beside a pool that cannot grow, in turns: more threads would not compute more."""
    work, seconds = compute(TASK_TIME), session.settings.pool_seconds / 6
    for number in range(1, session.settings.rounds + 1):
        for name, most in ((MOORING, MOST), (FIXED, LEAST))[:: 1 if number % 2 else -1]:
            with ThreadPool(LEAST, most) as pool, Watch(pool) as watch:
                begun = time.monotonic()
                done = keep_busy(watch, work, waiting=32, seconds=seconds)
                spent = time.monotonic() - begun
            sizes = [size for _, size in watch.course.sizes] or [LEAST]
            keep = session.keep(BENCHMARK, COMPUTING_CASE, name)
            keep(RATE, "1/s", done / spent)
            keep(MEAN_SIZE, "", statistics.fmean(sizes))
            keep("largest size", "", max(sizes))
            if name == MOORING:
                _draw(session, COMPUTING_CASE, watch)
            said = f"{name}: {done / spent:.0f}/s, {max(sizes)} threads at most"
            session.report(f"{COMPUTING_CASE}, round {number} of {session.settings.rounds}: {said}")


def _burst(session: Session) -> None:
    """All at once, on a pool that has not been used before."""
    count = session.settings.pool_burst
    with ThreadPool(LEAST, MOST) as pool, Watch(pool) as watch:
        for _ in range(count):
            watch.post(lambda: time.sleep(0.001))
        pool.wait_for_completion()
        seconds = watch.now
        back = wait_for_least(pool, session.settings.pool_silence)
        done = pool.stats().completed
    keep = session.keep(BENCHMARK, BURST_CASE, MOORING)
    keep(UNDONE, "", count - done)
    keep("all done after", "s", seconds)
    keep("largest size", "", max((size for _, size in watch.course.sizes), default=LEAST))
    keep(BACK, "s", back)
    _draw(session, BURST_CASE, watch)
    session.report(f"{BURST_CASE}: {done:,} done in {seconds:.1f} s, back after {back:.1f} s")


def _draw(session: Session, case: str, watch: Watch) -> None:
    course = watch.course
    waits = [(at, wait * 1e3) for at, wait in course.wait_line(max(0.05, watch.now / 200))]
    lines = [Line("threads allowed", _thinned(course.sizes), steps=True), Line("p99 of the queue wait, ms", waits)]
    session.results.courses[BENCHMARK, case] = Course(BENCHMARK, case, lines)


def _thinned(sizes: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """The looks at which something was new, and the last one."""
    new = [(at, float(size)) for index, (at, size) in enumerate(sizes) if not index or size != sizes[index - 1][1]]
    return new + [(at, float(size)) for at, size in sizes[-1:]]


# Whether it holds ---------------------------------------------------------------------------------------------------


def _random(session: Session) -> None:
    log = logging.getLogger("mooring.threads")
    before = log.level
    log.setLevel(logging.CRITICAL)  # tasks raise on purpose
    try:
        outcome = pool_at_random.play(session.settings.pool_operations)
    finally:
        log.setLevel(before)
    keep = session.keep(BENCHMARK, RANDOM_CASE, MOORING)
    keep(RATE, "", outcome.tasks)
    keep("pools, one after another", "", outcome.pools)
    keep(LOST, "", outcome.lost)
    keep(TWICE, "", outcome.twice)
    keep(THREADS_LEFT, "", outcome.threads)
    keep(BELOW, "", outcome.below)
    session.report(f"{RANDOM_CASE}: {outcome.tasks:,} tasks on {outcome.pools} pools, {outcome.lost} lost")


PARTS: Final[dict[str, Callable[[Session], None]]] = {
    "calls": _hand_over,
    "waiting": _waiting,
    "computing": _computing,
    "burst": _burst,
    "random": _random,
    "endless": _endless,
}
"""What can be measured alone."""


def _goal(title: str, case: str, measure: str, limit: float, *, at_least: bool = False) -> Goal:
    return Goal(title, (BENCHMARK, case, MOORING, measure), None, limit, at_least=at_least)


def _ratio(title: str, case: str, measure: str, other: str, limit: float, *, at_least: bool = False) -> Goal:
    figure, reference = ((BENCHMARK, case, name, measure) for name in (MOORING, other))
    return Goal(title, figure, reference, limit, at_least=at_least)


GOALS: Final = (
    *(
        _ratio(f"{handing_over_case(count)}, to {EXECUTOR}", handing_over_case(count), CALL, EXECUTOR, 1.0)
        for count in PRODUCERS
    ),
    _goal("waiting: p99 wait after 3 s", WAITING_CASE, P99, 10.0),
    _goal("waiting: smallest size after 3 s", WAITING_CASE, SMALLEST, 11, at_least=True),
    _goal("waiting: largest size after 3 s", WAITING_CASE, LARGEST, 14),
    _goal("waiting: changes a minute after 3 s", WAITING_CASE, CHANGES, 2),
    _goal("waiting: back at the least size after silence", WAITING_CASE, BACK, 30.0),
    _goal("computing: mean size", COMPUTING_CASE, MEAN_SIZE, 3.0),
    _ratio("computing: tasks to a pool that cannot grow", COMPUTING_CASE, RATE, FIXED, 0.95, at_least=True),
    _goal("burst: tasks not done", BURST_CASE, UNDONE, 0),
    _goal("burst: back at the least size", BURST_CASE, BACK, 30.0),
    _goal("random: tasks lost", RANDOM_CASE, LOST, 0),
    _goal("random: tasks run twice", RANDOM_CASE, TWICE, 0),
    _goal("random: threads left", RANDOM_CASE, THREADS_LEFT, 0),
    _goal("random: times below the least size", RANDOM_CASE, BELOW, 0),
    _goal("endless: memory more at the end", ENDLESS_CASE, GROWN_MEMORY, 1.0),
    _goal("endless: threads more at the end", ENDLESS_CASE, GROWN_THREADS, 0),
)
