"""What a device, or one of its uploads, may be called."""

from __future__ import annotations

import unicodedata
from typing import Final

LONGEST_NAME: Final = 64
"""Characters; up to four bytes each in UTF-8, so the column has 256."""

_REFUSED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of surrogate pairs (no database stores them), the two line separators."""


def check_name(name: str) -> str | None:
    """Say what is wrong with a device's name, or None.

    A name has 1 to 64 characters, none of them a control character, and no blanks at its ends. Names are compared byte
    for byte: upper and lower case, and composed and decomposed letters, are different names.
    """
    return _check(name, "a device's name")


def check_upload_name(name: str) -> str | None:
    """The same of an upload's name."""
    return _check(name, "an upload's name")


def _check(name: str, whose: str) -> str | None:
    if not 1 <= len(name) <= LONGEST_NAME:
        return f"{whose} has 1 to {LONGEST_NAME} characters, this one {len(name)}"
    if name != name.strip():
        return f"{whose} has no blanks at its ends"
    if name.isascii() and name.isprintable():
        return None
    for character in name:
        if unicodedata.category(character) in _REFUSED:
            return f"{whose} has no control characters, this one U+{ord(character):04X}"
    return None
