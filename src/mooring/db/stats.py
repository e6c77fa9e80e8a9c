"""A pool's numbers at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from .durations import Durations


@dataclass(frozen=True)
class PoolStats:
    """A consistent snapshot of a pool: sizes now, and counters since it was made.

    Args:
        state: ``"open"``, ``"paused"``, ``"closing"`` or ``"closed"``.
        total, idle, active, opening, waiting: connections, and callers that wait for one. A connection that is being
            asked in the background counts as active.
        acquired: leases handed out. ``waited``: callers that had to wait, for ``wait_seconds`` in all.
        timeouts: callers that got ``PoolTimeout``.
        rejected: callers that were refused at once: ``busy`` of them by ``PoolBusy``, the others by
            ``PoolUnavailable``.
        opened, open_failures, closed: connections opened, attempts that failed, connections closed.
        dead, broken, expired, evicted, surplus, unused, shutdown: of the closed ones: found dead; returned in an
            unusable state; past their lifetime; opened before ``evict()``; too many; idle for too long; closed with the
            pool. Together they are ``closed``.
        pings, ping_failures: round trips made to validate, and those that failed.
        leaks: leases that were held for longer than ``leak_after``.
        retries: transactions run again by ``run_transaction``.
        wait, usage, connect: how long callers waited, leases were held, connects took.
        down: the last attempt to connect failed.
        last_error: why the last one of those that failed did so; None if none did. ``last_error_age``: seconds since.
    """

    name: str
    state: str
    min_size: int
    max_size: int
    total: int
    idle: int
    active: int
    opening: int
    waiting: int
    acquired: int
    waited: int
    wait_seconds: float
    timeouts: int
    rejected: int
    busy: int
    opened: int
    open_failures: int
    closed: int
    dead: int
    broken: int
    expired: int
    evicted: int
    surplus: int
    unused: int
    shutdown: int
    pings: int
    ping_failures: int
    leaks: int
    retries: int
    wait: Durations
    usage: Durations
    connect: Durations
    down: bool
    last_error: str | None
    last_error_age: float | None
