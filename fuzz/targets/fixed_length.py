"""FixedLength."""

from __future__ import annotations

from fuzz.streams import Case, check_streams
from mooring.framing import FixedLength

CASES = [Case(FixedLength(size), largest=size, kept=size) for size in (1, 4, 57)]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_streams(CASES, data)
