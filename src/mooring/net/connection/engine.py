"""What a connection knows of the loop that owns it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...framing import Framing

if TYPE_CHECKING:
    from .connection import Connection
    from .connections import Connections


class Engine:
    """What the connections of one loop have in common. For any thread.

    Args:
        server: what connections show as theirs.
        framing: its ``join`` frames what they send.
        connections: the table that users see.
        outbox_limit: bytes that ``Connection.send`` may leave waiting.
        overflow: what ``Connection.send`` does beyond that: "close", "drop" or "block".
        write_timeout: seconds in which a peer must take something of what is sent.
        attend: has the loop look at a connection soon.
        is_led_here: whether the calling thread is the loop's own.
        count_sent: counts so many messages and bytes that leave.
        count_dropped: counts a message that could not leave any more.
        strike: notes that an address (packed) has offended, and how.

    Attributes:
        unix_offset: Unix time less monotonic time.
    """

    def __init__(
        self,
        *,
        server: Any,
        framing: Framing,
        connections: Connections,
        outbox_limit: int,
        overflow: str,
        write_timeout: float,
        attend: Callable[[Connection], None],
        is_led_here: Callable[[], bool],
        count_sent: Callable[[int, int], None],
        count_dropped: Callable[[], None],
        strike: Callable[[Any, str], None],
    ) -> None:
        self.server = server
        self.connections = connections
        self.outbox_limit = outbox_limit
        self.overflow = overflow
        self.write_timeout = write_timeout
        self.unix_offset = time.time() - time.monotonic()
        self.join = framing.join
        self.attend = attend
        self.count_sent = count_sent
        self.count_dropped = count_dropped
        self._is_led_here = is_led_here
        self._strike = strike

    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the loop: not on the loop's own thread."""
        return not self._is_led_here()

    def strike(self, connection: Connection, kind: str) -> None:
        """The connection's address has offended."""
        self._strike(connection._peer, kind)
