"""What the loop asks of those above it: of the model, which runs the handlers, and of the heartbeat."""

from __future__ import annotations

from typing import Protocol

from ..connection.connection import Connection
from ..connection.items import Item


class Model(Protocol):
    """What the loop asks of the model that runs the handlers. All methods are called by the loop's thread."""

    reads_itself: bool
    """True if each connection has a thread of its own that reads, instead of the loop."""

    def admitted(self, connection: Connection) -> None:
        """A new connection is in the table."""

    def deliver(self, connection: Connection, items: list[Item]) -> None:
        """Serve these, after what waits in the inbox already."""

    def resume(self, connection: Connection) -> None:
        """Serve what waits in the inbox; nobody serves the connection now."""

    def changed(self, connection: Connection) -> None:
        """The connection's phase, or whether it may be read, changed; for models that read by themselves."""

    def ending(self) -> None:
        """The loop is about to end: from here on its thread cannot be replaced by another."""

    def serve_ready(self) -> None:
        """Serve the connections of the ready list, each once, behind all others of the turn."""


class Beats(Protocol):
    """The heartbeat, as far as the loop knows it."""

    def next_beat(self, connection: Connection) -> float:
        """When the connection is to be sent a beat (monotonic seconds)."""

    def beat(self, connection: Connection) -> bytes | None:
        """What to send."""
