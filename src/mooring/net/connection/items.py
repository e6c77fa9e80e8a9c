"""What a handler sees of a connection, in order: messages, and what else happens to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias


class Event:
    """Something other than a message that a handler has to see in order with the messages."""

    __slots__ = ("error", "kind")

    def __init__(self, kind: str, error: Exception | None = None) -> None:
        self.kind = kind
        self.error = error

    def __repr__(self) -> str:
        return f"<{self.kind}>"


CONNECTED = Event("connected")
LOST = Event("lost")

Item: TypeAlias = bytes | Event
"""A message, or something else that happened."""


def size_of(items: Iterable[Item]) -> int:
    """Bytes of the messages among these."""
    return sum(len(item) for item in items if isinstance(item, bytes))
