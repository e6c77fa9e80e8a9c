"""LengthPrefixed: Teltonika, Modbus TCP, GB/T 32960, AMQP-like fields, and small ones with odd adjustments."""

from __future__ import annotations

from fuzz.streams import Case, check_streams
from mooring.framing import LengthPrefixed


def _case(framing: LengthPrefixed) -> Case:
    header = framing.offset + framing.prefix_size
    kept = framing.max_size if framing.whole else framing.max_size + header
    return Case(framing, largest=framing.max_size, kept=max(kept, header))


CASES = [
    _case(framing)
    for framing in [
        LengthPrefixed(4, max_size=4096),
        LengthPrefixed(2),
        LengthPrefixed(2, offset=4, whole=True, max_size=260),
        LengthPrefixed(2, offset=22, adjustment=1, whole=True, max_size=4096),
        LengthPrefixed(4, offset=4, adjustment=4, whole=True, max_size=2048),
        LengthPrefixed(4, adjustment=-4, byteorder="little", max_size=64),
        LengthPrefixed(8, max_size=64),
        LengthPrefixed(1, max_size=5),
        LengthPrefixed(1, adjustment=2, max_size=5),
        LengthPrefixed(1, offset=1, adjustment=-2, whole=True, max_size=8),
        LengthPrefixed(3, byteorder="little", offset=2, adjustment=-5, whole=True, max_size=20),
    ]
]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_streams(CASES, data)
