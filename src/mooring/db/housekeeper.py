"""The thread that looks after a pool's idle connections while nobody uses them."""

from __future__ import annotations

import random
import threading
import weakref
from typing import Final

from .events import Events
from .ledger import OPEN, Ledger
from .lending import Lending
from .opening import Opening
from .slot import Slot

LONGEST_INTERVAL: Final = 30.0
SHORTEST_INTERVAL: Final = 0.05


class Housekeeper:
    """Closes what is dead, expired or idle for too long, keeps the rest alive, refills, reports leaks.

    ``_thread`` is guarded by the ledger's mutex. The thread starts with the first connection; it holds the
    housekeeper only while it works, so that a forgotten pool can go.
    """

    def __init__(self, ledger: Ledger, lending: Lending, opening: Opening, events: Events) -> None:
        self._ledger = ledger
        self._lending = lending
        self._opening = opening
        self._events = events
        self.renew()

    def renew(self) -> None:
        """Begin without a thread; also in a forked child."""
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Start the thread, if it does not run."""
        with self._ledger.mutex:
            if self._thread is not None or self._stopped:
                return
            name = f"{self._ledger.label}-housekeeper"
            thread = threading.Thread(target=_run, args=(weakref.ref(self), self._woken), name=name, daemon=True)
            self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: the next loan tries again
            with self._ledger.mutex:
                self._thread = None

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def stop(self, timeout: float) -> None:
        """End the thread, and wait for it."""
        with self._ledger.mutex:
            self._stopped = True
            thread = self._thread
        self._woken.set()
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def interval(self) -> float:
        """Seconds until the next look: an eighth of the shortest time that matters, at most 30."""
        ledger, options = self._ledger, self._ledger.options
        with ledger.mutex:
            times = (ledger.max_idle, ledger.keepalive_interval, options.leak_after, options.max_lifetime)
        return min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, min(times) / 8))

    def look(self) -> bool:
        """Do all that is due; False if the thread shall end."""
        with self._ledger.mutex:
            if self._stopped:
                return False
            is_open = self._ledger.state is OPEN
        self._lending.report_leaks()
        if is_open:
            self._lending.sweep()
            self._close_old()
            self._keep_alive()
            self._refill()
        return True

    def _close_old(self) -> None:
        self._lending.change(Ledger.expired_locked, "expired")
        self._lending.change(Ledger.surplus_locked, "surplus")
        self._lending.change(Ledger.unused_locked, "unused")

    def _keep_alive(self) -> None:
        """Ask what nobody has asked for long; the jitter keeps them from all being asked at once."""
        with self._ledger.mutex:
            known = list(self._ledger.idle)
        for slot in known:
            if self._reserve(slot) and self._lending.check(slot):
                self._lending.give_away(slot)

    def _reserve(self, slot: Slot) -> bool:
        """Take a connection out of the idle ones if it is to be asked."""
        ledger = self._ledger
        with ledger.mutex:
            age = ledger.clock() - slot.checked_at
            due = slot in ledger.idle and age >= ledger.keepalive_interval * random.uniform(0.9, 1.0)
            if due:
                ledger.idle.remove(slot)
                ledger.active += 1
                slot.fresh_until = 0.0  # asked even if a loan would not ask yet
        return due

    def _refill(self) -> None:
        with self._ledger.mutex:
            # Nobody waits beside an idle connection; should it ever be otherwise, it is not so for long.
            count = self._ledger.serve_idle_locked() + self._ledger.refill_locked()
        self._opening.start(count)


def _run(ref: weakref.ref[Housekeeper], woken: threading.Event) -> None:
    while True:
        housekeeper = ref()
        if housekeeper is None:
            return
        interval = housekeeper.interval()
        del housekeeper
        woken.wait(interval)
        woken.clear()
        housekeeper = ref()
        if housekeeper is None or not housekeeper.look():
            return
        del housekeeper
