"""Messages between a start and an end marker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

from mooring.errors import FrameError
from mooring.framing.arguments import require_bytes, require_integer
from mooring.framing.escapes import Escapes
from mooring.framing.markers import size_before_partial


@dataclass(frozen=True, slots=True)
class Delimited:
    r"""Messages stand between a start and an end marker, with escapes if the markers may occur in them.

    JT/T 808 (Chinese vehicle terminals), the standard's own example of an escape, ``Delimited(b"\x7e", b"\x7e",
    escapes={b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"})``::

        before split                   after split
        7E 30 7D 02 08 7D 01 55 7E     30 7E 08 7D 55

    MLLP (HL7 in hospitals), ``Delimited(b"\x0b", b"\x1c\x0d")``::

        before split                              after split
        0B 4D 53 48 7C 5E 7E 5C 26 0D 1C 0D 0B    4D 53 48 7C 5E 7E 5C 26 0D    rest 0B
           "MSH|^~\&\r"                           "MSH|^~\&\r"

    Every frame has a start and an end of its own. Bytes between frames are an error: TCP invents none, so the peer
    speaks another protocol or has lost its step, and a new connection mends that. Where start and end are the same,
    markers in a row count as one start: no message is empty, and an idle line may be filled with markers.

    Args:
        start: the marker before a message.
        end: the marker after it; may be the same.
        escapes: for each byte that is replaced in messages what it is replaced by, which begins with a byte that is
            itself replaced and does not contain the end marker. None (default): messages are sent as they are.
        max_size: the most bytes in a message after its escapes are undone, 65,536 by default.

    Errors of ``split`` and ``join`` (FrameError): a message longer than ``max_size``. ``split`` also refuses bytes
    outside frames and unknown escapes; ``join`` a message that holds the end marker where no escape hides it and,
    where start and end are the same, an empty one.
    """

    start: bytes
    end: bytes
    _: KW_ONLY
    escapes: Mapping[bytes, bytes] | None = field(default=None, hash=False)
    max_size: int = 65536
    _codec: Escapes | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_bytes("start", self.start)
        require_bytes("end", self.end)
        require_integer("max_size", self.max_size, 1)
        if self.escapes is not None:
            object.__setattr__(self, "escapes", dict(self.escapes))
        object.__setattr__(self, "_codec", None if self.escapes is None else Escapes(self.escapes))
        for byte, sequence in (self.escapes or {}).items():
            if self.end in sequence:
                raise ValueError(f"{byte!r} is replaced by {sequence!r}, which contains the end marker")

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        messages: list[bytes] = []
        begin = 0
        try:
            while self._starts(data, begin):
                content_begin = begin + len(self.start)
                content_end = data.find(self.end, content_begin)
                if content_end < 0:
                    self._check_unfinished(data[content_begin:])
                    break
                if content_end == content_begin and self.start == self.end:
                    begin = content_end
                    continue
                messages.append(self._decode(data[content_begin:content_end]))
                begin = content_end + len(self.end)
        except FrameError as exc:
            raise FrameError(str(exc), messages) from None
        return messages, data[begin:], 0

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        self._check_size(len(message))
        if not message and self.start == self.end:
            raise FrameError("a message cannot be empty where start and end marker are the same")
        content = message if self._codec is None else self._codec.encode(message)
        frame = self.start + content + self.end
        # The search covers the end marker: a message may complete one with its tail.
        if frame.find(self.end, len(self.start)) != len(self.start) + len(content):
            raise FrameError(f"a message cannot hold the end marker {self.end.hex(' ')}")
        return frame

    def _starts(self, data: bytes, begin: int) -> bool:
        """Say whether a frame starts at ``begin``; False if the start marker is not complete yet."""
        if data.startswith(self.start, begin):
            return True
        found = data[begin : begin + len(self.start)]
        if not self.start.startswith(found):
            raise FrameError(f"expected the start marker {self.start.hex(' ')}, got something else")
        return False

    def _decode(self, content: bytes) -> bytes:
        message = content if self._codec is None else self._codec.decode(content)
        self._check_size(len(message))
        return message

    def _check_unfinished(self, content: bytes) -> None:
        """Raise if the beginning of a message is certain to be no part of a good one."""
        content = content[: size_before_partial(content, self.end)]
        self._check_size(len(content) if self._codec is None else self._codec.unfinished_size(content))

    def _check_size(self, size: int) -> None:
        if size > self.max_size:
            raise FrameError(f"message of more than {self.max_size} bytes (max_size)")
