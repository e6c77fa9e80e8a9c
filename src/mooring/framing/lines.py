"""Messages that end with a marker: lines of text, JSON lines, AT commands."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from mooring.errors import FrameError
from mooring.framing.arguments import require_bytes, require_integer
from mooring.framing.markers import size_before_partial

CARRIAGE_RETURN = 0x0D


@dataclass(frozen=True, slots=True)
class Lines:
    r"""Messages are the bytes before each line ending.

    Inline commands of Redis, ``Lines(b"\r\n")``::

        before split                                  after split
        50 49 4E 47 0D 0A 50 49 4E 47 0D 0A 50 49     50 49 4E 47 | 50 49 4E 47    rest 50 49
        "PING\r\n"        "PING\r\n"        "PI"      "PING"        "PING"

    The default ending, ``b"\n"``, takes what people type: carriage returns before it belong to the ending, so that
    netcat (``\n``), telnet and Windows (``\r\n``) give the same message. Any other ending is taken to the letter.
    ``join`` always adds exactly ``ending``. An empty line is an empty message.

    Args:
        ending: what ends a line.
        max_size: the most bytes that may stand before the ending, 65,536 by default.

    Errors of ``split`` and ``join`` (FrameError): a line longer than ``max_size``; ``join`` also refuses a message
    that holds the ending or, with ``b"\n"``, ends with a carriage return.
    """

    ending: bytes = b"\n"
    _: KW_ONLY
    max_size: int = 65536
    _takes_carriage_return: bool = field(init=False, repr=False, compare=False)
    _first_byte: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_bytes("ending", self.ending)
        require_integer("max_size", self.max_size, 1)
        object.__setattr__(self, "_takes_carriage_return", self.ending == b"\n")
        object.__setattr__(self, "_first_byte", self.ending[0])

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        messages = data.split(self.ending)
        rest = messages.pop()
        # No line can be too long where all of the data is not: one comparison for nearly every read.
        if len(data) > self.max_size:
            self._check_sizes(messages, rest)
        if self._takes_carriage_return and CARRIAGE_RETURN in data:
            messages = _without_carriage_returns(messages)
        return messages, rest, 0

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        frame = message + self.ending
        # In nearly every message no ending begins. (Looked for as a number: that bytes are none CPython's `in` learns
        # from an exception, which costs 2,000 instructions.)
        is_plain = self._first_byte not in message and len(message) <= self.max_size
        if is_plain and not (self._takes_carriage_return and CARRIAGE_RETURN in message):
            return frame
        # The search covers the whole frame: with an ending such as b"--" a message may complete one with its tail.
        if frame.find(self.ending) != len(message):
            raise FrameError(f"a line cannot hold its own ending {self.ending!r}")
        if self._takes_carriage_return and message.endswith(b"\r"):
            raise FrameError("a line cannot end with a carriage return; use Lines(b'\\r\\n')")
        if len(message) > self.max_size:
            raise FrameError(f"line of {len(message)} bytes, more than {self.max_size} (max_size)")
        return frame

    def _check_sizes(self, messages: list[bytes], rest: bytes) -> None:
        for index, message in enumerate(messages):
            if len(message) > self.max_size:
                raise self._too_long(messages[:index])
        if size_before_partial(rest, self.ending) > self.max_size:
            raise self._too_long(messages)

    def _too_long(self, before: list[bytes]) -> FrameError:
        if self._takes_carriage_return:
            before = _without_carriage_returns(before)
        return FrameError(f"line of more than {self.max_size} bytes (max_size) without {self.ending!r}", before)


def _without_carriage_returns(lines: list[bytes]) -> list[bytes]:
    return [line.rstrip(b"\r") for line in lines]
