"""Lines, with endings of one byte, of two, and of some that overlap with themselves."""

from __future__ import annotations

from fuzz.streams import Case, check_streams
from mooring.framing import Lines

CASES = [
    Case(Lines(ending, max_size=size), largest=size, kept=size + len(ending) - 1)
    for ending, size in [(b"\n", 65536), (b"\n", 5), (b"\r\n", 40), (b"\r\n", 5), (b"aab", 4), (b"aa", 4), (b"--", 9)]
]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_streams(CASES, data)
