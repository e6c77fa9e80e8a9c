"""What a connection needs of the loop that owns it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .connection import Connection
    from .connections import Connections


class Engine(Protocol):
    """What a connection needs of the loop that owns it."""

    server: Any
    connections: Connections
    outbox_limit: int
    overflow: str
    write_timeout: float
    unix_offset: float

    @property
    def join(self) -> Callable[[bytes], bytes]:
        """Frames a message."""

    def attend(self, connection: Connection) -> None:
        """Have the loop look at the connection soon. From any thread."""

    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the loop: false on the loop's own thread."""

    def strike(self, connection: Connection, kind: str) -> None:
        """The connection's address has offended."""

    def count_dropped(self) -> None:
        """Count a message or reply that could not leave any more."""

    def count_sent(self, messages: int, size: int) -> None:
        """Count messages that leave and are not replies of a call that has just ended."""
