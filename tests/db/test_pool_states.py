"""The whole pool over a fake driver and a fake clock: random sequences of events keep what must always be true.

Vitess #17662 lost wake-ups, #20310 gave connections to those who had left: the invariants below name what may not be.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from clock import Clock
from fake_driver import FakeConnection, FakeDriver, Refused
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from waiting import wait_until

from mooring.db import ConnectionPool, Lease
from mooring.db.ledger import Ledger
from mooring.db.options import PoolOptions
from mooring.db.url import parse_url
from mooring.errors import PoolBusy, PoolError


class OwnedLock:
    """A lock that knows who holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.owner: int | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        taken = self._lock.acquire(blocking, timeout)
        if taken:
            self.owner = threading.get_ident()
        return taken

    def release(self) -> None:
        self.owner = None
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()

    def is_mine(self) -> bool:
        return self.owner == threading.get_ident()


class GuardedCounter(Counter[str]):
    """Counters that change only under the mutex."""

    mutex: OwnedLock

    def __setitem__(self, key: str, value: int) -> None:
        assert self.mutex.is_mine(), f"{key} changed without the mutex"
        super().__setitem__(key, value)


class GuardedLedger(Ledger):
    """Books that are written only under the mutex."""

    def __setattr__(self, name: str, value: object) -> None:
        mutex = self.__dict__.get("mutex")
        if isinstance(mutex, OwnedLock):
            assert mutex.is_mine(), f"{name} changed without the mutex"
        super().__setattr__(name, value)


class StrictDriver(FakeDriver):
    """Refuses work under the pool's mutex, and a connection that two have."""

    mutex: OwnedLock

    def connect(self, *, read_timeout: float | None = None) -> FakeConnection:
        assert not self.mutex.is_mine(), "I/O under the mutex"
        return super().connect(read_timeout=read_timeout)

    def close(self, connection: FakeConnection) -> None:
        assert not self.mutex.is_mine(), "I/O under the mutex"
        super().close(connection)

    def ping(self, connection: FakeConnection) -> None:
        assert not self.mutex.is_mine(), "I/O under the mutex"
        assert not connection.closed, "a closed connection was asked"
        super().ping(connection)

    def reset(self, connection: FakeConnection) -> bool:
        assert not self.mutex.is_mine(), "I/O under the mutex"
        return super().reset(connection)


def strict_pool(driver: StrictDriver, clock: Clock) -> ConnectionPool:
    """A pool whose books watch over themselves."""
    options = PoolOptions(
        name="strict",
        min_size=1,
        max_size=3,
        max_waiting=4,
        max_lifetime=100,
        max_idle=20,
        keepalive_interval=10,
        ping_after=5,
        fail_fast_after=1e6,
    )
    pool = ConnectionPool(parse_url("sqlite:///fake.db"), driver, options, clock=clock)
    ledger, mutex = pool._ledger, OwnedLock()
    counters = GuardedCounter(ledger.counters)
    counters.mutex = driver.mutex = mutex
    ledger.counters = counters
    ledger.drained = threading.Condition(mutex)  # type: ignore[arg-type]
    ledger.mutex = mutex  # type: ignore[assignment]
    ledger.__class__ = GuardedLedger
    pool._has_housekeeper = True  # its looks are rules of the machine
    return pool


class PoolMachine(RuleBasedStateMachine):
    """Callers with patience beyond the run are threads; everything else happens in this one."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = ThreadPoolExecutor(8)
        self.waiting: list[Future[Lease]] = []
        self.lent: list[Lease] = []
        self.lost = 0

    @initialize(inline=st.booleans())
    def build(self, inline: bool) -> None:
        self.clock = Clock()
        self.driver = StrictDriver(inline=inline)
        self.pool = strict_pool(self.driver, self.clock)
        self.ledger = self.pool._ledger

    def teardown(self) -> None:
        self.driver.down = None
        for lease in self.lent:
            lease.close()
        self.pool.close(timeout=0.0)
        self.executor.shutdown()
        for future in self.waiting:
            if future.exception() is None:
                future.result().close()
        self.pool._opening.join(10.0)
        assert not self.driver.open_connections()
        assert self.ledger.total_locked() == 0

    def settle(self) -> None:
        """Until nothing moves by itself any more, and whoever has been served is noted."""
        wait_until(self.is_still)
        for future in [future for future in self.waiting if future.done()]:
            self.waiting.remove(future)
            if future.exception() is None:
                self.lent.append(future.result())
            else:
                assert isinstance(future.exception(), PoolError)

    def is_still(self) -> bool:
        with self.ledger.mutex:
            connecting = self.ledger.opening and not self.ledger.health.is_down
            unseen = len(self.ledger.waiters) != sum(not future.done() for future in self.waiting)
            return not connecting and not unseen

    @rule()
    def borrow(self) -> None:
        stats = self.pool.stats()
        future = self.executor.submit(self.pool.get_connection, 300)
        self.waiting.append(future)
        wait_until(lambda: future.done() or self.pool.stats().waiting > stats.waiting or not stats.idle)
        self.settle()
        if future.done() and isinstance(future.exception(), PoolBusy):
            assert stats.waiting == 4

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), fate=st.sampled_from(["good", "good", "broken", "dead"]))
    def give_back(self, data: st.DataObject, fate: str) -> None:
        lease = self.lent.pop(data.draw(st.integers(0, len(self.lent) - 1)))
        lease.broken = fate == "broken"
        lease.raw.alive = fate != "dead"
        self.pool.return_connection(lease)
        self.settle()

    @precondition(lambda self: self.driver.open_connections())
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        alive = self.driver.open_connections()
        alive[data.draw(st.integers(0, len(alive) - 1))].alive = False

    @rule()
    def database_goes(self) -> None:
        self.driver.down = Refused("away")

    @rule()
    def database_comes(self) -> None:
        self.driver.down = None
        wait_until(lambda: not (self.ledger.waiters and self.ledger.health.is_down) or self.ledger.inline)
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 6.0, 11.0, 21.0, 101.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def housekeeper_looks(self) -> None:
        self.pool._housekeeper.look()
        self.settle()

    @rule()
    def evict(self) -> None:
        self.pool.evict()
        self.settle()

    @rule(size=st.integers(1, 4))
    def resize(self, size: int) -> None:
        self.pool.resize(1, size)
        self.settle()

    @rule()
    def pause(self) -> None:
        self.pool.pause()

    @rule()
    def resume(self) -> None:
        self.pool.resume()
        self.settle()

    @invariant()
    def the_books_are_true(self) -> None:
        if not hasattr(self, "pool"):
            return
        stats = self.pool.stats()
        held = [lease.raw for lease in self.lent]
        idle = [slot.connection for slot in self.ledger.idle]
        assert stats.active == len(held) == len(self.ledger.leases)
        assert len({id(connection) for connection in [*held, *idle]}) == len(held) + len(idle)
        assert {id(c) for c in self.driver.open_connections()} == {id(c) for c in [*held, *idle]}
        assert stats.opened - stats.closed == stats.idle + stats.active
        assert stats.closed == sum(
            (stats.dead, stats.broken, stats.expired, stats.evicted, stats.surplus, stats.unused, stats.shutdown)
        )
        assert stats.waited == stats.wait.total
        assert not (stats.idle and stats.waiting) or stats.state == "paused"
        # Whoever waits is served by somebody who holds or opens a connection.
        assert not stats.waiting or stats.active or stats.opening or stats.state == "paused"


PoolMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_random_sequences_of_events_keep_the_pool_true = PoolMachine.TestCase


def test_the_watchers_of_the_machine_can_fail() -> None:
    driver = StrictDriver(inline=True)
    pool = strict_pool(driver, Clock())
    with pytest.raises(AssertionError, match="active changed without the mutex"):
        pool._ledger.active = 1
    with pytest.raises(AssertionError, match="opened changed without the mutex"):
        pool._ledger.counters["opened"] += 1
    with pool._ledger.mutex, pytest.raises(AssertionError, match="I/O under the mutex"):
        driver.connect()
    pool.close()
