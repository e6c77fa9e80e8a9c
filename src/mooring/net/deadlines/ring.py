"""The deadline ring: who has to be looked at when, without work per message.

Activity only stores a time on its connection. The ring holds each connection once, in the slot of the earliest
moment at which one of its deadlines can be due; when the slot comes up, the owner looks at the connection, acts, or
puts it into a later slot. A deadline that moved closer puts the connection into an earlier slot, and the stale entry
is passed over. So a message costs nothing here, and a quiet connection one look per interval. (mosquitto's
keepalive ring and the measurements in its comments showed the way: scanning all connections does not scale.)
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, Protocol, TypeVar

TICK = 0.05
"""Seconds: deadlines are kept, never early, to this precision."""

COARSE = 10
"""Far deadlines are rounded up to so many ticks, which makes one wake-up serve more connections."""

FAR = 100
"""Ticks from which on a deadline is far."""

LONGEST_LOOK = 40.0
"""Seconds: no look is planned further ahead. Long enough for a heartbeat every 30 s to need one look each."""


class HasTick(Protocol):
    """What the ring needs of its entries: a place to remember their slot (0: in none)."""

    _tick: int


Entry = TypeVar("Entry", bound=HasTick)


class Slot(Generic[Entry]):
    """The entries of one tick. They all remember the same number object: an int of its own would cost each 32 bytes.

    ``forgotten`` of them are gone; when most are, the list is made anew without them.
    """

    __slots__ = ("entries", "forgotten", "tick")

    def __init__(self, tick: int, entry: Entry) -> None:
        self.tick = tick
        self.entries = [entry]
        self.forgotten = 0

    def forget(self) -> None:
        """One more is gone: it is in another slot, or in none."""
        self.forgotten += 1
        if 2 * self.forgotten > len(self.entries):
            self.entries = [entry for entry in self.entries if entry._tick == self.tick]
            self.forgotten = 0


class DeadlineRing(Generic[Entry]):
    """A sparse ring of slots. Used by one thread at a time."""

    def __init__(self) -> None:
        self._slots: dict[int, Slot[Entry]] = {}
        self._order: list[int] = []
        self.next_look = math.inf
        """When the next slot comes, in seconds on the monotonic clock; infinity if all are empty."""

    def arm(self, entry: Entry, when: float, now: float) -> None:
        """See to it that ``entry`` is looked at by ``when``; an earlier look that is planned serves as well.

        Args:
            entry: what is to be looked at.
            when: seconds on the monotonic clock.
            now: seconds on the monotonic clock.
        """
        tick = math.ceil(min(when, now + LONGEST_LOOK) / TICK)
        if tick - now / TICK > FAR:
            tick = -(-tick // COARSE) * COARSE
        planned = entry._tick
        if planned and planned <= tick:
            return
        if planned:
            self.forget(entry)
        slot = self._slots.get(tick)
        if slot is None:
            self._slots[tick] = Slot(tick, entry)
            heapq.heappush(self._order, tick)
            self.next_look = self._order[0] * TICK
        else:
            slot.entries.append(entry)
            tick = slot.tick
        entry._tick = tick

    def forget(self, entry: Entry) -> None:
        """Plan no look at the entry any more; at most as many that are gone are remembered as such that are not."""
        slot = self._slots.get(entry._tick)
        entry._tick = 0
        if slot is not None:
            slot.forget()

    def due(self, now: float, most: int | None = None) -> list[Entry]:
        """Take out and return the entries whose slot has come.

        Args:
            now: seconds on the monotonic clock.
            most: how many at a time; the others are as due the next time. None: all.
        """
        found: list[Entry] = []
        current = math.floor(now / TICK)
        while self._order and self._order[0] <= current:
            tick = self._order[0]
            slot = self._slots[tick]
            while slot.entries and len(found) != most:
                count = len(slot.entries) if most is None else most - len(found)
                taken, slot.entries = slot.entries[:count], slot.entries[count:]
                for entry in taken:
                    if entry._tick == tick:
                        entry._tick = 0
                        found.append(entry)
            if slot.entries:
                break
            del self._slots[tick]
            heapq.heappop(self._order)
        self.next_look = self._order[0] * TICK if self._order else math.inf
        return found
