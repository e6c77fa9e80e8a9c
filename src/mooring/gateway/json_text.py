"""What JSON has to keep to beyond its syntax, so that it can be stored and read again by everybody.

The parser proves the syntax but skips over what nobody asked it to decode: in there it lets pass invalid UTF-8 and
numbers such as ``1e999``, which no double holds. The checks here cost one quick pass over ordinary messages.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

DEEPEST: Final = 64
"""Arrays and objects inside one another."""

# Always matches from a quote on, closed or not: so one pass is enough, whatever a peer sends.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_NUMBER: Final = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# More than 1.8e308 takes an exponent of three digits, or some two hundred digits with a shorter one. These are looked
# for from their first one on only: many runs that are a little shorter would be gone through again for each digit.
# (Two patterns that begin with one letter each take less than half the time of one that begins with either.)
_LONG_EXPONENT: Final = re.compile(rb"e\+?[0-9]{3}")
_LONG_CAPITAL_EXPONENT: Final = re.compile(rb"E\+?[0-9]{3}")
_LONG_NUMBER: Final = re.compile(rb"(?<![0-9])[0-9]{200}")
_CAPITAL_E: Final = ord("E")
"""A number: that ``b"E"`` is none, ``in`` learns from an exception in CPython, which costs more than the search."""


def to_json(value: Any) -> bytes:
    """Write JSON, and no number that is none: other writers make ``null`` of infinity, or ``NaN``, without a word.

    Raises:
        TypeError, ValueError: JSON cannot hold this.
    """
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def find_invalid_utf8(text: bytes) -> str | None:
    """Say where ``text`` is not UTF-8, or None."""
    if text.isascii():
        return None
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        return f"invalid UTF-8: {exc.reason} at byte {exc.start}"
    return None


def is_deeper(text: bytes, deepest: int) -> bool:
    """Whether arrays and objects are nested more than so deep; most texts have not even room for so many of them."""
    return len(text) > 2 * deepest and text.count(b"[") + text.count(b"{") > deepest and depth(text) > deepest


def may_be_infinite(text: bytes) -> bool:
    """Whether ``find_infinite`` has to look closer; may be asked of a whole line, to spare its parts."""
    if _LONG_EXPONENT.search(text) is not None:
        return True
    if _CAPITAL_E in text and _LONG_CAPITAL_EXPONENT.search(text) is not None:
        return True
    return len(text) >= 200 and _LONG_NUMBER.search(text) is not None


def find_infinite(text: bytes) -> str | None:
    """Say which number of valid JSON no double holds, or None."""
    if not may_be_infinite(text):
        return None
    for number in _NUMBER.findall(_STRING.sub(b"", text)):
        if math.isinf(float(number)):
            return f"the number {number[:20].decode()}{'…' if len(number) > 20 else ''} is larger than any double"
    return None


def depth(text: bytes) -> int:
    """How deep arrays and objects are nested; brackets inside strings do not count."""
    deepest = now = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", text)):
        now += 1 if bracket in b"[{" else -1
        deepest = max(deepest, now)
    return deepest
