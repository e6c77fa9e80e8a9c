"""Replies that leave together, at the end of the turn in which they were made.

A send costs less behind another send than behind a handler, and the first of them wakes the peers' host for all. So the
leader's services leave their replies here. What they wait is bounded: by the turn's end, by the first service that ends
LONGEST after its begin, and by the hand-over, after which the new leader sends them before anything else.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Final, Protocol

from ..connection.connection import Connection
from .leading import Role, leader_only

MOST: Final = 64
"""Replies of so many services wait at most: with 64 KiB of each, 4 MiB."""

LONGEST: Final = 0.0005
"""Seconds of a turn after which replies leave; so those of a handler that takes its time do at once."""


class Turn(Role, Protocol):
    """The state of the loop, as far as it tells the time of the turn."""

    now: float
    """When it began, or when the role changed hands since (monotonic seconds)."""


class Departures:
    """What the services of this turn have replied and nobody has sent yet. The leader's.

    Args:
        state: of the role.

    Attributes:
        waiting: connections whose writing is claimed, and what is to be sent.
    """

    def __init__(self, state: Turn) -> None:
        self.state = state
        self.waiting: deque[tuple[Connection, bytes]] = deque()
        self._left = 0.0  # when replies left last in the middle of a turn

    @leader_only
    def add(self, connection: Connection, data: bytes) -> None:
        """Take the framed replies of a service that has ended."""
        if not connection.begin_reply(data):
            return  # they leave behind others
        waiting, now = self.waiting, monotonic()
        waiting.append((connection, data))
        if len(waiting) >= MOST or (now - self._left > LONGEST and now - self.state.now > LONGEST):
            self._left = now
            self.leave()

    @leader_only
    def leave(self) -> None:
        """Send what waits."""
        waiting = self.waiting
        while waiting:
            connection, data = waiting.popleft()
            connection.end_reply(data)
