"""The books of the pool: random sequences of events keep what must always be true."""

from __future__ import annotations

from collections import deque
from typing import Any

from clock import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mooring.db.lease import Lease
from mooring.db.ledger import Ledger, PoolState
from mooring.db.options import PoolOptions
from mooring.db.slot import Slot, Waiter, WaiterState
from mooring.errors import PoolBusy


def blank_lease() -> Lease:
    """What a caller brings along; who its pool and its driver are does not matter to the books."""
    nobody: Any = None
    return Lease(nobody, nobody, 0.0, blank_lease.__code__, 0)


class Books(RuleBasedStateMachine):
    """One thread plays all callers and openers, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.ledger = Ledger(PoolOptions(min_size=1, max_size=3, max_waiting=5, max_idle=8), self.clock, False, "books")
        self.lent: list[Slot] = []
        self.queue: deque[Waiter] = deque()
        self.openers = 0

    def collect(self) -> None:
        """Let the callers who were given something take it, in order."""
        for waiter in [waiter for waiter in self.queue if waiter.state is not WaiterState.WAITING]:
            assert waiter.state is not WaiterState.GIVEN or all(
                older.state is not WaiterState.WAITING for older in self.queue if older.started < waiter.started
            ), "overtaken"
            self.queue.remove(waiter)
            if waiter.slot is not None:
                self.lent.append(waiter.slot)

    @rule(patience=st.floats(0.5, 20))
    def ask(self, patience: float) -> None:
        with self.ledger.mutex:
            slot = self.ledger.take_locked()
            if slot is not None:
                self.lent.append(slot)
                return
            self.clock.advance(0.001)
            waiter = Waiter(blank_lease(), self.clock() + patience, self.clock())
            try:
                self.ledger.queue_locked(waiter)
            except PoolBusy:
                assert len(self.ledger.waiters) == 5
                return
            self.queue.append(waiter)
            self.openers += self.ledger.spread_locked()

    @precondition(lambda self: self.openers)
    @rule()
    def connected(self) -> None:
        with self.ledger.mutex:
            self.openers -= 1
            self.ledger.opening -= 1
            self.ledger.health.note_success()
            slot = Slot(self.ledger.generation)
            slot.adopt(object(), None, now=self.clock(), lifetime=100)
            if self.ledger.reason_against_locked(slot) is None:
                self.ledger.offer_locked(slot)
            self.openers += self.ledger.spread_locked()
        self.collect()

    @precondition(lambda self: self.openers)
    @rule(fatal=st.booleans())
    def refused(self, fatal: bool) -> None:
        with self.ledger.mutex:
            self.ledger.connect_failed_locked(self.clock(), OSError("away"), "away", fatal=fatal)
            if fatal or self.ledger.opening > 1 or self.ledger.state is not PoolState.OPEN:
                self.openers -= 1
                self.ledger.opening -= 1
        self.collect()

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), broken=st.booleans())
    def give_back(self, data: st.DataObject, broken: bool) -> None:
        slot = self.lent.pop(data.draw(st.integers(0, len(self.lent) - 1)))
        with self.ledger.mutex:
            slot.idle_since = slot.checked_at = self.ledger.last_good = self.clock()
            good = not broken and self.ledger.reason_against_locked(slot) is None
            self.ledger.active -= 1
            if good:
                self.ledger.offer_locked(slot)
            self.openers += self.ledger.spread_locked()
        self.collect()

    @rule(seconds=st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        with self.ledger.mutex:
            for waiter in [waiter for waiter in self.ledger.waiters if waiter.deadline <= self.clock()]:
                self.ledger.expire_locked(waiter)
        self.collect()

    @rule(size=st.integers(1, 4))
    def resize(self, size: int) -> None:
        with self.ledger.mutex:
            self.ledger.max_size = size
            self.ledger.surplus_locked()
            self.openers += self.ledger.spread_locked()

    @precondition(lambda self: self.ledger.idle)
    @rule(data=st.data(), alive=st.booleans())
    def ask_in_the_background(self, data: st.DataObject, alive: bool) -> None:
        with self.ledger.mutex:
            slot = self.ledger.idle[data.draw(st.integers(0, len(self.ledger.idle) - 1))]
            self.ledger.idle.remove(slot)
            slot.checked_at = self.clock()
            if alive:
                self.ledger.offer_locked(slot)
            self.openers += self.ledger.spread_locked()
        self.collect()

    @rule()
    def pause(self) -> None:
        with self.ledger.mutex:
            self.ledger.state = PoolState.PAUSED

    @rule()
    def resume(self) -> None:
        with self.ledger.mutex:
            self.ledger.state = PoolState.OPEN
            self.openers += self.ledger.serve_idle_locked()
        self.collect()

    @rule()
    def evict(self) -> None:
        with self.ledger.mutex:
            self.ledger.evict_locked()
            self.openers += self.ledger.spread_locked()

    @rule()
    def tidy(self) -> None:
        with self.ledger.mutex:
            self.ledger.expired_locked()
            self.ledger.surplus_locked()
            self.ledger.unused_locked()
            self.openers += self.ledger.spread_locked()
            self.openers += self.ledger.refill_locked()

    @invariant()
    def the_counts_are_true(self) -> None:
        assert self.ledger.active == len(self.lent)
        assert self.ledger.opening == self.openers
        assert self.ledger.total_locked() == len(self.lent) + self.openers + len(self.ledger.idle)
        assert list(self.queue) == list(self.ledger.waiters)
        assert len({id(slot) for slot in [*self.lent, *self.ledger.idle]}) == len(self.lent) + len(self.ledger.idle)

    @invariant()
    def nobody_waits_beside_an_idle_connection(self) -> None:
        assert not (self.ledger.idle and self.ledger.waiters) or self.ledger.state is PoolState.PAUSED

    @invariant()
    def whoever_waits_will_be_served(self) -> None:
        """Vitess lost wake-ups: a waiter starved beside a connection that nobody had."""
        served = self.ledger.active or self.ledger.opening or self.ledger.state is PoolState.PAUSED
        assert not self.ledger.waiters or served

    @invariant()
    def what_is_idle_is_of_this_generation_and_in_order(self) -> None:
        ages = [slot.idle_since for slot in self.ledger.idle]
        assert ages == sorted(ages)
        assert {slot.generation for slot in self.ledger.idle} <= {self.ledger.generation}


Books.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_random_sequences_of_events_keep_the_books_true = Books.TestCase
