"""Messages that end with a checksum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from mooring.errors import FrameError
from mooring.framing.arguments import require_choice, require_integer
from mooring.framing.base import Framing
from mooring.framing.checksums import Checksum


@dataclass(frozen=True, slots=True)
class Checked:
    r"""Puts a checksum at the end of each message of another framing, and checks it and takes it off again.

    The checksum is the last ``check.size`` bytes of the inner framing's message, over everything before it but the
    first ``skip`` bytes. Handlers neither see nor write it.

    JT/T 808, ``Checked(Delimited(b"\x7e", b"\x7e", escapes={b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"}), XOR8)``,
    a heartbeat::

        before split                                      after split
        7E 00 02 00 00 01 23 45 67 89 01 00 0B 81 7E      00 02 00 00 01 23 45 67 89 01 00 0B
        message 0002, terminal 012345678901, number 11, XOR 81

    Teltonika codec 8, ``Checked(LengthPrefixed(4, offset=4, adjustment=4, whole=True), replace(CRC16_ARC, size=4),
    skip=8)``: the sum has 16 bits but a field of four bytes, hence ``dataclasses.replace``::

        00 00 00 00 00 00 00 36 08 01 ... 01 00 00 C7 CF      the message ends before 00 00 C7 CF
        zeros       length 54   [   54 bytes  ] CRC of these

    GB/T 32960, ``Checked(LengthPrefixed(2, offset=22, adjustment=1, whole=True), XOR8, skip=2)``: ``skip`` leaves out
    the ``##`` at the start.

    Args:
        inner: the framing that finds the messages.
        check: what is summed, and the size of the field.
        byteorder: of the field, "big" (default) or "little".
        skip: bytes at the front of a message that are not summed.
        on_error: what becomes of a message with a wrong sum. "close" (default): FrameError, so that the connection is
            closed. "drop": the message is left out, and the device repeats it.

    Errors (FrameError): those of ``inner``; with "close" also a wrong sum and a message too short to hold one. ``join``
    refuses a message shorter than ``skip``.
    """

    inner: Framing
    check: Checksum
    _: KW_ONLY
    byteorder: Literal["big", "little"] = "big"
    skip: int = 0
    on_error: Literal["close", "drop"] = "close"

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Framing):
            raise TypeError(f"inner must be a framing, with split and join, not {self.inner!r}")
        if not isinstance(self.check, Checksum):
            raise TypeError(f"check must be a Checksum, such as CRC16_X25, not {self.check!r}")
        require_choice("byteorder", self.byteorder, ("big", "little"))
        require_integer("skip", self.skip, 0)
        require_choice("on_error", self.on_error, ("close", "drop"))

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        """See Framing.split."""
        try:
            messages, rest, missing = self.inner.split(data)
        except FrameError as exc:
            # What was complete before the fault has a sum as well, and a wrong one is the earlier fault.
            raise FrameError(str(exc), self._verified(exc.messages)) from exc
        return self._verified(messages), rest, missing

    def join(self, message: bytes) -> bytes:
        """See Framing.join."""
        if len(message) < self.skip:
            raise FrameError(f"message of {len(message)} bytes, fewer than the {self.skip} before the sum (skip)")
        checksum = self.check(message[self.skip :]).to_bytes(self.check.size, self.byteorder)
        return self.inner.join(message + checksum)

    def _verified(self, messages: Iterable[bytes]) -> list[bytes]:
        """Return the messages with a right sum, without it."""
        verified: list[bytes] = []
        for message in messages:
            fault = self._fault(message)
            if fault is None:
                verified.append(message[: -self.check.size])
            elif self.on_error == "close":
                raise FrameError(fault, verified)
        return verified

    def _fault(self, message: bytes) -> str | None:
        size = self.check.size
        if len(message) < self.skip + size:
            return f"message of {len(message)} bytes has no room for a checksum: {message.hex(' ')}"
        found = int.from_bytes(message[-size:], self.byteorder)
        expected = self.check(message[self.skip : -size])
        if found != expected:
            return f"checksum {found:0{2 * size}x} should be {expected:0{2 * size}x} ({self.check.name})"
        return None
