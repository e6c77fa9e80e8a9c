"""What a connection knows of the loop that owns it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...framing import Framing
    from ..limits.gate import Gate
    from ..loop.state import State
    from .connection import Connection
    from .connections import Connections


class Engine:
    """What the connections of one loop have in common. For any thread.

    Args:
        state: of the loop.
        server: what connections show as theirs.
        framing: its ``join`` frames what they send.
        connections: the table that users see.
        gate: hears of offences.
        outbox_limit: bytes that ``Connection.send`` may leave waiting.
        overflow: what ``Connection.send`` does beyond that: "close", "drop" or "block".
        write_timeout: seconds in which a peer must take something of what is sent.

    Attributes:
        unix_offset: Unix time less monotonic time.
    """

    def __init__(
        self,
        state: State,
        *,
        server: Any,
        framing: Framing,
        connections: Connections,
        gate: Gate,
        outbox_limit: int,
        overflow: str,
        write_timeout: float,
    ) -> None:
        self.server = server
        self.connections = connections
        self.outbox_limit = outbox_limit
        self.overflow = overflow
        self.write_timeout = write_timeout
        self.unix_offset = time.time() - time.monotonic()
        self.join = framing.join
        self.attend = state.mailbox.attend
        self.count_dropped = state.traffic.count_dropped
        self.count_sent = state.traffic.count_sent
        self._state = state
        self._gate = gate

    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the loop: not on the loop's own thread."""
        return not self._state.is_led_here()

    def strike(self, connection: Connection, kind: str) -> None:
        """The connection's address has offended."""
        self._gate.strikes.add(connection._peer, kind)
