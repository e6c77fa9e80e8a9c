"""Who is read first in a turn: connections whose last message went to another thread.

A call that waits should begin to wait before the quick ones of the turn are run: to read it and hand it on costs them a
few microseconds, and to stand behind them would cost it all their time. Those whose messages went there before are
likely to have sent such a call again.
"""

from __future__ import annotations

from ..connection.connection import Connection
from .leading import Role, leader_only


class Precedence:
    """Remembers descriptors, each for the next turn in which it is ready. The leader's.

    One whose connection has ended meanwhile gives its number's next owner one early read, and is forgotten by that.
    """

    def __init__(self, state: Role) -> None:
        self.state = state
        self._first: set[int] = set()

    @leader_only
    def give(self, connection: Connection) -> None:
        """Read the connection first when it is ready again."""
        self._first.add(connection._socket.fileno())

    @leader_only
    def in_order(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The events of a poll, those of remembered descriptors first; else as they came."""
        first = self._first
        if not first:
            return events
        early = [event for event in events if event[0] in first]
        if early:
            events = early + [event for event in events if event[0] not in first]
            first.difference_update(fd for fd, _ in early)
        return events
