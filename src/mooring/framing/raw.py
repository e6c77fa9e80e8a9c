"""No framing at all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Raw:
    """Messages are the bytes as they come, for an echo, a relay or a parser of your own.

    ::

        bytes that two reads brought      after split
        68 65 6C | 6C 6F                  68 65 6C | 6C 6F

    The network decides where one message ends and the next begins, so this is the one framing for which another way
    to cut the input gives other messages; only their sum is the same. It refuses nothing.
    """

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        return [data] if data else [], b"", 0

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        return message
