"""Checked around other framings: JT/T 808, Teltonika codec 8, NMEA-like lines, and one checksum inside another."""

from __future__ import annotations

from dataclasses import replace

from fuzz.streams import Case, check_streams
from fuzz.targets.delimited import JT_808
from mooring.framing import CRC16_ARC, CRC16_X25, CRC32, SUM8, XOR8, Checked, Delimited, LengthPrefixed, Lines, Slip

TELTONIKA = LengthPrefixed(4, offset=4, adjustment=4, whole=True, max_size=2048)

CASES = [
    Case(Checked(Delimited(b"\x7e", b"\x7e", escapes=JT_808, max_size=1200), XOR8), 1199, 2402),
    Case(Checked(TELTONIKA, replace(CRC16_ARC, size=4), skip=8), 2044, 2048),
    Case(Checked(LengthPrefixed(2, offset=22, adjustment=1, whole=True, max_size=999), XOR8, skip=2), 998, 999),
    Case(Checked(LengthPrefixed(1, max_size=6), CRC16_X25, byteorder="little"), 4, 7),
    Case(Checked(LengthPrefixed(2, max_size=300), CRC32, on_error="drop"), 296, 302),
    Case(Checked(Lines(max_size=90), SUM8, on_error="drop"), 89, 90, joins=False),  # a sum may be the ending
    Case(Checked(Checked(Slip(max_size=8), XOR8), SUM8), 6, 16),
]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_streams(CASES, data)
