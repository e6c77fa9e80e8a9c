"""The long-lived record of one connection, and the caller that waits for one."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .lease import Lease

# POLLHUP, POLLERR and POLLNVAL are reported unasked.
_READABLE: Final = select.POLLIN | select.POLLPRI


class Slot:
    """A place in the pool with its connection; the thread that holds it owns every field.

    Between holders it lies in the ledger's ``idle`` and is guarded by the ledger's mutex.

    Args:
        generation: the pool's when the connection was opened; an older one is not handed out again.

    Attributes:
        expires_at: when the connection is too old, on the pool's clock.
        checked_at: when the connection was last known to work.
        idle_since: when it was last returned.
        fresh_until: up to when it may be lent without a round trip.
        poll: asks the kernel about the connection's descriptor; None if it has none.
    """

    __slots__ = (
        *("checked_at", "connection", "descriptor", "expires_at", "fresh_until"),
        *("generation", "idle_since", "opened_at", "poll"),
    )

    def __init__(self, generation: int = 0) -> None:
        self.connection: Any = None
        self.generation = generation
        self.descriptor: int | None = None
        self.opened_at = 0.0
        self.expires_at = 0.0
        self.checked_at = 0.0
        self.idle_since = 0.0
        self.fresh_until = 0.0
        self.poll: Callable[[int], Sequence[object]] | None = None

    def adopt(self, connection: Any, descriptor: int | None, *, now: float, lifetime: float) -> None:
        """Take a fresh connection in."""
        self.connection = connection
        self.opened_at = self.checked_at = self.idle_since = now
        self.expires_at = now + lifetime
        self.descriptor = descriptor
        if descriptor is not None:
            poll = select.poll()
            poll.register(descriptor, _READABLE)
            self.poll = poll.poll

    def prove(self, now: float, ping_after: float) -> None:
        """Note that the connection works."""
        self.checked_at = now
        self.fresh_until = min(now + ping_after, self.expires_at)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection in it; without one it is a permit to open one."""
        return self.connection is not None

    def looks_dead(self) -> bool:
        """Whether the server has closed the connection or sent what nobody asked for; costs no round trip.

        Nothing is ever readable on an idle connection except the end of it.
        """
        return self.poll is not None and bool(self.poll(0))


def find_dead(slots: Sequence[Slot]) -> list[Slot]:
    """Which of these idle connections look dead; one system call for all of them."""
    poll = select.poll()
    watched = {slot.descriptor: slot for slot in slots if slot.descriptor is not None}
    for descriptor in watched:
        poll.register(descriptor, _READABLE)
    return [watched[descriptor] for descriptor, _ in poll.poll(0)] if watched else []


class WaiterState(Enum):
    """WAITING -> GIVEN | FAILED | EXPIRED, each only under the ledger's mutex."""

    WAITING = auto()
    GIVEN = auto()
    FAILED = auto()
    EXPIRED = auto()


class Waiter:
    """A caller that waits for a connection; every field but ``baton`` is guarded by the ledger's mutex.

    Args:
        lease: what it will hold; made by the caller, filled in by whoever hands the connection over.
        deadline: when it no longer wants one, on the pool's clock.
        started: when it began to wait.
    """

    __slots__ = ("baton", "deadline", "error", "lease", "slot", "started", "state")

    def __init__(self, lease: Lease, deadline: float, started: float) -> None:
        self.lease = lease
        self.deadline = deadline
        self.started = started
        self.state = WaiterState.WAITING
        self.slot: Slot | None = None
        self.error: Exception | None = None
        self.baton = threading.Lock()  # held until the state has changed: a wait for a lock is the cheapest there is
        self.baton.acquire()

    def settle(self, state: WaiterState, slot: Slot | None, error: Exception | None) -> None:
        """Leave WAITING, and wake the caller."""
        self.state, self.slot, self.error = state, slot, error
        self.baton.release()
