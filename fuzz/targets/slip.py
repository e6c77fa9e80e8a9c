"""Slip, RFC 1055."""

from __future__ import annotations

from fuzz.streams import Case, check_streams
from mooring.framing import Slip

CASES = [Case(Slip(max_size=size), largest=size, kept=2 * size) for size in (1, 4, 1500)]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_streams(CASES, data)
