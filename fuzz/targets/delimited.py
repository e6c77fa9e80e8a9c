"""Delimited: JT/T 808 with its escapes, MLLP, and markers that overlap with themselves or with escapes."""

from __future__ import annotations

from fuzz.streams import Case, check_streams
from mooring.framing import Delimited

JT_808 = {b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"}
BACKSLASH = {b"\\": b"\\\\", b"]": b"\\b!"}


def _case(framing: Delimited) -> Case:
    longest = max(map(len, (framing.escapes or {b"": b"x"}).values()))
    return Case(framing, framing.max_size, len(framing.start) + framing.max_size * longest + len(framing.end))


CASES = [
    _case(framing)
    for framing in [
        Delimited(b"\x7e", b"\x7e", escapes=JT_808, max_size=1200),
        Delimited(b"\x7e", b"\x7e", escapes=JT_808, max_size=4),
        Delimited(b"\x0b", b"\x1c\x0d", max_size=4096),
        Delimited(b"\x0b", b"\x1c\x0d", max_size=4),
        Delimited(b"[", b"]", escapes=BACKSLASH, max_size=6),
        Delimited(b"$", b"\r\n", max_size=82),
        Delimited(b"aa", b"aa", max_size=4),
        Delimited(b"ab", b"aab", max_size=4),
    ]
]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_streams(CASES, data)
