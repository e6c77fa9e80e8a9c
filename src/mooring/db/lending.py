"""Lending beyond the quick way: waiting, checking, passing on, closing."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import PoolTimeout
from .driver import Driver
from .events import Events, PoolEventKind
from .lease import CUT_OFF, Lease
from .ledger import EVICTION_INTERVAL, Ledger, PoolState
from .opening import Opening
from .slot import Slot, Waiter, find_dead


class Lending:
    """The ways of a connection between borrowers; it has no state of its own."""

    def __init__(self, driver: Driver, ledger: Ledger, opening: Opening, events: Events) -> None:
        self._driver = driver
        self._ledger = ledger
        self._opening = opening
        self._events = events

    # ------------------------------------------------------------------------------------------------ borrowing

    def obtain(self, lease: Lease, deadline: float) -> Slot | None:
        """A connection that works, in the hands of this thread; waits for it until ``deadline``.

        Returns:
            None if it has been lent to ``lease`` already, by the thread that returned or opened it.

        Raises:
            PoolTimeout, PoolBusy, PoolUnavailable, PoolClosed.
        """
        while True:
            slot = self._take(lease, deadline)
            if slot is None:
                return None
            if not slot.is_open:
                self._opening.open_here(slot)
                return slot
            if self.check(slot):
                return slot

    def _take(self, lease: Lease, deadline: float) -> Slot | None:
        """An idle connection or a permit to open one, at once or after waiting for it; None as for ``obtain``."""
        ledger = self._ledger
        with ledger.mutex:
            ledger.refuse_closed_locked()
            slot = ledger.take_locked()
            if slot is not None:
                return slot
            ledger.refuse_locked()
            waiter = Waiter(lease, deadline, ledger.clock())
            ledger.queue_locked(waiter)
            count = ledger.spread_locked()
            is_down = ledger.health.is_down
            nested = self._nested_locked(lease)
        if nested is not None:
            self._events.tell(
                PoolEventKind.NESTED,
                f"a thread waits for a second connection at {lease.place}, and the pool has none left: {nested.holder} "
                "holds the first one; if all threads do so they wait for each other. Return the first one before, or "
                "raise max_size",
            )
        if is_down:
            self._opening.hurry()
        self._opening.start(count)
        if ledger.inline:
            self.report_leaks()  # there is no housekeeper
        return self._wait(waiter)

    def _nested_locked(self, wanted: Lease) -> Lease | None:
        ledger = self._ledger
        if ledger.nesting_was_told or ledger.total_locked() < ledger.max_size:
            return None
        for lease in ledger.leases:
            if lease.thread is wanted.thread:
                ledger.nesting_was_told = True
                return lease
        return None

    def _wait(self, waiter: Waiter) -> Slot | None:
        ledger = self._ledger
        try:
            is_settled = waiter.baton.acquire(timeout=min(max(0.0, waiter.deadline - ledger.clock()), 1e6))
        except BaseException:
            self._forsake(waiter)
            raise
        if not is_settled:
            with ledger.mutex:
                ledger.expire_locked(waiter)
        slot = waiter.slot
        if slot is None:
            raise waiter.error or self._timeout_error(waiter)
        if not slot.is_open:
            return slot
        if slot.checked_at >= waiter.started:
            return None  # it has worked since this caller began to wait
        with ledger.mutex:
            ledger.unlend_locked(waiter.lease)
        return slot

    def _forsake(self, waiter: Waiter) -> None:
        """The waiting thread was interrupted: what it may have been given goes to the next one."""
        ledger = self._ledger
        with ledger.mutex:
            ledger.expire_locked(waiter)
            slot = waiter.slot
            if slot is not None and slot.is_open:
                ledger.unlend_locked(waiter.lease)
            elif slot is not None:
                ledger.opening -= 1
            count = ledger.spread_locked()
        self._opening.start(count)
        if slot is not None and slot.is_open:
            self.give_away(slot)

    def _timeout_error(self, waiter: Waiter) -> Exception:
        with self._ledger.mutex:
            return self._timeout_error_locked(waiter)

    def _timeout_error_locked(self, waiter: Waiter) -> Exception:
        ledger = self._ledger
        ledger.counters["timeouts"] += 1
        if ledger.health.is_down and not ledger.active:
            return ledger.unavailable_locked()
        now = ledger.clock()
        oldest = sorted(ledger.leases, key=lambda lease: lease.since)[:3]
        holders = ", ".join(f"{lease.holder} for {now - lease.since:.1f} s" for lease in oldest)
        error = PoolTimeout(
            f"{ledger.label}: no connection became free in {now - waiter.started:.1f} s; {ledger.counts_locked()}"
            + (f"; held longest by {holders}" if holders else "")
            + (f"; connecting failed: {ledger.health.detail}" if ledger.health.is_down else "")
        )
        error.__cause__ = ledger.health.error if ledger.health.is_down else None
        return error

    def interrupted(self, lease: Lease) -> None:
        """A thread was interrupted while it borrowed: the connection must not be lost to the pool."""
        ledger = self._ledger
        with ledger.mutex:
            is_lent = lease in ledger.leases
            ledger.leases.discard(lease)
            lease.live = False
        if is_lent:
            self.drop(lease._slot, "broken")

    # ----------------------------------------------------------------------------------------------- validation

    def check(self, slot: Slot) -> bool:
        """Whether an active connection can be lent; if not it is closed, and so are all others that died with it."""
        try:
            fault = self._fault(slot)
        except BaseException:
            self.drop(slot, "broken")
            raise
        if fault is not None:
            self.drop(slot, fault)
        if fault == "dead":
            self.sweep(suspicious=True)
        return fault is None

    def _fault(self, slot: Slot) -> str | None:
        """What is wrong with a connection; the questions are asked in the order of their price."""
        ledger = self._ledger
        with ledger.mutex:
            reason = ledger.reason_against_locked(slot)
        if reason is not None:
            return reason
        if slot.looks_dead():
            return "dead"
        if ledger.clock() <= slot.fresh_until:
            return None
        return None if self.ping(slot) else "dead"

    def ping(self, slot: Slot) -> bool:
        """Ask the database, in one round trip."""
        ledger = self._ledger
        with ledger.mutex:
            ledger.counters["pings"] += 1
        try:
            self._driver.ping(slot.connection)
        except Exception:  # noqa: BLE001 - whatever the driver raises, it does not work
            with ledger.mutex:
                ledger.counters["ping_failures"] += 1
            return False
        slot.prove(ledger.clock(), ledger.options.ping_after)
        return True

    def sweep(self, *, suspicious: bool = False) -> None:
        """Look at all idle connections, and close those that the server has closed.

        Args:
            suspicious: have those that look alive asked before they are lent, however fresh they are.
        """
        ledger = self._ledger
        with ledger.mutex:
            if suspicious:
                ledger.suspect_locked()
            watched = [(slot, slot.checked_at) for slot in ledger.idle]
        found = find_dead([slot for slot, _ in watched])
        checked = dict(watched)
        with ledger.mutex:
            # One that was lent meanwhile was readable because of an answer.
            dead = [slot for slot in found if slot in ledger.idle and slot.checked_at == checked[slot]]
            for slot in dead:
                ledger.idle.remove(slot)
            if dead:
                ledger.suspect_locked()
        self.close_all(dead, "dead")

    # ----------------------------------------------------------------------------------------------- passing on

    def give_away(self, slot: Slot) -> None:
        """Take a connection off the active ones: to the next waiter, to the idle ones, or closed."""
        ledger = self._ledger
        with ledger.mutex:
            reason = ledger.reason_against_locked(slot)
            unused = []
            if reason is None:
                ledger.active -= 1
                ledger.offer_locked(slot)
                if ledger.inline:
                    unused = ledger.unused_locked()
        if reason is not None:
            self.drop(slot, reason)
        self.close_all(unused, "unused")

    def drop(self, slot: Slot, reason: str) -> None:
        """Close an active connection, and let its place be used."""
        ledger = self._ledger
        try:
            self._driver.close(slot.connection)
        finally:
            with ledger.mutex:
                ledger.active -= 1
                ledger.counters["closed"] += 1
                ledger.counters[reason] += 1
                count = ledger.spread_locked()
                ledger.drained.notify_all()
            self._opening.start(count)
        self._events.tell(PoolEventKind.CLOSED, f"closed a connection: {reason}")

    def close_all(self, slots: list[Slot], reason: str) -> None:
        """Close connections that are on no list any more, and let their places be used."""
        if not slots:
            return
        ledger = self._ledger
        for slot in slots:
            self._driver.close(slot.connection)
        with ledger.mutex:
            ledger.counters["closed"] += len(slots)
            ledger.counters[reason] += len(slots)
            count = ledger.spread_locked()
        self._opening.start(count)
        self._events.tell(PoolEventKind.CLOSED, f"closed {len(slots)} connections: {reason}")

    # --------------------------------------------------------------------------------- what concerns all of them

    def change(self, act: Callable[[Ledger], list[Slot]], reason: str) -> None:
        """Let ``act`` change the ledger and take idle connections out, which are closed; then use free places."""
        ledger = self._ledger
        with ledger.mutex:
            slots = act(ledger)
            count = ledger.spread_locked()
        self._opening.start(count)
        self.close_all(slots, reason)

    def evict(self, why: str) -> None:
        """Let no connection of now be lent again: idle ones are closed now, lent ones when they come back."""
        self.change(Ledger.evict_locked, "evicted")
        self._events.tell(PoolEventKind.EVICTED, why)

    def lost_writer(self, slot: Slot, exc: BaseException) -> None:
        """A connection says that its server takes no writes: none of its age is used again.

        A server that stays read-only would have the pool connect all the time, so at most once in 5 s.
        """
        ledger = self._ledger
        with ledger.mutex:
            now = ledger.clock()
            is_news = slot.generation == ledger.generation and now - ledger.evicted_at >= EVICTION_INTERVAL
        if is_news:
            self.evict(f"the server takes no writes; all connections are replaced: {exc}")

    def report_leaks(self) -> None:
        """Name those who have held a connection for longer than ``leak_after``, once each."""
        ledger, patience = self._ledger, self._ledger.options.leak_after
        if patience == math.inf:
            return
        with ledger.mutex:
            now = ledger.clock()
            late = [lease for lease in ledger.leases if not lease.reported and now - lease.since >= patience]
            for lease in late:
                lease.reported = True
            ledger.counters["leaks"] += len(late)
        for lease in late:
            self._events.tell(
                PoolEventKind.LEAKED,
                f"{lease.holder} has held a connection for {now - lease.since:.1f} s and not returned it",
            )

    def note_return(self, lease: Lease) -> None:
        """A lease that had been reported has come back."""
        held = self._ledger.clock() - lease.since
        self._events.tell(PoolEventKind.RETURNED, f"{lease.holder} has returned its connection after {held:.1f} s")

    def cut_off(self, lease: Lease) -> None:
        """The pool is closed, and this lease was not returned in time: end what it waits for."""
        held = self._ledger.clock() - lease.since
        with self._ledger.mutex:
            if not lease.live:
                return
            lease.refusal = CUT_OFF
        self._events.tell(
            PoolEventKind.LEAKED, f"closed, but {lease.holder} has held a connection for {held:.1f} s; it is cut off"
        )
        self._driver.abort(lease._slot.connection)

    def close(self, deadline: float) -> None:
        """Close all that is idle, wait for what is lent, cut off what is not returned in time."""
        ledger = self._ledger
        with ledger.mutex:
            ledger.state = PoolState.CLOSING
            ledger.fail_waiters_locked(ledger.closed_error)
            idle = list(ledger.idle)
            ledger.idle.clear()
        self._opening.stop()
        self.close_all(idle, "shutdown")
        with ledger.mutex:
            ledger.drained.wait_for(lambda: not ledger.active, max(0.0, deadline - ledger.clock()))
            ledger.state = PoolState.CLOSED
            kept = list(ledger.leases)
        for lease in kept:
            self.cut_off(lease)
        self._opening.join(max(0.0, deadline - ledger.clock()))

    # -------------------------------------------------------------------------------------------- in a child

    def abandon(self, slots: list[Slot]) -> None:
        """In a forked child: let go of the parent's connections."""
        for slot in slots:
            self._driver.abandon(slot.connection)
