"""A drain: in which order, and when, the connections of a loop that stops get their turns to be closed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..connection.connection import Connection
from ..connection.life import OPEN, CloseReason

SPREAD_STEP: Final = 0.02
"""Seconds, at least, between two groups of connections that are closed."""

FIRST_WORD_TIME: Final = 0.5
"""Seconds that a connection has for its first message if it was opened in a drain that takes its time."""


class Drain:
    """The turns of those that are open, and of those that were on their way when it began. The loop's thread's.

    Those who have just come are the last: their first message is on its way, and is answered yet.

    Args:
        waiting: the open connections.
        spread: seconds over which they get their turns; 0: all at once.
        farewell: called with each connection when its turn has come, to say a last word; quick, does not raise.
        call_later: run a function in so many seconds.
    """

    def __init__(
        self,
        waiting: Iterable[Connection],
        *,
        spread: float,
        farewell: Callable[[Connection], None],
        call_later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._waiting = sorted(waiting, key=lambda connection: not connection._messages)
        self._last = max((connection.id for connection in self._waiting), default=0)
        self._spread = spread
        self._farewell = farewell
        self._call_later = call_later
        self._ends = time.monotonic() + spread

    def begin(self) -> None:
        """The first ones go, or all."""
        if not self._spread:
            self._part(self._waiting)
            return
        steps = max(1, min(len(self._waiting), int(self._spread / SPREAD_STEP)))
        count, interval = math.ceil(len(self._waiting) / steps), self._spread / steps
        self._call_later(interval, lambda: self._go_on(0, count, interval))

    def _go_on(self, begin: int, count: int, interval: float) -> None:
        end = begin + count
        self._part(self._waiting[begin:end])
        if end < len(self._waiting):
            self._call_later(interval, lambda: self._go_on(end, count, interval))

    def join(self, connection: Connection) -> None:
        """It has become a connection while we drain: it goes behind the others. Nothing, if it has a turn."""
        if connection.id <= self._last:
            return
        if not self._spread:
            self._part([connection])
            return
        left = max(self._ends - time.monotonic(), FIRST_WORD_TIME)
        self._call_later(left, lambda: self._part([connection]))

    def _part(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            if connection._phase is OPEN:
                self._farewell(connection)
            connection.end(CloseReason.STOP, "the server stops")
