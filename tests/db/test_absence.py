"""A database that is away: who tries, how often, and what callers are told. Over the fake driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from clock import Clock
from fake_driver import Denied, FakeDriver, Refused, make_fake_pool
from waiting import wait_until

from mooring.db import ConnectionPool, PoolEvent, PoolEventKind
from mooring.db.health import Health
from mooring.errors import PoolUnavailable


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def driver() -> FakeDriver:
    driver = FakeDriver(inline=False)
    driver.down = Refused("away")
    return driver


@pytest.fixture
def events() -> list[PoolEvent]:
    return []


@pytest.fixture
def pool(driver: FakeDriver, clock: Clock, events: list[PoolEvent]) -> Iterator[ConnectionPool]:
    with make_fake_pool(driver, clock, max_size=4, fail_fast_after=5.0, on_event=events.append) as pool:
        yield pool
        driver.gate.set()


def fail_once(pool: ConnectionPool) -> None:
    with pytest.raises(PoolUnavailable):
        pool.get_connection(timeout=0.05)


def test_callers_fail_at_once_with_the_cause_while_the_pool_tries_by_itself(
    pool: ConnectionPool, driver: FakeDriver, clock: Clock
) -> None:
    """psycopg_pool let every caller wait for its whole time-out, and hid the cause."""
    before = threading.active_count()
    fail_once(pool)
    clock.advance(6)
    for _ in range(100):
        with pytest.raises(PoolUnavailable, match="explained: away") as caught:
            pool.get_connection(timeout=60)
        assert isinstance(caught.value.__cause__, Refused)
    assert pool.stats().rejected == 100
    assert (pool.stats().opening, threading.active_count()) == (1, before + 1)


def test_the_pool_recovers_without_any_caller(pool: ConnectionPool, driver: FakeDriver, clock: Clock) -> None:
    """psycopg_pool gave up after five minutes; users restarted their programs."""
    fail_once(pool)
    clock.advance(3600)
    driver.down = None
    wait_until(lambda: not pool.stats().down)
    pool.return_connection(pool.get_connection(timeout=0))


def test_a_caller_hurries_the_next_attempt_along(
    pool: ConnectionPool, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health, "pause", lambda health, awaited: 60.0)
    fail_once(pool)
    driver.down = None
    pool.return_connection(pool.get_connection(timeout=30))


def test_those_who_wait_are_told_once_there_is_no_hope(pool: ConnectionPool, clock: Clock) -> None:
    with ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(pool.get_connection, 60) for _ in range(4)]
        wait_until(lambda: pool.stats().waiting == 4 and pool.stats().down)
        clock.advance(6)
        for future in futures:
            with pytest.raises(PoolUnavailable, match="away"):
                future.result(10)


def test_connections_that_work_go_on_serving_while_new_ones_are_refused(
    pool: ConnectionPool, driver: FakeDriver, clock: Clock
) -> None:
    """A server that is full (1040), or a password that was changed, does not end what is there."""
    driver.down = None
    held = pool.get_connection()
    driver.down = Refused("too many connections")
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(pool.get_connection, 60)
        wait_until(lambda: pool.stats().down)
        clock.advance(4)
        pool.return_connection(held)
        pool.return_connection(waiting.result(10))


def test_lent_connections_that_hang_do_not_keep_callers_waiting(
    pool: ConnectionPool, driver: FakeDriver, clock: Clock
) -> None:
    """In a black hole lent connections hang for 30 s; whoever comes meanwhile is told, not kept."""
    driver.down = None
    held = pool.get_connection()
    driver.down = Refused("away")
    fail_once_or_time_out = pool.get_connection
    with pytest.raises(Exception, match="away"):
        fail_once_or_time_out(timeout=0.3)
    clock.advance(6)
    with pytest.raises(PoolUnavailable, match="away"):
        pool.get_connection(timeout=60)
    pool.return_connection(held)


def test_a_refusal_is_tried_again_once_a_second_by_a_caller(
    pool: ConnectionPool, driver: FakeDriver, clock: Clock
) -> None:
    driver.down = Denied("wrong password")
    fail_once(pool)
    clock.advance(6)
    for _ in range(10):
        fail_once(pool)
    assert driver.attempts == 2
    clock.advance(1.1)
    driver.down = None
    pool.return_connection(pool.get_connection())


def test_the_log_is_told_first_then_once_a_minute_then_that_it_is_over(
    pool: ConnectionPool, driver: FakeDriver, clock: Clock, events: list[PoolEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health, "pause", lambda health, awaited: 0.0)
    monkeypatch.setattr("mooring.db.opening.RETRY_INTERVAL", 0.001)
    fail_once(pool)

    def attempts_more() -> None:
        target = driver.attempts + 10
        wait_until(lambda: driver.attempts >= target)

    for _ in range(6):
        attempts_more()
        clock.advance(61)
    attempts_more()
    driver.down = None
    wait_until(lambda: not pool.stats().down)
    wait_until(lambda: events[-1].kind is PoolEventKind.UP)
    told = [event.kind for event in events if event.kind is not PoolEventKind.OPENED]
    assert told[0] is PoolEventKind.DOWN
    assert told.count(PoolEventKind.STILL_DOWN) == 6
    assert told.count(PoolEventKind.UNAVAILABLE) == 1
    assert told[-1] is PoolEventKind.UP


def test_pauses_grow_up_to_five_seconds_and_are_short_while_callers_wait() -> None:
    health = Health()
    for _ in range(30):
        health.note_failure(0.0, 0.0, OSError(), "", fatal=False)
        assert health.pause(awaited=True) == 0.2
    assert all(2.5 <= health.pause(awaited=False) <= 5.0 for _ in range(100))
