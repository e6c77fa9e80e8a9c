"""Pause, resume, evict, and transactions that are tried again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from clock import Clock
from fake_driver import Deadlock, FakeDriver, ReadOnly, make_fake_pool
from waiting import wait_until

from mooring.db import ConnectionPool, Lease
from mooring.errors import CommitUnknown, PoolClosed, PoolTimeout


@pytest.fixture(params=["inline", "openers"])
def driver(request: pytest.FixtureRequest) -> FakeDriver:
    return FakeDriver(inline=request.param == "inline")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(driver: FakeDriver, clock: Clock) -> Iterator[ConnectionPool]:
    with make_fake_pool(driver, clock, max_size=3) as pool:
        yield pool
    assert not driver.open_connections()


# ------------------------------------------------------------------------------------------------- pause, resume


def test_a_paused_pool_lets_callers_wait_and_serves_them_in_order(pool: ConnectionPool) -> None:
    pool.create_connections(1)
    pool.pause()
    served: list[int] = []

    def work(number: int) -> None:
        with pool.connection(30):
            served.append(number)

    with ThreadPoolExecutor(5) as executor:
        futures = []
        for number in range(5):
            futures.append(executor.submit(work, number))
            wait_until(lambda: pool.stats().waiting == len(futures))
        assert (pool.stats().state, pool.stats().idle) == ("paused", 1)
        pool.resize(1, 1)
        pool.resume()
        for future in futures:
            future.result(10)
    assert served == [0, 1, 2, 3, 4]


def test_what_is_lent_when_a_pool_is_paused_comes_back_and_stays(pool: ConnectionPool, driver: FakeDriver) -> None:
    with pool.connection() as lease:
        pool.pause()
        lease.execute("SELECT 1")
    assert (pool.stats().idle, pool.stats().active) == (1, 0)
    with pytest.raises(PoolTimeout, match="the pool is paused"):
        pool.get_connection(timeout=0)
    pool.resume()
    with pool.connection() as lease:
        assert lease.raw is driver.connections[0]


def test_a_closed_pool_is_neither_paused_nor_resumed(driver: FakeDriver) -> None:
    pool = make_fake_pool(driver)
    pool.close()
    for use in (pool.pause, pool.resume):
        with pytest.raises(PoolClosed):
            use()


def test_a_paused_pool_can_be_closed(driver: FakeDriver) -> None:
    pool = make_fake_pool(driver)
    pool.pause()
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(pool.get_connection, 30)
        wait_until(lambda: pool.stats().waiting)
        pool.close()
        with pytest.raises(PoolClosed):
            waiting.result(10)


# --------------------------------------------------------------------------------------------------------- evict


def test_evict_replaces_idle_connections_now_and_lent_ones_at_their_return(
    pool: ConnectionPool, driver: FakeDriver
) -> None:
    pool.create_connections(2)
    lease = pool.get_connection()
    pool.evict()
    assert len(driver.open_connections()) == 1
    lease.execute("SELECT 1")  # still usable
    pool.return_connection(lease)
    assert not driver.open_connections()
    assert pool.stats().evicted == 2
    with pool.connection() as lease:
        assert lease.raw.number == 2


def test_a_connect_that_began_before_an_evict_is_not_lent_after_it() -> None:
    driver = FakeDriver(inline=False)
    with make_fake_pool(driver) as pool, ThreadPoolExecutor(1) as executor:
        driver.gate.clear()
        waiting = executor.submit(pool.get_connection, 30)
        assert driver.connecting.acquire(timeout=30)
        pool.evict()
        driver.gate.set()
        lease = waiting.result(10)
        assert lease.raw.number == 1
        assert driver.connections[0].closed
        pool.return_connection(lease)


def test_a_writer_that_has_become_read_only_costs_all_connections_of_its_age(
    pool: ConnectionPool, driver: FakeDriver, clock: Clock
) -> None:
    """After an Aurora failover pools went on lending connections to the former writer."""
    pool.create_connections(3)
    for expected in (3, 1):  # a server that stays read-only: not all at each write
        driver.query_error = ReadOnly("1290")
        with pytest.raises(ReadOnly), pool.connection() as lease:
            lease.execute("INSERT")
        assert pool.stats().closed == expected if expected == 3 else 4
        pool.create_connections(3)
    clock.advance(6)
    driver.query_error = ReadOnly("1290")
    with pytest.raises(ReadOnly), pool.connection() as lease:
        lease.execute("INSERT")
    assert pool.stats().closed == 7


def test_a_write_in_a_read_only_transaction_is_the_users_own_fault(pool: ConnectionPool, driver: FakeDriver) -> None:
    pool.create_connections(3)
    driver.query_error = ReadOnly("1792")
    with pytest.raises(ReadOnly), pool.transaction(read_only=True) as lease:
        lease.execute("INSERT")
    assert pool.stats().closed == 0


# -------------------------------------------------------------------------------------------------- run_transaction


def test_a_transaction_that_lost_is_run_again(pool: ConnectionPool) -> None:
    runs: list[Lease] = []

    def work(lease: Lease) -> str:
        runs.append(lease)
        if len(runs) < 3:
            raise Deadlock
        return "done"

    assert pool.run_transaction(work) == "done"
    assert len(runs) == 3
    assert pool.stats().retries == 2


def test_a_transaction_is_given_up_after_so_many_attempts(pool: ConnectionPool) -> None:
    runs: list[Lease] = []

    def work(lease: Lease) -> None:
        runs.append(lease)
        raise Deadlock

    with pytest.raises(Deadlock):
        pool.run_transaction(work, attempts=2)
    assert len(runs) == 2
    with pytest.raises(ValueError, match="attempts"):
        pool.run_transaction(work, attempts=0)


@pytest.mark.parametrize("error", [ValueError(), CommitUnknown(), KeyboardInterrupt()])
def test_no_other_error_is_tried_again(pool: ConnectionPool, error: BaseException) -> None:
    runs: list[Lease] = []

    def work(lease: Lease) -> None:
        runs.append(lease)
        raise error

    with pytest.raises(type(error)):
        pool.run_transaction(work)
    assert len(runs) == 1


# ------------------------------------------------------------------------------------------------ a lease's manners


def test_a_lease_is_closed_like_a_pep_249_connection(pool: ConnectionPool) -> None:
    lease = pool.get_connection()
    lease.close()
    lease.close()
    assert (lease.live, pool.stats().idle) == (False, 1)


def test_a_lease_has_what_the_drivers_connection_has(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        assert lease.number == 0
        with pytest.raises(AttributeError, match="nonsense"):
            _ = lease.nonsense
        with pytest.raises(AttributeError, match="_hidden"):
            _ = lease._hidden


def test_a_lease_kept_past_close_says_that_the_pool_is_closed(driver: FakeDriver) -> None:
    pool = make_fake_pool(driver)
    lease = pool.get_connection()
    pool.close(timeout=0)
    with pytest.raises(PoolClosed, match="cut off"):
        lease.execute("SELECT 1")
    pool.return_connection(lease)


def test_a_pool_counts_how_long_things_take(pool: ConnectionPool, clock: Clock) -> None:
    for seconds in (0.0, 0.5, 0.5):
        with pool.connection():
            clock.advance(seconds)
    stats = pool.stats()
    assert (stats.usage.total, stats.connect.total) == (3, 1)
    assert 0.5 <= stats.usage.quantile(0.99) < 1.05
