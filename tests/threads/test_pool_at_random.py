"""Thousands of operations at random from several threads: nothing is lost, nothing runs twice."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import CancelledError, Future

import pytest
from waiting import wait_until

from mooring.threads import ThreadPool

THREADS = 6
OPERATIONS = 800


class Ledger:
    """Every task writes its number here when it runs. ``_lock`` guards ``ran`` and ``next_number``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ran: Counter[int] = Counter()
        self._next_number = 0

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


class Player:
    """Does things at random to a pool, and remembers which of its tasks were accepted."""

    def __init__(self, pool: ThreadPool, ledger: Ledger, seed: int) -> None:
        self._pool = pool
        self._ledger = ledger
        self._random = random.Random(seed)
        self.futures: dict[int, Future[int]] = {}
        self.posts: list[int] = []

    def play(self) -> None:
        for _ in range(OPERATIONS):
            operation = self._random.choices(
                [self._submit, self._post, self._cancel, self._resize, self._pause, self._resume, self._look],
                [30, 40, 8, 6, 2, 6, 8],
            )[0]
            operation()

    def _submit(self) -> None:
        number = self._ledger.number()
        self.futures[number] = self._pool.submit(self._ledger.run, number)

    def _post(self) -> None:
        number = self._ledger.number()
        self._pool.post(self._ledger.run, number)
        self.posts.append(number)

    def _cancel(self) -> None:
        if self.futures:
            self.futures[self._random.choice(list(self.futures))].cancel()

    def _resize(self) -> None:
        least = self._random.randint(1, 4)
        self._pool.resize(least, least + self._random.randint(0, 4))

    def _pause(self) -> None:
        self._pool.pause()

    def _resume(self) -> None:
        self._pool.resume()

    def _look(self) -> None:
        self._pool.adjust()
        stats = self._pool.stats()
        assert 0 <= stats.busy <= stats.size
        assert stats.min_size <= stats.target <= stats.max_size
        if stats.queued and not stats.paused:
            assert stats.idle == 0
            assert stats.size >= stats.min_size


def play(pool: ThreadPool, seed: int) -> tuple[Ledger, list[Player]]:
    ledger = Ledger()
    players = [Player(pool, ledger, seed * 100 + index) for index in range(THREADS)]
    with ThreadPool(THREADS) as stage:
        for future in [stage.submit(player.play) for player in players]:
            future.result(60)
    return ledger, players


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_and_nothing_runs_twice(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    pool = ThreadPool(2, 6, thread_name_prefix=f"random-{seed}")
    ledger, players = play(pool, seed)
    pool.resume()
    assert pool.wait_for_completion(30)
    stats = pool.stats()
    wait_until(lambda: pool.stats().size == pool.stats().idle <= pool.stats().max_size)
    pool.shutdown()

    assert set(ledger.ran.values()) <= {1}, "run twice"
    futures = {number: future for player in players for number, future in player.futures.items()}
    posts = {number for player in players for number in player.posts}
    cancelled = {number for number, future in futures.items() if future.cancelled()}
    assert set(ledger.ran) == posts | (futures.keys() - cancelled)
    assert all(future.done() for future in futures.values())
    assert stats.completed + stats.failed == len(ledger.ran)
    assert stats.cancelled == len(cancelled)
    assert (stats.queued, stats.busy) == (0, 0)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(f"random-{seed}")] == []


@pytest.mark.parametrize("cancel", [False, True])
def test_a_shutdown_in_between_loses_nothing_that_was_accepted(cancel: bool) -> None:
    for seed in range(30):
        pool = ThreadPool(1, 4)
        ledger = Ledger()
        accepted: list[Future[int]] = []
        half = threading.Event()

        def submit(
            pool: ThreadPool = pool, accepted: list[Future[int]] = accepted, half: threading.Event = half
        ) -> None:
            try:
                for number in range(1, 96):
                    accepted.append(pool.submit(ledger.run, number))  # noqa: B023
                    if number == 20 + seed:  # noqa: B023
                        half.set()
            except RuntimeError as exc:
                assert "after shutdown" in str(exc)  # noqa: PT017

        thread = threading.Thread(target=submit)
        thread.start()
        assert half.wait(20)
        if seed % 3 == 0:
            pool.pause()
        pool.shutdown(cancel_futures=cancel)
        thread.join()
        outcomes = Counter(_outcome(future) for future in accepted)
        assert outcomes["done"] == len(ledger.ran)
        assert outcomes["done"] + outcomes["cancelled"] == len(accepted)
        assert cancel or not outcomes["cancelled"]
        assert set(ledger.ran.values()) <= {1}


def _outcome(future: Future[int]) -> str:
    try:
        future.result(0)
    except CancelledError:
        return "cancelled"
    return "done"
