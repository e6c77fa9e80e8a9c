"""A message that has begun and is not complete."""

from __future__ import annotations


class Partial:
    """The bytes of a begun message, which wait for the others. Belongs to the thread that reads the connection.

    What comes in small pieces is kept in pieces until the framing can go on with it, so that a large message is
    neither copied nor searched once for each of them.

    Attributes:
        since: when the message began, in monotonic seconds.
    """

    __slots__ = ("_chunks", "_missing", "_rest", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self._rest = b""
        self._missing = 0
        self._chunks: list[bytes] | None = None

    def keep(self, rest: bytes, missing: int) -> None:
        """Remember what the framing left over, and how many further bytes it needs at least (0: not known)."""
        self._rest = rest
        self._missing = missing

    def add(self, data: bytes) -> bytes | None:
        """Put what was read behind the rest; returns both, or None while the framing could do nothing with it yet."""
        chunks = self._chunks
        if len(data) < self._missing:
            self._missing -= len(data)
            if chunks is None:
                self._chunks = [self._rest, data]
            else:
                chunks.append(data)
            return None
        if chunks is None:
            return self._rest + data
        self._chunks = None
        chunks.append(data)
        return b"".join(chunks)
