"""Fitting a pool to its server: idle connections must not grow older than the server lets them."""

from __future__ import annotations

from typing import Any, Final

from .driver import Driver, ServerLimits
from .events import Events, PoolEventKind
from .ledger import Ledger

SAFE_SHARE: Final = 0.8


class Limits:
    """Reads the server's limits from the first connection, and again after each absence of the server.

    ``_known`` may be written by several openers at once; each of them writes the same.
    """

    def __init__(self, driver: Driver, ledger: Ledger, events: Events) -> None:
        self._driver = driver
        self._ledger = ledger
        self._events = events
        self._known = False

    def forget(self) -> None:
        """The next server may be another one."""
        self._known = False

    def read(self, connection: Any) -> None:
        """Ask a fresh connection, unless the limits are known, and fit the pool to them."""
        if self._known:
            return
        limits = self._driver.limits(connection)
        self._known = True
        if limits is None:
            return
        options, longest = self._ledger.options, SAFE_SHARE * limits.wait_timeout
        with self._ledger.mutex:
            self._ledger.max_idle = min(options.max_idle, longest)
            self._ledger.keepalive_interval = min(options.keepalive_interval, longest)
            max_size = self._ledger.max_size
        self._warn(limits, max_size)

    def _warn(self, limits: ServerLimits, max_size: int) -> None:
        if max_size > SAFE_SHARE * limits.max_connections:
            self._events.tell(
                PoolEventKind.LIMITS,
                f"max_size {max_size} is more than {SAFE_SHARE:.0%} of the {limits.max_connections} connections that "
                f"the server ({limits.version}) admits for all programs; lower max_size or raise max_connections",
            )
