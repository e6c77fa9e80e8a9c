"""SLIP, RFC 1055."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from mooring.errors import FrameError
from mooring.framing.arguments import require_integer
from mooring.framing.escapes import Escapes

END = b"\xc0"
ESC = b"\xdb"
_ESCAPES = Escapes({END: b"\xdb\xdc", ESC: b"\xdb\xdd"})


@dataclass(frozen=True, slots=True)
class Slip:
    """Messages end with ``C0``; ``C0`` and ``DB`` within them are escaped (RFC 1055).

    ::

        before split                             after split
        C0 01 DB DC 02 C0 C0 03 DB DD C0 04      01 C0 02 | 03 DB    rest 04

    ``join`` puts an END on both sides, as the RFC advises; empty frames, which come of that, are passed over. Used over
    TCP by Open Sound Control 1.1 and by serial devices behind a terminal server.

    Args:
        max_size: the most bytes in a message after its escapes are undone, 65,536 by default.

    Errors of ``split`` and ``join`` (FrameError): a message longer than ``max_size``; ``split`` also refuses an escape
    that is neither ``DB DC`` nor ``DB DD``, and ``join`` an empty message.
    """

    _: KW_ONLY
    max_size: int = 65536

    def __post_init__(self) -> None:
        require_integer("max_size", self.max_size, 1)

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        contents = data.split(END)
        rest = contents.pop()
        if ESC[0] not in data and len(data) <= self.max_size:
            return [content for content in contents if content], rest, 0
        messages: list[bytes] = []
        try:
            for content in contents:
                if content:
                    messages.append(self._checked(_ESCAPES.decode(content)))
            self._check_size(_ESCAPES.unfinished_size(rest))
        except FrameError as exc:
            raise FrameError(str(exc), messages) from None
        return messages, rest, 0

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        if not message:
            raise FrameError("SLIP cannot carry an empty message")
        return END + _ESCAPES.encode(self._checked(message)) + END

    def _checked(self, message: bytes) -> bytes:
        self._check_size(len(message))
        return message

    def _check_size(self, size: int) -> None:
        if size > self.max_size:
            raise FrameError(f"SLIP message of more than {self.max_size} bytes (max_size)")
