"""Messages that all have one size."""

from __future__ import annotations

from dataclasses import dataclass

from mooring.errors import FrameError
from mooring.framing.arguments import require_integer


@dataclass(frozen=True, slots=True)
class FixedLength:
    """Messages of exactly ``size`` bytes, without anything between them.

    Time protocol clients and many simple sensors work so; the time of RFC 868, ``FixedLength(4)``::

        before split                    after split
        83 AA 7E 80 83 AA 7E 81 83      83 AA 7E 80 | 83 AA 7E 81    rest 83, 3 bytes missing

    Args:
        size: bytes in each message.

    ``split`` refuses nothing; ``join`` refuses a message of any other size (FrameError).
    """

    size: int

    def __post_init__(self) -> None:
        require_integer("size", self.size, 1)

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        size = self.size
        end = len(data) - len(data) % size
        rest = data[end:]
        return [data[begin : begin + size] for begin in range(0, end, size)], rest, size - len(rest)

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        if len(message) != self.size:
            raise FrameError(f"message of {len(message)} bytes, not {self.size} (size)")
        return message
