from __future__ import annotations

import threading
import weakref

from waiting import wait_until

from mooring.threads.sampler import Sampler


class Pool:
    def __init__(self, *intervals: float | None) -> None:
        self.intervals = list(intervals)
        self.steps = 0
        self.last_step = threading.Event()

    def _sample(self) -> float | None:
        self.steps += 1
        if self.intervals:
            return self.intervals.pop(0)
        self.last_step.set()
        return None


def wait_for_a_step(pool: Pool) -> None:
    wait_until(lambda: pool.steps)


def samplers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sampler"]


def test_there_is_no_thread_before_it_is_needed() -> None:
    sampler = Sampler(Pool(), "sampler")
    assert samplers() == []
    sampler.leave()
    sampler.wake()
    assert samplers() == []


def test_it_samples_at_the_intervals_asked_for_and_then_sleeps_until_woken() -> None:
    pool = Pool(0.0, 0.001, 0.0)
    sampler = Sampler(pool, "sampler")
    sampler.wake()
    assert pool.last_step.wait(10)
    assert pool.steps == 4
    pool.last_step.clear()
    sampler.wake()
    assert pool.last_step.wait(10)
    assert pool.steps == 5
    assert len(samplers()) == 1
    sampler.leave()
    sampler.join()
    assert samplers() == []


def test_waking_it_often_from_many_threads_is_harmless() -> None:
    pool = Pool()
    sampler = Sampler(pool, "sampler")
    threads = [threading.Thread(target=lambda: [sampler.wake() for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.last_step.wait(10)
    assert len(samplers()) == 1
    sampler.leave()
    sampler.join()


def test_it_keeps_no_pool_alive() -> None:
    pool = Pool(60.0)
    sampler = Sampler(pool, "sampler")
    sampler.wake()
    wait_for_a_step(pool)
    gone = weakref.ref(pool)
    del pool
    wait_until(lambda: gone() is None)
    sampler.leave()
    sampler.join()
