"""What happens to a pool, for its log and for whoever wants to be told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_log = logging.getLogger("mooring.db")


class PoolEventKind(StrEnum):
    """What happened."""

    OPENED = "opened"  # a connection
    CLOSED = "closed"  # a connection; the detail is the reason
    DOWN = "down"  # the database cannot be reached, or refuses us
    STILL_DOWN = "still down"  # once in a minute
    UNAVAILABLE = "unavailable"  # down for five minutes; once for each absence
    UP = "up"
    LEAKED = "leaked"  # a lease has been held for ``leak_after``
    RETURNED = "returned"  # a lease that had been reported as leaked
    NESTED = "nested"  # a thread waits for a second connection while the pool has none left; once
    EVICTED = "evicted"
    PAUSED = "paused"
    RESUMED = "resumed"
    LIMITS = "limits"  # the server's limits do not fit the pool's options


_LEVELS: Final = {
    PoolEventKind.OPENED: logging.DEBUG,
    PoolEventKind.CLOSED: logging.DEBUG,
    PoolEventKind.UP: logging.INFO,
    PoolEventKind.RETURNED: logging.INFO,
    PoolEventKind.EVICTED: logging.INFO,
    PoolEventKind.PAUSED: logging.INFO,
    PoolEventKind.RESUMED: logging.INFO,
}


@dataclass(frozen=True)
class PoolEvent:
    """One thing that happened.

    Args:
        kind: what.
        pool: the pool's name.
        detail: in words, for people.
    """

    kind: PoolEventKind
    pool: str
    detail: str


class Events:
    """Writes events to the log and passes them on; never called under a lock.

    Args:
        pool: the pool's name.
        listener: the user's ``on_event``; what it raises is logged and goes no further.
    """

    def __init__(self, pool: str, listener: Callable[[PoolEvent], object] | None) -> None:
        self._pool = pool
        self._listener = listener

    def tell(self, kind: PoolEventKind, detail: str) -> None:
        """Log it, and tell the listener."""
        _log.log(_LEVELS.get(kind, logging.WARNING), "%s: %s", self._pool, detail)
        if self._listener is None:
            return
        try:
            self._listener(PoolEvent(kind, self._pool, detail))
        except Exception:  # noqa: BLE001 - the user's code, of which the pool must not depend
            _log.exception("%s: on_event failed", self._pool)
