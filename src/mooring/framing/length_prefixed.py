"""Messages that say how long they are."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from mooring.errors import FrameError
from mooring.framing.arguments import require_choice, require_integer


@dataclass(frozen=True, slots=True)
class LengthPrefixed:
    """Messages whose length stands in a field in front of them or in their header.

    A frame ends ``length + adjustment`` bytes after its length field, which stands at ``offset``.

    The login of a Teltonika tracker, ``LengthPrefixed(2)``: the message is what follows the field::

        before split                                           after split
        00 0F 33 35 36 33 30 37 30 34 32 34 34 31 30 31 33     33 35 36 33 30 37 30 34 32 34 34 31 30 31 33
        length 15, then the IMEI                               "356307042441013"

    Modbus TCP, ``LengthPrefixed(2, offset=4, whole=True)``: the message is the frame, header and all::

        00 01 00 00 00 06 01 03 00 00 00 0A      transaction 1, protocol 0, length 6: unit 1, function 3, address 0, 10
                    --+-- [      6        ]

    GB/T 32960 (electric vehicles), ``LengthPrefixed(2, offset=22, adjustment=1, whole=True)``: the length counts the
    data unit, one check byte follows it; a logout at 2025-11-23 08:15:30::

        23 23 04 FE 4C 53 56 41 41 34 39 4A 31 33 32 30 30 30 30 30 31 01 00 08 19 0B 17 08 0F 1E 00 07 D7
        "##"  cmd   17 bytes: the VIN                                  no --+-- [         8           ] check
              and flag                                                 encryption

    Args:
        prefix_size: bytes in the length field, 1 to 8, by default 4.
        byteorder: of the length field, "big" (default) or "little".
        offset: bytes in front of the length field; other than 0 only with ``whole``.
        adjustment: bytes after the length field that the length does not count; negative if it counts more than
            what follows it (-4 if four bytes of length count themselves).
        whole: False: messages are what follows the length field, and ``join`` writes the field. True: messages are
            whole frames both ways; ``join`` checks that the length in them is right.
        max_size: the most bytes in a message, 1 MiB by default.

    Errors of ``split`` and ``join`` (FrameError): a message longer than ``max_size``, known as soon as the length has
    arrived; a length too small for its own frame. ``join`` also refuses a message whose length does not fit into the
    field and, with ``whole``, one that says a wrong length.
    """

    prefix_size: int = 4
    _: KW_ONLY
    byteorder: Literal["big", "little"] = "big"
    offset: int = 0
    adjustment: int = 0
    whole: bool = False
    max_size: int = 1 << 20

    def __post_init__(self) -> None:
        require_integer("prefix_size", self.prefix_size, 1, 8)
        require_choice("byteorder", self.byteorder, ("big", "little"))
        require_integer("offset", self.offset, 0)
        require_integer("adjustment", self.adjustment, None)
        if self.offset and not self.whole:
            raise ValueError(f"offset {self.offset} needs whole=True: join cannot invent the bytes before the length")
        # A smaller max_size would refuse every message, an empty one included.
        smallest = max(0, self.adjustment) + (self.offset + self.prefix_size if self.whole else 0)
        require_integer("max_size", self.max_size, max(1, smallest))

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        messages: list[bytes] = []
        header_size = self.offset + self.prefix_size
        skipped = 0 if self.whole else header_size
        begin, available = 0, len(data)
        while available - begin >= header_size:
            body_size = self._body_size(data, begin, messages)
            end = begin + header_size + body_size
            if end > available:
                return messages, data[begin:], end - available
            messages.append(data[begin + skipped : end])
            begin = end
        return messages, data[begin:], header_size - (available - begin)

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        if len(message) > self.max_size:
            raise FrameError(f"message of {len(message)} bytes, more than {self.max_size} (max_size)")
        return self._whole_frame(message) if self.whole else self._prefix(message) + message

    def _body_size(self, data: bytes, begin: int, messages: list[bytes]) -> int:
        """Return the number of bytes after the length field of the frame at ``begin``."""
        at = begin + self.offset
        length = int.from_bytes(data[at : at + self.prefix_size], self.byteorder)
        body_size = length + self.adjustment
        if body_size < 0:
            raise FrameError(f"length {length} ends the frame within its own header", messages)
        size = body_size + self.offset + self.prefix_size if self.whole else body_size
        if size > self.max_size:
            raise FrameError(f"length {length} makes a message of {size} bytes, more than {self.max_size}", messages)
        return body_size

    def _prefix(self, message: bytes) -> bytes:
        length = len(message) - self.adjustment
        if not 0 <= length < 1 << (8 * self.prefix_size):
            raise FrameError(f"length {length} does not fit into a field of {self.prefix_size} bytes (prefix_size)")
        return length.to_bytes(self.prefix_size, self.byteorder)

    def _whole_frame(self, message: bytes) -> bytes:
        header_size = self.offset + self.prefix_size
        if len(message) < header_size:
            raise FrameError(f"message of {len(message)} bytes ends before its length field does, at {header_size}")
        size = header_size + self._body_size(message, 0, [])
        if size != len(message):
            raise FrameError(f"the length field says a message of {size} bytes, but it has {len(message)}")
        return message
