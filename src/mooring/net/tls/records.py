"""The records of TLS, as they are on the wire: where one ends, and whether what comes first is one."""

from __future__ import annotations

from typing import Final

RECORD: Final = 16384
"""Bytes of plain text that fit into one record, RFC 8446 section 5.1. Both buffers are fed no more than that at a time:
a ``MemoryBIO`` keeps the largest size it ever had."""

HEADER: Final = 5
HANDSHAKE: Final = 22
"""The first byte of a record of the handshake."""


class Records:
    """Knows where in a record what came ends: OpenSSL does not tell, and a record must not take for ever.

    Each begins with five bytes of header, the last two of which are the length of what follows: RFC 8446 section 5.1.
    """

    __slots__ = ("_header", "_missing", "have_come")

    def __init__(self) -> None:
        self.have_come = False
        self._header = b""
        self._missing = 0

    def add(self, data: bytes) -> None:
        """So much came."""
        self.have_come = True
        at, size = self._missing, len(data)
        if at <= size and self._header:
            data, self._header = self._header + data, b""
            size = len(data)
        while at + HEADER <= size:
            at += HEADER + (data[at + 3] << 8 | data[at + 4])
        if at < size:
            self._header, at = data[at:], size
        self._missing = at - size

    @property
    def has_begun(self) -> bool:
        """Whether a record is not complete."""
        return bool(self._missing or self._header)


def is_client_hello(data: bytes) -> bool:
    """Whether this begins as every TLS handshake does, and hardly anything else: RFC 8446 sections 4 and 5.1.

    A record of the handshake of version 3.x with a ClientHello in it, whose length fits and whose version is 3.x, too.
    """
    if len(data) < 11 or data[0] != HANDSHAKE or data[1] != 3 or data[5] != 1 or data[9] != 3:
        return False
    return int.from_bytes(data[6:9]) + 4 >= data[3] << 8 | data[4]
