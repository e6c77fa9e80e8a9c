"""Operations at random from several threads: nothing is lost, nothing runs twice.

``mooring bench threads`` does the same with a hundred thousand.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import CancelledError, Future

import pytest

from mooring.bench.pool_at_random import play
from mooring.threads import ThreadPool


def test_thousands_of_operations_lose_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "mooring.threads")
    outcome = play(24_000, threads=8)
    assert (outcome.lost, outcome.twice, outcome.threads, outcome.below) == (0, 0, 0, 0), outcome
    assert outcome.operations == 24_000
    assert outcome.pools > 50
    assert 250 < outcome.cancelled < outcome.tasks


@pytest.mark.parametrize("cancel", [False, True])
def test_a_shutdown_in_between_loses_nothing_that_was_accepted(cancel: bool) -> None:
    for seed in range(30):
        pool = ThreadPool(1, 4)
        ran: list[int] = []
        accepted: list[Future[int]] = []
        half = threading.Event()

        def submit(
            pool: ThreadPool = pool, accepted: list[Future[int]] = accepted, half: threading.Event = half
        ) -> None:
            try:
                for number in range(1, 96):
                    accepted.append(pool.submit(ran.append, number))  # noqa: B023
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
        assert outcomes["done"] == len(ran)
        assert outcomes["done"] + outcomes["cancelled"] == len(accepted)
        assert cancel or not outcomes["cancelled"]
        assert len(set(ran)) == len(ran)


def _outcome(future: Future[int]) -> str:
    try:
        future.result(0)
    except CancelledError:
        return "cancelled"
    return "done"
