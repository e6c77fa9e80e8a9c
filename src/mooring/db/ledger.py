"""The pool's books: who has a connection, who waits for one, and how many there are. No I/O happens here."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from ..errors import PoolBusy, PoolClosed, PoolUnavailable
from .durations import DurationCounter, class_of
from .health import Health
from .options import PoolOptions
from .slot import Slot, Waiter, WaiterState
from .stats import PoolStats

if TYPE_CHECKING:
    from .lease import Lease

OPENERS: Final = 2
EVICTION_INTERVAL: Final = 5.0
_COUNTERS: Final = (
    *("waited", "timeouts", "rejected", "busy", "opened", "open_failures", "closed", "dead", "broken"),
    *("expired", "evicted", "surplus", "unused", "shutdown", "pings", "ping_failures", "leaks", "retries"),
)


class PoolState(Enum):
    """OPEN <-> PAUSED, either -> CLOSING -> CLOSED; an unused pool is OPEN without connections."""

    OPEN = "open"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"


# A member of an Enum takes longer to look up than a lock takes to be had.
OPEN: Final = PoolState.OPEN


@dataclass
class Ledger:
    """State of a pool. Every field but ``options``, ``clock``, ``inline`` and ``label`` is guarded by ``mutex``.

    Always true while nobody holds the mutex:

    - total = idle + active + opening, at most ``max_size`` (except for a while after a resize to less);
    - idle connections and live waiters never exist at the same time, except while the pool is paused;
    - idle connections are of the present generation, and ordered by how long they have been idle;
    - a waiter of an open pool exists only while somebody holds or opens a connection, who will serve it.

    Args:
        inline: callers open connections themselves: a waiter may be given an empty slot as a permit to do so.
        max_idle, keepalive_interval: those of the options, or less where the server closes idle connections earlier.
        last_good: when a connection was last returned in a good state.
        shrinks_at: when a return shall look for idle connections to close; never, where a housekeeper does.
    """

    options: PoolOptions
    clock: Callable[[], float]
    inline: bool
    label: str
    min_size: int = 0
    max_size: int = 1
    max_idle: float = math.inf
    keepalive_interval: float = math.inf
    mutex: threading.Lock = field(default_factory=threading.Lock)
    state: PoolState = PoolState.OPEN
    idle: deque[Slot] = field(default_factory=deque)
    waiters: deque[Waiter] = field(default_factory=deque)
    leases: set[Lease] = field(default_factory=set)
    active: int = 0
    opening: int = 0
    generation: int = 0
    evicted_at: float = -math.inf
    last_good: float = -math.inf
    shrinks_at: float = math.inf
    health: Health = field(default_factory=Health)
    acquired: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    wait: DurationCounter = field(default_factory=DurationCounter)
    wait_seconds: float = 0.0
    usage: DurationCounter = field(default_factory=DurationCounter)
    connect: DurationCounter = field(default_factory=DurationCounter)
    nesting_was_told: bool = False

    def __post_init__(self) -> None:
        self.min_size, self.max_size = self.options.min_size, self.options.max_size
        self.max_idle, self.keepalive_interval = self.options.max_idle, self.options.keepalive_interval
        self.drained = threading.Condition(self.mutex)
        if self.inline:
            self.shrinks_at = -math.inf

    def forget(self) -> list[Slot]:
        """In a forked child: begin anew, without what belongs to the parent; returns its connections.

        No other thread exists, and the mutex may be held by one that did: it is replaced.
        """
        self.mutex = threading.Lock()
        self.drained = threading.Condition(self.mutex)
        slots = [*self.idle, *(lease._slot for lease in self.leases)]
        self.idle, self.waiters, self.leases = deque(), deque(), set()
        self.active = self.opening = 0
        self.generation += 1
        self.health = Health()
        return slots

    def total_locked(self) -> int:
        """Connections that exist or are being opened."""
        return len(self.idle) + self.active + self.opening

    def counts_locked(self) -> str:
        """The sizes, for messages."""
        return (
            f"{self.total_locked()} connections of at most {self.max_size}: {self.active} active, "
            f"{len(self.idle)} idle, {self.opening} opening; {len(self.waiters)} callers waiting"
            + ("; the pool is paused" if self.state is PoolState.PAUSED else "")
        )

    # ---------------------------------------------------------------------------------------------- taking

    def take_locked(self) -> Slot | None:
        """An idle connection (the one used last), or a permit to open one here; None if the caller must wait."""
        if self.state is not OPEN:
            return None
        if self.idle:
            self.active += 1
            return self.idle.pop()
        if self.inline and not self.waiters and self.total_locked() < self.max_size:
            self.opening += 1
            return Slot()
        return None

    def refuse_locked(self) -> None:
        """Refuse callers that would wait in vain.

        Raises:
            PoolClosed, PoolUnavailable.
        """
        self.refuse_closed_locked()
        if self.health.is_down and self._fails_fast_locked():
            self.counters["rejected"] += 1
            raise self.unavailable_locked()

    def refuse_closed_locked(self) -> None:
        """Refuse everybody once the pool is closing.

        Raises:
            PoolClosed.
        """
        if self.state is not OPEN and self.state is not PoolState.PAUSED:
            raise self.closed_error()

    def queue_locked(self, waiter: Waiter) -> None:
        """Let a caller wait, behind all others.

        Raises:
            PoolBusy: as many wait already as may.
        """
        limit = self.options.max_waiting
        if limit is None:
            limit = 10 * self.max_size
        if len(self.waiters) >= limit:
            self.counters["rejected"] += 1
            self.counters["busy"] += 1
            raise PoolBusy(f"{self.label}: {limit} callers wait already (max_waiting); {self.counts_locked()}")
        self.waiters.append(waiter)

    def is_hopeless_locked(self) -> bool:
        """Whether the database has been away for ``fail_fast_after``, and no lent connection is known to work."""
        patience, now = self.options.fail_fast_after, self.clock()
        return self.health.down_for(now) >= patience and (not self.active or now - self.last_good >= patience)

    def _fails_fast_locked(self) -> bool:
        if not self.is_hopeless_locked():
            return False
        if not self.inline and not self.health.fatal:
            return self.opening > 0  # somebody tries all the time; this caller need not wait for the outcome
        return self.opening > 0 or self.clock() - self.health.last_attempt < self.health.trial_interval()

    # -------------------------------------------------------------------------------------------- hand-over

    def offer_locked(self, slot: Slot) -> None:
        """Give a connection that is counted nowhere to the caller who waits longest, else let it idle."""
        waiter = self.next_waiter_locked() if self.state is OPEN else None
        if waiter is None:
            self._lay_down_locked(slot)
        else:
            self.active += 1
            self.hand_over_locked(waiter, slot, self.clock())

    def hand_over_locked(self, waiter: Waiter, slot: Slot, now: float) -> None:
        """Lend an active connection to a caller who waits; all is written down before the caller wakes.

        So that between two users of a connection there is one section under the mutex, not three.
        """
        self.lend_locked(waiter.lease, slot, now)
        self.settle_locked(waiter, WaiterState.GIVEN, now, slot=slot)

    def settle_locked(
        self,
        waiter: Waiter,
        state: WaiterState,
        now: float,
        *,
        slot: Slot | None = None,
        error: Exception | None = None,
    ) -> None:
        """Wake a caller who is off the queue, and count how long it has waited, whatever came of it."""
        waited = now - waiter.started
        self.counters["waited"] += 1
        self.wait_seconds += waited
        self.wait.counts[class_of(waited)] += 1
        waiter.settle(state, slot, error)

    def expire_locked(self, waiter: Waiter) -> None:
        """The caller waits no longer, unless it has been given something by now."""
        if waiter.state is WaiterState.WAITING:
            self.waiters.remove(waiter)
            self.settle_locked(waiter, WaiterState.EXPIRED, self.clock())

    def lend_locked(self, lease: Lease, slot: Slot, now: float) -> None:
        """Write down that an active connection is lent."""
        lease._slot = slot
        lease.since = now
        self.acquired += 1
        self.leases.add(lease)

    def unlend_locked(self, lease: Lease) -> None:
        """The connection must be looked at before it is lent, or went to one who has given up: it was not lent."""
        self.acquired -= 1
        self.leases.discard(lease)

    def _lay_down_locked(self, slot: Slot) -> None:
        idle = self.idle
        # One that was asked in the background goes back to its place: it has not become more used by that.
        place = len(idle)
        while place and idle[place - 1].idle_since > slot.idle_since:
            place -= 1
        idle.insert(place, slot)

    def next_waiter_locked(self) -> Waiter | None:
        """Take the first waiter whose time is not over out of the queue."""
        now = self.clock()
        while self.waiters:
            waiter = self.waiters.popleft()
            if now < waiter.deadline:
                return waiter
            self.settle_locked(waiter, WaiterState.EXPIRED, now)
        return None

    def spread_locked(self) -> int:
        """Use free places for those who wait: give permits to open, or say how many opener threads to start."""
        if self.state is not OPEN:
            return 0
        if not self.inline:
            return self._openers_wanted_locked(len(self.waiters))
        while self.waiters and self.total_locked() < self.max_size:
            waiter = self.next_waiter_locked()
            if waiter is not None:
                self.opening += 1
                self.settle_locked(waiter, WaiterState.GIVEN, self.clock(), slot=Slot())
        return 0

    def refill_locked(self) -> int:
        """How many opener threads to start for the connections that are missing to ``min_size``."""
        if self.state is not OPEN or self.inline or self.health.is_down:
            return 0
        return self._openers_wanted_locked(self.min_size - self.total_locked() + self.opening)

    def _openers_wanted_locked(self, connections: int) -> int:
        free = self.max_size - self.total_locked()
        if free <= 0:
            return 0
        # While the database is away one thread tries, not several.
        limit = 1 if self.health.is_down else OPENERS
        wanted = min(connections, limit) - self.opening
        wanted = max(0, min(wanted, free))
        self.opening += wanted
        return wanted

    def serve_idle_locked(self) -> int:
        """After a pause: give what is idle to those who wait; returns how many opener threads to start."""
        while self.idle and self.waiters:
            self.offer_locked(self.idle.pop())
        return self.spread_locked()

    # ------------------------------------------------------------------------------------- taking out of use

    def surplus_locked(self) -> list[Slot]:
        """Take idle connections out that are too many; the coldest first."""
        surplus = []
        while self.idle and self.total_locked() > self.max_size:
            surplus.append(self.idle.popleft())
        return surplus

    def unused_locked(self) -> list[Slot]:
        """Take idle connections above ``min_size`` out that nobody has used for ``max_idle``; the coldest first."""
        unused = []
        now = self.clock()
        while self.idle and self.total_locked() > self.min_size and now - self.idle[0].idle_since > self.max_idle:
            unused.append(self.idle.popleft())
        if self.inline:
            self.shrinks_at = self.idle[0].idle_since + self.max_idle if self.idle else now + self.max_idle
        return unused

    def expired_locked(self) -> list[Slot]:
        """Take idle connections out that are past their lifetime."""
        now = self.clock()
        expired = [slot for slot in self.idle if now >= slot.expires_at]
        for slot in expired:
            self.idle.remove(slot)
        return expired

    def evict_locked(self) -> list[Slot]:
        """Begin a new generation; returns the idle connections of the old one."""
        self.generation += 1
        self.evicted_at = self.clock()
        idle = list(self.idle)
        self.idle.clear()
        return idle

    def suspect_locked(self) -> None:
        """Have all idle connections asked before they are lent."""
        for slot in self.idle:
            slot.fresh_until = -math.inf

    def reason_against_locked(self, slot: Slot) -> str | None:
        """Why a connection must not be used again, as far as the books know."""
        if slot.generation != self.generation:
            return "evicted"
        if self.clock() >= slot.expires_at:
            return "expired"
        if self.state is not OPEN and self.state is not PoolState.PAUSED:
            return "shutdown"
        return "surplus" if self.total_locked() > self.max_size else None

    # ----------------------------------------------------------------------------------------------- failing

    def connect_failed_locked(self, started: float, error: Exception, detail: str, *, fatal: bool) -> None:
        """Note a failed attempt, and fail those who wait if there is no hope for them."""
        self.health.note_failure(started, self.clock(), error, detail, fatal=fatal)
        self.counters["open_failures"] += 1
        if self.is_hopeless_locked() or (fatal and not self.active):
            self.fail_waiters_locked(self.unavailable_locked)

    def unavailable_locked(self) -> PoolUnavailable:
        """The error for callers while the database is away, with the driver's own as its cause."""
        exc = PoolUnavailable(f"{self.label}: {self.health.detail}")
        exc.__cause__ = self.health.error
        return exc

    def closed_error(self) -> PoolClosed:
        """The error for callers of a pool that is closed."""
        return PoolClosed(f"{self.label} is closed")

    def fail_waiters_locked(self, make_error: Callable[[], Exception]) -> None:
        """Wake all who wait, each with an error of its own."""
        while self.waiters:
            self.settle_locked(self.waiters.popleft(), WaiterState.FAILED, self.clock(), error=make_error())

    # ------------------------------------------------------------------------------------------------ numbers

    def lifetime(self) -> float:
        """The length of life of the next connection: shortened at random, so that not all end at once."""
        return self.options.max_lifetime * random.uniform(0.9, 1.0)

    def snapshot_locked(self) -> PoolStats:
        """The numbers of this moment."""
        return PoolStats(
            name=self.label,
            state=self.state.value,
            min_size=self.min_size,
            max_size=self.max_size,
            total=self.total_locked(),
            idle=len(self.idle),
            active=self.active,
            opening=self.opening,
            waiting=len(self.waiters),
            acquired=self.acquired,
            wait_seconds=self.wait_seconds,
            wait=self.wait.snapshot(),
            usage=self.usage.snapshot(),
            connect=self.connect.snapshot(),
            down=self.health.is_down,
            last_error=self.health.detail or None,
            last_error_age=self.clock() - self.health.last_attempt if self.health.detail else None,
            **{name: self.counters[name] for name in _COUNTERS},
        )
