"""The pool's own logic over a fake driver, with callers opening (inline) and with opener threads."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from clock import Clock
from fake_driver import Denied, FakeDriver, Refused, make_fake_pool

from mooring.db import ConnectionPool, Lease, MySQLConnectionPool, SQLiteConnectionPool, open_pool
from mooring.errors import PoolBusy, PoolClosed, PoolError, PoolTimeout, PoolUnavailable


@pytest.fixture(params=["inline", "openers"])
def driver(request: pytest.FixtureRequest) -> FakeDriver:
    return FakeDriver(inline=request.param == "inline")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(driver: FakeDriver) -> Iterator[Callable[..., ConnectionPool]]:
    pools: list[ConnectionPool] = []

    def make_pool(**options: Any) -> ConnectionPool:
        pools.append(make_fake_pool(driver, **options))
        return pools[-1]

    yield make_pool
    driver.gate.set()
    for pool in pools:
        pool.close(timeout=0.0)
        pool._opening.join(10.0)
        for lease in list(pool._ledger.leases):
            pool.return_connection(lease)
        assert not driver.open_connections()
        assert pool._ledger.total_locked() == 0


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as executor:
        yield executor


def await_waiting(pool: ConnectionPool, count: int) -> None:
    """Until so many callers wait."""
    tick = threading.Event()
    for _ in range(2000):
        if pool.stats().waiting == count:
            return
        tick.wait(0.005)
    raise AssertionError(f"{pool.stats()}")


# --------------------------------------------------------------------------------------------------- lending


def test_the_constructor_opens_nothing(driver: FakeDriver, make: Callable[..., ConnectionPool]) -> None:
    threads = threading.active_count()
    pool = make()
    assert (driver.attempts, threading.active_count(), pool.stats().total) == (0, threads, 0)


def test_a_lease_tells_the_engine_that_this_thread_will_wait(
    make: Callable[..., ConnectionPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    monkeypatch.setattr("mooring.db.pool.about_to_block", lambda: told.append(True))
    with make().connection():
        assert told == [True]


def test_a_returned_connection_is_lent_again(driver: FakeDriver, make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    for _ in range(3):
        with pool.connection() as lease:
            assert lease.raw is driver.connections[0]
    assert driver.attempts == 1
    assert pool.stats().acquired == 3


def test_the_connection_used_last_is_lent_first(make: Callable[..., ConnectionPool]) -> None:
    pool = make(max_size=3)
    leases = [pool.get_connection() for _ in range(3)]
    order = [leases[index] for index in (1, 0, 2)]
    raws = [lease.raw for lease in order]
    for lease in order:
        pool.return_connection(lease)
    again = [pool.get_connection() for _ in range(3)]
    assert [lease.raw for lease in again] == raws[::-1]


def test_waiters_are_served_first_come_first_served(
    make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=1)
    held = pool.get_connection()
    served: list[int] = []

    def wait(number: int) -> None:
        with pool.connection(timeout=30):
            served.append(number)

    futures = []
    for number in range(10):
        futures.append(executor.submit(wait, number))
        await_waiting(pool, number + 1)
    pool.return_connection(held)
    for future in futures:
        future.result(30)
    assert served == list(range(10))


def test_a_newcomer_does_not_overtake_those_who_wait(
    make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=1)
    held = pool.get_connection()
    waiting = executor.submit(pool.get_connection, 30)
    await_waiting(pool, 1)
    pool.return_connection(held)
    # Handed over directly: it was never idle, so there is nothing to snatch.
    with pytest.raises(PoolTimeout):
        pool.get_connection(timeout=0)
    pool.return_connection(waiting.result(30))


def test_never_more_than_max_size_and_never_two_users(
    driver: FakeDriver, make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=3, max_waiting=100)
    faults: list[str] = []

    def work() -> None:
        for number in range(100):
            with pool.connection(timeout=30) as lease:
                lease.raw.users += 1
                if lease.raw.users != 1:
                    faults.append("shared")
                if len(driver.open_connections()) > 3:
                    faults.append("too many")
                lease.raw.users -= 1
                if number % 10 == 0:
                    lease.raw.alive = False  # reset() says so at the return

    for future in [executor.submit(work) for _ in range(20)]:
        future.result(60)
    stats = pool.stats()
    assert not faults
    assert (stats.active, stats.waiting, stats.opening, stats.acquired) == (0, 0, 0, 2000)
    assert stats.broken > 0
    assert stats.total == stats.idle == len(driver.open_connections()) == stats.opened - stats.closed


# --------------------------------------------------------------------------------------------- waiting in vain


def test_a_timeout_says_how_many_there_are_and_who_holds_them(make: Callable[..., ConnectionPool]) -> None:
    pool = make(max_size=2)
    leases = [pool.get_connection(), pool.get_connection()]
    with pytest.raises(PoolTimeout) as caught:
        pool.get_connection(timeout=0.01)
    assert "2 connections of at most 2: 2 active, 0 idle, 0 opening; 0 callers waiting" in str(caught.value)
    assert re.search(r"MainThread \(.*test_pool.py:\d+ in test_a_timeout_says.*\) for", str(caught.value))
    assert isinstance(caught.value, TimeoutError)
    assert pool.stats().timeouts == 1
    for lease in leases:
        pool.return_connection(lease)
    assert pool.stats().idle == 2


def test_one_waiter_too_many_is_told_at_once(make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor) -> None:
    pool = make(max_size=1, max_waiting=1)
    held = pool.get_connection()
    waiting = executor.submit(pool.get_connection, 30)
    await_waiting(pool, 1)
    with pytest.raises(PoolBusy, match="max_waiting"):
        pool.get_connection(30)
    pool.return_connection(held)
    pool.return_connection(waiting.result(30))


def test_a_connection_is_not_handed_to_a_waiter_whose_time_is_over(clock: Clock, executor: ThreadPoolExecutor) -> None:
    """Vitess lost connections to waiters that had given up."""
    pool = make_fake_pool(FakeDriver(inline=True), clock, max_size=1)
    held = pool.get_connection()
    late = executor.submit(pool.get_connection, 20)
    await_waiting(pool, 1)
    clock.advance(21)
    pool.return_connection(held)
    with pytest.raises(PoolTimeout):
        late.result(10)
    assert pool.stats().idle == 1
    pool.close()


def test_an_interrupted_waiter_hands_on_what_it_was_given(
    make: Callable[..., ConnectionPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make(max_size=1)
    held = pool.get_connection()

    class Interrupting:
        """The baton of a waiter that is interrupted just as it is given a connection."""

        def acquire(self, timeout: float = -1) -> bool:
            pool.return_connection(held)
            raise KeyboardInterrupt

        def release(self) -> None: ...

    import mooring.db.lending as module

    class InterruptedWaiter(module.Waiter):
        __slots__ = ()

        def __init__(self, lease: Lease, deadline: float, started: float) -> None:
            super().__init__(lease, deadline, started)
            self.baton = Interrupting()  # type: ignore[assignment]

    monkeypatch.setattr(module, "Waiter", InterruptedWaiter)
    with pytest.raises(KeyboardInterrupt):
        pool.get_connection(30)
    monkeypatch.undo()
    stats = pool.stats()
    assert (stats.idle, stats.active, stats.waiting) == (1, 0, 0)


def test_a_waiter_is_served_by_a_return_while_another_connect_hangs(
    driver: FakeDriver, make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=2)
    held = pool.get_connection()
    driver.connecting.acquire()
    driver.gate.clear()
    first = executor.submit(pool.get_connection, 30)
    assert driver.connecting.acquire(timeout=30)  # a connect hangs now
    second: Future[Lease] | None = None
    if driver.opens_inline:  # the first one sits in the connect, the second one waits
        second = executor.submit(pool.get_connection, 30)
        await_waiting(pool, 1)
    else:
        await_waiting(pool, 1)
    raw = held.raw
    pool.return_connection(held)
    served = (second or first).result(30)
    assert served.raw is raw
    driver.gate.set()
    if second is not None:
        pool.return_connection(first.result(30))
    pool.return_connection(served)


# ------------------------------------------------------------------------------------------ a database that is away


def test_a_refusal_reaches_every_caller_at_once(
    driver: FakeDriver, make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=2)
    driver.down = Denied("wrong password")
    for future in [executor.submit(pool.get_connection, 30) for _ in range(10)]:
        with pytest.raises(PoolUnavailable, match="explained: wrong password") as caught:
            future.result(20)
        assert isinstance(caught.value.__cause__, Denied)
    stats = pool.stats()
    assert (stats.total, stats.opening, stats.waiting, stats.down) == (0, 0, 0, True)


def test_the_first_call_after_the_database_is_back_succeeds(
    driver: FakeDriver, make: Callable[..., ConnectionPool]
) -> None:
    pool = make()
    for error in (Denied("wrong password"), Refused("away")):
        driver.down = error
        with pytest.raises(PoolUnavailable):
            pool.get_connection(timeout=0.05)
        driver.down = None
        with pool.connection(timeout=30) as lease:
            lease.broken = True
    assert not pool.stats().down


def test_a_short_absence_is_waited_out() -> None:
    driver = FakeDriver(inline=False)
    driver.down = Refused("away")
    with make_fake_pool(driver) as pool, ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(pool.get_connection, 30) for _ in range(2)]
        assert driver.connecting.acquire(timeout=30)
        assert driver.connecting.acquire(timeout=30)  # it tries again by itself
        driver.down = None
        for future in futures:
            pool.return_connection(future.result(30))


def test_one_thread_tries_a_database_that_is_away() -> None:
    driver = FakeDriver(inline=False)
    driver.down = Refused("away")
    with make_fake_pool(driver, max_size=10) as pool, ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(pool.get_connection, 0.7) for _ in range(8)]
        for future in futures:
            with pytest.raises(PoolUnavailable, match="away") as caught:
                future.result(30)
            assert isinstance(caught.value.__cause__, Refused)
        assert driver.attempts <= 8  # 0.7 s at 0.2 s each, and two openers at the start; not 8 callers x 4
        assert pool.stats().opening <= 1


def test_after_a_long_absence_one_caller_tries_and_the_others_fail_at_once(clock: Clock) -> None:
    driver = FakeDriver(inline=False)
    pool = make_fake_pool(driver, clock, max_size=4, fail_fast_after=5.0)
    driver.down = Denied("away")
    with pytest.raises(PoolUnavailable):
        pool.get_connection(30)
    clock.advance(6)
    driver.gate.clear()
    with ThreadPoolExecutor(1) as executor:
        while driver.connecting.acquire(blocking=False):
            pass
        trial = executor.submit(pool.get_connection, 30)
        assert driver.connecting.acquire(timeout=30)
        with pytest.raises(PoolUnavailable, match="away"):
            pool.get_connection(30)
        assert pool.stats().rejected == 1
        driver.down = None
        driver.gate.set()
        pool.return_connection(trial.result(30))
    pool.return_connection(pool.get_connection(30))
    pool.close()


def test_a_failed_connect_wakes_the_next_one_who_waits(driver: FakeDriver, make: Callable[..., ConnectionPool]) -> None:
    """Whoever waits behind a connect that fails is told, or tries: nobody is forgotten."""
    pool = make(max_size=1, fail_fast_after=0.5)
    driver.gate.clear()
    driver.down = Refused("away")
    with ThreadPoolExecutor(4) as executor:
        futures = [executor.submit(pool.get_connection, 60) for _ in range(4)]
        assert driver.connecting.acquire(timeout=30)
        await_waiting(pool, 3 if driver.opens_inline else 4)
        driver.gate.set()
        errors = [future.exception(20) for future in futures]
    assert all(isinstance(error, PoolUnavailable) for error in errors)
    assert pool.stats().waiting == 0


def test_on_connect_prepares_each_connection_and_its_error_is_the_cause(
    driver: FakeDriver, make: Callable[..., ConnectionPool]
) -> None:
    seen: list[Any] = []
    with make(on_connect=seen.append).connection() as lease:
        assert seen == [lease.raw]

    def refuse(connection: Any) -> None:
        raise ValueError("no such role")

    with pytest.raises(PoolUnavailable, match="on_connect raised ValueError: no such role"):
        make(on_connect=refuse).get_connection(30)
    assert driver.connections[-1].closed


def test_no_thread_to_be_had_is_said_to_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_fake_pool(FakeDriver(inline=False)) as pool:

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(PoolUnavailable, match="can't start new thread"):
                pool.get_connection(30)
        pool.return_connection(pool.get_connection(30))


# -------------------------------------------------------------------------------------------------- validation


def test_a_connection_is_asked_only_after_it_has_been_idle(clock: Clock) -> None:
    driver = FakeDriver(inline=True)
    with make_fake_pool(driver, clock, ping_after=30.0) as pool:
        with pool.connection():
            pass
        clock.advance(30)
        with pool.connection():
            assert driver.connections[0].pings == 0
        clock.advance(31)
        with pool.connection():
            assert driver.connections[0].pings == 1
        assert pool.stats().pings == 1


def test_one_dead_connection_uncovers_the_others_and_makes_the_living_suspect(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg_pool slept 1, 2, 4, 8, 16 s between the stale connections after a restart of the server."""
    pairs = [socket.socketpair() for _ in range(3)]
    driver = FakeDriver(inline=True)
    monkeypatch.setattr(driver, "fileno", lambda connection: pairs[connection.number][0].fileno())
    with make_fake_pool(driver, clock, max_size=3) as pool:
        for lease in [pool.get_connection() for _ in range(3)]:
            pool.return_connection(lease)
        clock.advance(1)  # far from ping_after
        for number in (0, 2):
            pairs[number][1].close()
        with pool.connection() as lease:
            assert lease.raw.number == 1
            assert lease.raw.pings == 1  # it looked alive, but was asked nevertheless
        assert (pool.stats().dead, pool.stats().total) == (2, 1)
        with pool.connection() as lease:
            assert lease.raw.pings == 1  # suspicion is over
    for pair in pairs:
        pair[0].close()
        pair[1].close()


def test_a_connection_past_its_lifetime_is_replaced_at_the_loan(clock: Clock) -> None:
    """psycopg_pool checked the age only at the return, and lent expired connections."""
    driver = FakeDriver(inline=True)
    with make_fake_pool(driver, clock, max_lifetime=100.0, ping_after=1e9) as pool:
        with pool.connection():
            pass
        clock.advance(101)
        with pool.connection() as lease:
            assert lease.raw is driver.connections[1]
        assert driver.connections[0].closed


def test_a_connection_past_its_lifetime_is_closed_at_the_return(clock: Clock) -> None:
    driver = FakeDriver(inline=True)
    with make_fake_pool(driver, clock, max_lifetime=100.0) as pool:
        with pool.connection():
            clock.advance(101)
        assert driver.connections[0].closed
        assert pool.stats().total == 0


def test_lifetimes_differ_so_that_not_all_connections_end_at_once(clock: Clock) -> None:
    driver = FakeDriver(inline=True)
    with make_fake_pool(driver, clock, max_size=10, max_lifetime=100.0) as pool:
        pool.create_connections(10)
        ends = {slot.expires_at - clock() for slot in pool._ledger.idle}
        assert len(ends) > 5
        assert all(90 <= end <= 100 for end in ends)


def test_unused_connections_above_min_size_are_closed(clock: Clock) -> None:
    driver = FakeDriver(inline=True)
    with make_fake_pool(driver, clock, min_size=1, max_size=4, max_idle=60.0) as pool:
        for lease in [pool.get_connection() for _ in range(4)]:
            pool.return_connection(lease)
        clock.advance(61)
        with pool.connection():
            pass
        assert pool.stats().total == 1


# ------------------------------------------------------------------------------------------------- broken leases


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_a_connection_interrupted_in_a_query_is_never_lent_again(
    driver: FakeDriver, make: Callable[..., ConnectionPool], error: BaseException
) -> None:
    pool = make()
    driver.query_error = error
    with pytest.raises(type(error)), pool.connection() as lease:
        lease.execute("SELECT 1")
    assert driver.connections[0].closed
    assert driver.connections[0].resets == 0
    with pool.connection() as lease:
        assert lease.raw is driver.connections[1]
    assert pool.stats().broken == 1


def test_a_connection_interrupted_in_the_block_is_never_lent_again(
    driver: FakeDriver, make: Callable[..., ConnectionPool]
) -> None:
    pool = make()
    with pytest.raises(KeyboardInterrupt), pool.connection():
        raise KeyboardInterrupt
    assert driver.connections[0].closed


def test_an_ordinary_error_keeps_the_connection(driver: FakeDriver, make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    with pytest.raises(ZeroDivisionError), pool.connection():
        1 / 0  # noqa: B018
    assert not driver.connections[0].closed
    assert driver.connections[0].resets == 1


@pytest.mark.parametrize("error", [Refused("lost"), KeyboardInterrupt()])
def test_a_reset_that_fails_costs_the_connection_and_no_slot(
    driver: FakeDriver, make: Callable[..., ConnectionPool], error: BaseException
) -> None:
    """mysql-connector's pool lost the slot for good when the reset failed."""
    pool = make(max_size=1)
    lease = pool.get_connection()
    driver.reset_error = error
    if isinstance(error, Exception):
        pool.return_connection(lease)
    else:
        with pytest.raises(KeyboardInterrupt):
            pool.return_connection(lease)
    assert driver.connections[0].closed
    pool.return_connection(pool.get_connection())


def test_a_broken_connection_makes_room_for_one_who_waits(
    make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=1)
    held = pool.get_connection()
    waiting = executor.submit(pool.get_connection, 30)
    await_waiting(pool, 1)
    held.broken = True
    pool.return_connection(held)
    lease = waiting.result(30)
    assert lease.raw.number == 1
    pool.return_connection(lease)


def test_a_lease_cannot_be_used_or_returned_after_its_return(make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    lease = pool.get_connection()
    pool.return_connection(lease)
    for use in (
        lambda: lease.execute("SELECT 1"),
        lambda: lease.executemany("SELECT %s", [(1,)]),
        lease.cursor,
        lease.commit,
        lease.rollback,
        lambda: lease.raw,
    ):
        with pytest.raises(PoolError, match="has been returned"):
            use()
    with pytest.raises(PoolError, match="returned already"):
        pool.return_connection(lease)
    assert pool.stats().idle == 1


def test_a_lease_of_another_pool_is_refused(make: Callable[..., ConnectionPool]) -> None:
    one, other = make(), make()
    lease = one.get_connection()
    with pytest.raises(PoolError, match="of another pool"):
        other.return_connection(lease)
    one.return_connection(lease)


def test_of_many_threads_that_return_a_lease_one_succeeds(
    make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make()
    lease = pool.get_connection()
    futures = [executor.submit(pool.return_connection, lease) for _ in range(8)]
    assert [future.exception(10) is None for future in futures].count(True) == 1
    assert pool.stats().idle == 1


def test_a_lease_may_be_returned_inside_its_block_and_by_another_thread(
    make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make()
    with pool.connection() as lease:
        executor.submit(pool.return_connection, lease).result(10)
    assert pool.stats().idle == 1


def test_with_a_lease_returns_it(make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    with pool.get_connection() as lease:
        assert pool.stats().active == 1
    assert not lease.live
    assert pool.stats().active == 0


# ------------------------------------------------------------------------------------------- sizes, opening, closing


def test_create_connections_opens_up_to_min_size_and_says_how_many(
    driver: FakeDriver, make: Callable[..., ConnectionPool]
) -> None:
    pool = make(min_size=2, max_size=4)
    assert pool.create_connections() == 2
    assert pool.create_connections() == 0
    assert pool.create_connections(3) == 1
    assert pool.stats().idle == driver.attempts == 3
    with pytest.raises(ValueError, match="max_size 4"):
        pool.create_connections(5)


def test_create_connections_says_why_it_cannot(driver: FakeDriver, make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    driver.down = Denied("wrong password")
    with pytest.raises(PoolUnavailable, match="wrong password"):
        pool.create_connections()
    assert driver.attempts == 1  # trying again cannot help
    driver.down = Refused("away")
    with pytest.raises(PoolUnavailable, match="away") as caught:
        pool.create_connections(timeout=0.2)
    assert isinstance(caught.value.__cause__, Refused)
    assert driver.attempts > 2
    assert pool.stats().opening == 0


def test_create_new_connection_is_not_the_pools(driver: FakeDriver, make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    connection = pool.create_new_connection()
    assert pool.stats().total == 0
    assert pool.is_connection_valid(connection)
    connection.alive = False
    assert not pool.is_connection_valid(connection)
    driver.close(connection)


def test_is_connection_valid_takes_a_lease(make: Callable[..., ConnectionPool]) -> None:
    pool = make()
    lease = pool.get_connection()
    assert pool.is_connection_valid(lease)
    pool.return_connection(lease)
    assert not pool.is_connection_valid(lease)


def test_resize_to_more_serves_those_who_wait(
    make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=1)
    held = pool.get_connection()
    waiting = executor.submit(pool.get_connection, 30)
    await_waiting(pool, 1)
    pool.resize(1, 2)
    pool.return_connection(waiting.result(30))
    pool.return_connection(held)


def test_resize_to_less_closes_idle_connections_now_and_lent_ones_at_the_return(
    make: Callable[..., ConnectionPool],
) -> None:
    pool = make(min_size=0, max_size=4)
    leases = [pool.get_connection() for _ in range(4)]
    pool.return_connection(leases.pop())
    pool.resize(0, 2)
    assert pool.stats().total == 3
    pool.return_connection(leases.pop())
    assert pool.stats().total == 2
    for lease in leases:
        pool.return_connection(lease)
    assert pool.stats().idle == 2
    with pytest.raises(ValueError, match="min_size 5 is more than max_size 4"):
        pool.resize(5, 4)


def test_close_tells_those_who_wait_and_waits_for_those_who_work(
    driver: FakeDriver, make: Callable[..., ConnectionPool], executor: ThreadPoolExecutor
) -> None:
    pool = make(max_size=1)
    held = pool.get_connection()
    waiting = executor.submit(pool.get_connection, 30)
    await_waiting(pool, 1)
    closing = executor.submit(pool.close, 30)
    with pytest.raises(PoolClosed):
        waiting.result(30)
    assert not closing.done()
    pool.return_connection(held)
    closing.result(30)
    assert driver.connections[0].closed
    assert not driver.connections[0].aborted
    for use in (pool.get_connection, pool.create_connections, pool.create_new_connection):
        with pytest.raises(PoolClosed):
            use()
    pool.close()


def test_close_cuts_off_what_is_held_too_long_and_names_the_holder(
    driver: FakeDriver, make: Callable[..., ConnectionPool], caplog: pytest.LogCaptureFixture
) -> None:
    pool = make()
    lease = pool.get_connection()
    pool.close(timeout=0.0)
    assert driver.connections[0].aborted
    assert not driver.connections[0].closed  # it is in use: its holder closes it
    assert re.search(r"MainThread \(.*test_pool.py:\d+ in test_close_cuts_off.*\) has held a connection", caplog.text)
    pool.return_connection(lease)
    assert driver.connections[0].closed


def test_a_connection_that_opens_while_the_pool_closes_is_closed() -> None:
    driver = FakeDriver(inline=False)
    driver.gate.clear()
    pool = make_fake_pool(driver)
    with ThreadPoolExecutor(2) as executor:
        waiting = executor.submit(pool.get_connection, 30)
        assert driver.connecting.acquire(timeout=30)
        closing = executor.submit(pool.close, 30)
        with pytest.raises(PoolClosed):
            waiting.result(30)
        driver.gate.set()
        closing.result(30)
    assert not driver.open_connections()
    assert pool.stats().total == 0


def test_the_threads_of_the_pool_end_when_nobody_waits() -> None:
    driver = FakeDriver(inline=False)
    with make_fake_pool(driver) as pool:
        pool.return_connection(pool.get_connection())
        pool._opening.join(10)
        assert not [thread for thread in threading.enumerate() if "opener" in thread.name]


# ------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_size": 3, "max_size": 2}, "min_size 3 is more than max_size 2"),
        ({"max_size": 0, "min_size": 0}, "max_size at least 1"),
        ({"min_size": -1}, "min_size must be at least 0"),
        ({"min_size": 1.5}, "whole numbers"),
        ({"timeout": -1}, "timeout must be a number of seconds"),
        ({"timeout": "5"}, "timeout must be a number of seconds"),
        ({"ping_after": None}, "ping_after"),
        ({"max_lifetime": 0}, "max_lifetime"),
        ({"max_waiting": -1}, "max_waiting"),
        ({"on_connect": "SET x"}, "on_connect must be callable"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        open_pool("mysql://h/d", **options)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="pool_size"):
        open_pool("mysql://h/d", pool_size=3)


def test_each_pool_takes_the_urls_of_its_database() -> None:
    with pytest.raises(ValueError, match="MySQLConnectionPool needs a URL of mysql, not sqlite://"):
        MySQLConnectionPool("sqlite:///x.db")
    with pytest.raises(ValueError, match="SQLiteConnectionPool needs a URL of sqlite, not mariadb://"):
        SQLiteConnectionPool("mariadb://h/d")
    assert isinstance(open_pool("mariadb://h/d"), MySQLConnectionPool)
    assert isinstance(open_pool("sqlite:///x.db"), SQLiteConnectionPool)


def test_a_pool_is_printed_without_its_password() -> None:
    pool = open_pool("mysql://app:secret@h/d")
    assert repr(pool) == "<MySQLConnectionPool mysql://app:***@h/d>"
    assert open_pool("mysql://app:secret@h/d", name="meters").name == "meters"


def test_an_unknown_isolation_level_is_refused(make: Callable[..., ConnectionPool]) -> None:
    with pytest.raises(ValueError, match="SERIALIZABLE"):
        make().transaction(isolation="chaos")
