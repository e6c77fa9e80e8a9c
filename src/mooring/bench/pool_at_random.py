"""Thousands of operations at random on thread pools, from several threads, and what became of each task."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from ..threads import ThreadPool

NAME = "pool at random"


@dataclass(frozen=True)
class Outcome:
    """What was found at the end.

    Attributes:
        operations: how many were made.
        tasks: accepted by a pool.
        cancelled: of them, by their future or by a shutdown.
        pools: how many there were, one after another.
        lost: tasks that neither ran nor were cancelled, or that no pool has counted.
        twice: tasks that ran twice, or ran though they were cancelled, or were counted so.
        threads: threads of the pools that were left.
        below: looks at a pool in use that had fewer threads than its least size, or whose counts did not add up.
    """

    operations: int
    tasks: int
    cancelled: int
    pools: int
    lost: int
    twice: int
    threads: int
    below: int

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.threads or self.below)


def play(operations: int, threads: int = 8, seed: int = 1) -> Outcome:
    """Submit, post, cancel, resize, pause, resume, look, and shut down in between; then everything is counted."""
    stage = _Stage()
    players = [_Player(stage, seed * 1000 + index) for index in range(threads)]
    running = [threading.Thread(target=player.play, args=(operations // threads,)) for player in players]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    stage.end()
    failed = [player.error for player in players if player.error is not None]
    if failed:
        raise failed[0]
    return _count(stage, players)


class _Stage:
    """The pool of the moment, and the book in which each task writes its number when it runs.

    ``_lock`` guards everything but ``pool``, which is replaced under it and read without.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_number = 0
        self.ran: Counter[int] = Counter()
        self.pools: list[ThreadPool] = []
        self.pool = self._new()

    def _new(self) -> ThreadPool:
        pool = ThreadPool(2, 6, thread_name_prefix=NAME)
        self.pools.append(pool)
        return pool

    def replace(self) -> ThreadPool:
        """Put a new pool in the place of the present one, which is returned."""
        with self._lock:
            before, self.pool = self.pool, self._new()
            return before

    def number(self) -> int:
        with self._lock:
            self._next_number += 1
            return self._next_number

    def run(self, number: int) -> int:
        with self._lock:
            self.ran[number] += 1
        if number % 97 == 0:
            raise SystemExit(number)
        return number

    def end(self) -> None:
        for pool in self.pools:
            pool.shutdown()


class _Player:
    """One thread that does things at random, and remembers which of its tasks were accepted."""

    def __init__(self, stage: _Stage, seed: int) -> None:
        self._stage = stage
        self._dice = random.Random(seed)
        self.futures: dict[int, Future[int]] = {}
        self.posts = 0
        self.below = 0
        self.done = 0
        self.error: BaseException | None = None

    def play(self, operations: int) -> None:
        choices: list[tuple[Callable[[], None], float]] = [
            (self._submit, 30), (self._post, 25), (self._cancel, 12), (self._look, 12), (self._shut, 0.5),
            (self._resize, 8), (self._pause, 3), (self._resume, 9),
        ]  # fmt: skip
        functions, weights = zip(*choices, strict=True)
        try:
            for _ in range(operations):
                self._dice.choices(functions, weights)[0]()
                self.done += 1
        except BaseException as exc:  # noqa: BLE001 - for whoever started the thread
            self.error = exc

    def _submit(self) -> None:
        number = self._stage.number()
        try:
            self.futures[number] = self._stage.pool.submit(self._stage.run, number)
        except RuntimeError:
            pass  # it was shut down in between: not accepted, and not to be run

    def _post(self) -> None:
        try:
            self._stage.pool.post(self._stage.run, self._stage.number())
            self.posts += 1
        except RuntimeError:
            pass

    def _cancel(self) -> None:
        if self.futures:
            self.futures[self._dice.choice(list(self.futures)[-200:])].cancel()

    def _resize(self) -> None:
        least = self._dice.randint(1, 4)
        self._steer(lambda pool: pool.resize(least, least + self._dice.randint(0, 4)))

    def _pause(self) -> None:
        self._steer(lambda pool: pool.pause())

    def _resume(self) -> None:
        self._steer(lambda pool: pool.resume())

    def _steer(self, call: Callable[[ThreadPool], None]) -> None:
        try:
            call(self._stage.pool)
        except RuntimeError:
            pass  # shut down in between

    def _look(self) -> None:
        pool = self._stage.pool
        pool.adjust()
        stats = pool.stats()
        is_used = stats.busy + stats.queued + stats.completed + stats.failed > 0
        is_over = pool is not self._stage.pool  # perhaps shut down, where threads leave
        is_wrong = not 0 <= stats.busy <= stats.size or not stats.min_size <= stats.target <= stats.max_size
        self.below += is_wrong or (is_used and not is_over and stats.size < stats.min_size)

    def _shut(self) -> None:
        self._stage.replace().shutdown(wait=self._dice.random() < 0.5, cancel_futures=self._dice.random() < 0.5)


def _count(stage: _Stage, players: list[_Player]) -> Outcome:
    futures = {number: future for player in players for number, future in player.futures.items()}
    cancelled = {number for number, future in futures.items() if future.cancelled()}
    due = set(futures) - cancelled
    accepted, ran = len(futures) + sum(player.posts for player in players), stage.ran
    ends = [pool.stats() for pool in stage.pools]
    counted = sum(stats.completed + stats.failed + stats.cancelled for stats in ends)
    run = sum(stats.completed + stats.failed for stats in ends)
    return Outcome(
        operations=sum(player.done for player in players),
        tasks=accepted,
        cancelled=counted - run,
        pools=len(stage.pools),
        lost=abs(accepted - counted) + sum(not ran[number] or not futures[number].done() for number in due),
        twice=abs(run - len(ran)) + sum(count > 1 or number in cancelled for number, count in ran.items()),
        threads=_threads_left(),
        below=sum(player.below for player in players),
    )


def _threads_left() -> int:
    """Threads of the pools, and of their samplers, after a moment in which they may end."""
    deadline = time.monotonic() + 5.0
    while True:
        left = sum(NAME in thread.name for thread in threading.enumerate())
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)
