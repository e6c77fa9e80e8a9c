"""What happens to idle connections while nobody uses them, and to leases that nobody returns."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from clock import Clock
from fake_driver import FakeDriver, make_fake_pool
from waiting import wait_until

from mooring.db import ConnectionPool, PoolEvent, PoolEventKind
from mooring.db.driver import ServerLimits
from mooring.errors import PoolTimeout


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver(inline=False)


@pytest.fixture
def events() -> list[PoolEvent]:
    return []


class Watched:
    """Makes pools whose housekeeper looks only when told to."""

    def __init__(self, driver: FakeDriver, clock: Clock, events: list[PoolEvent]) -> None:
        self.driver, self.clock, self.events = driver, clock, events
        self.pools: list[ConnectionPool] = []

    def __call__(self, **options: Any) -> ConnectionPool:
        pool = make_fake_pool(self.driver, self.clock, **{"max_size": 4, "on_event": self.events.append, **options})
        pool._has_housekeeper = True  # as if its thread ran already
        self.pools.append(pool)
        return pool


@pytest.fixture
def make(driver: FakeDriver, clock: Clock, events: list[PoolEvent]) -> Iterator[Watched]:
    made = Watched(driver, clock, events)
    yield made
    for pool in made.pools:
        pool.close(0.0)


def kinds(events: list[PoolEvent]) -> list[PoolEventKind]:
    return [event.kind for event in events]


def test_idle_connections_above_min_size_are_closed_from_the_coldest(
    make: Watched, clock: Clock, driver: FakeDriver
) -> None:
    pool = make(min_size=1, max_idle=60.0)
    pool.create_connections(4)
    clock.advance(50)
    with pool.connection():
        pass  # the hottest one
    clock.advance(11)
    pool._housekeeper.look()
    assert [connection.number for connection in driver.open_connections()] == [3]
    assert pool.stats().unused == 3


def test_keepalive_asks_idle_connections_and_does_not_make_them_young(
    make: Watched, clock: Clock, driver: FakeDriver
) -> None:
    pool = make(min_size=2, keepalive_interval=20.0, max_idle=1000.0)
    pool.create_connections(2)
    clock.advance(17)
    pool._housekeeper.look()
    assert pool.stats().pings == 0
    clock.advance(4)
    order = [slot.connection.number for slot in pool._ledger.idle]
    pool._housekeeper.look()
    assert [connection.pings for connection in driver.connections] == [1, 1]
    assert [slot.connection.number for slot in pool._ledger.idle] == order
    assert all(slot.idle_since == 1000.0 for slot in pool._ledger.idle)
    pool._housekeeper.look()
    assert pool.stats().pings == 2  # they have been asked just now


def test_a_connection_that_does_not_answer_the_keepalive_is_replaced(
    make: Watched, clock: Clock, driver: FakeDriver
) -> None:
    pool = make(min_size=2, keepalive_interval=20.0)
    pool.create_connections(2)
    driver.connections[0].alive = False
    clock.advance(21)
    pool._housekeeper.look()
    wait_until(lambda: pool.stats().idle == 2)
    assert driver.connections[0].closed
    assert (pool.stats().dead, pool.stats().ping_failures) == (1, 1)


def test_expired_connections_are_replaced_before_anybody_asks(make: Watched, clock: Clock, driver: FakeDriver) -> None:
    """psycopg_pool kept idle connections for ever, and lent expired ones."""
    pool = make(min_size=2, max_lifetime=100.0)
    pool.create_connections(2)
    clock.advance(101)
    pool._housekeeper.look()
    wait_until(lambda: pool.stats().idle == 2)
    assert [connection.closed for connection in driver.connections] == [True, True, False, False]
    assert pool.stats().expired == 2


def test_the_pool_is_refilled_to_min_size_by_two_at_a_time(make: Watched, driver: FakeDriver) -> None:
    pool = make(min_size=4)
    pool.create_connections(1)
    driver.gate.clear()
    pool._housekeeper.look()
    assert pool.stats().opening == 2
    driver.gate.set()
    wait_until(lambda: pool.stats().opening == 0)
    pool._housekeeper.look()
    wait_until(lambda: pool.stats().idle == 4)


def test_idle_times_are_clamped_to_the_servers_wait_timeout(make: Watched, driver: FakeDriver, clock: Clock) -> None:
    """HikariCP's users learn about wait_timeout from failed queries."""
    driver.server_limits = ServerLimits(wait_timeout=50.0, max_connections=100, version="fake")
    pool = make(min_size=1)
    pool.create_connections(2)
    assert (pool._ledger.max_idle, pool._ledger.keepalive_interval) == (40.0, 40.0)
    assert pool._housekeeper.interval() == 5.0  # 40 + 5 s is earlier than the server's 50 s
    clock.advance(41)
    pool._housekeeper.look()
    assert (pool.stats().total, pool.stats().pings) == (1, 1)


def test_a_pool_that_is_large_for_its_server_says_so(
    make: Watched, driver: FakeDriver, events: list[PoolEvent]
) -> None:
    driver.server_limits = ServerLimits(wait_timeout=28800.0, max_connections=4, version="5.0-fake")
    make(max_size=4).create_connections(2)
    (told,) = (event.detail for event in events if event.kind is PoolEventKind.LIMITS)
    assert told.startswith("max_size 4 is more than 80% of the 4 connections that the server (5.0-fake) admits")


def test_a_lease_held_for_long_is_reported_once_and_so_is_its_return(
    make: Watched, clock: Clock, events: list[PoolEvent]
) -> None:
    pool = make(leak_after=60.0)
    lease = pool.get_connection()
    clock.advance(59)
    pool._housekeeper.look()
    assert PoolEventKind.LEAKED not in kinds(events)
    clock.advance(1)
    pool._housekeeper.look()
    pool._housekeeper.look()
    (leak,) = (event for event in events if event.kind is PoolEventKind.LEAKED)
    assert leak.detail.startswith("MainThread (")
    assert "test_housekeeper.py:" in leak.detail
    assert "in test_a_lease_held_for_long_is_reported_once_and_so_is_its_return" in leak.detail
    assert "60.0 s" in leak.detail
    pool.return_connection(lease)
    assert kinds(events)[-1] is PoolEventKind.RETURNED
    assert pool.stats().leaks == 1


def test_leaks_are_not_reported_for_ever(make: Watched, clock: Clock, events: list[PoolEvent]) -> None:
    pool = make(leak_after=math.inf)
    with pool.connection():
        clock.advance(1e9)
        pool._housekeeper.look()
    assert PoolEventKind.LEAKED not in kinds(events)


def test_a_pool_without_threads_reports_leaks_when_somebody_must_wait(clock: Clock) -> None:
    events: list[PoolEvent] = []
    pool = make_fake_pool(FakeDriver(inline=True), clock, max_size=1, on_event=events.append)
    with pool.connection():
        clock.advance(61)
        with pytest.raises(PoolTimeout):
            pool.get_connection(timeout=0)
    assert PoolEventKind.LEAKED in kinds(events)
    pool.close()


def test_a_second_borrow_by_the_same_thread_is_told_once(make: Watched, events: list[PoolEvent]) -> None:
    """HikariCP's users call it "connection is not available": all threads wait for each other's first connection."""
    pool = make(max_size=1)
    with pool.connection():
        for _ in range(2):
            with pytest.raises(PoolTimeout):
                pool.get_connection(timeout=0)
    assert kinds(events).count(PoolEventKind.NESTED) == 1


def test_a_listener_that_raises_harms_nobody(make: Watched, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: PoolEvent) -> None:
        raise ZeroDivisionError

    with make(on_event=fail).connection():
        pass
    assert "on_event failed" in caplog.text


def test_the_thread_starts_with_the_first_connection_and_ends_with_the_pool(driver: FakeDriver) -> None:
    def housekeepers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.endswith("-housekeeper")]

    with make_fake_pool(driver) as pool:
        assert housekeepers() == []
        pool.return_connection(pool.get_connection())
        assert housekeepers() == ["fake-housekeeper"]
    assert housekeepers() == []


def test_a_real_tick_closes_what_is_idle(driver: FakeDriver) -> None:
    with make_fake_pool(driver, min_size=0, max_idle=0.2) as pool:
        pool.return_connection(pool.get_connection())
        wait_until(lambda: pool.stats().total == 0)


def test_a_forgotten_pool_takes_its_threads_along(driver: FakeDriver) -> None:
    pools = [make_fake_pool(driver, max_idle=0.4)]
    pools[0].return_connection(pools[0].get_connection())
    with pytest.warns(ResourceWarning, match="ConnectionPool fake> was never closed"):
        pools.clear()
    wait_until(lambda: not any("fake-" in thread.name for thread in threading.enumerate()))
