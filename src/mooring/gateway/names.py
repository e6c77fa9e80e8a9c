"""What a device may be called."""

from __future__ import annotations

import unicodedata
from typing import Final

LONGEST_NAME: Final = 64
"""Characters; up to four bytes each in UTF-8, so the column has 256."""

_REFUSED: Final = frozenset({"Cc", "Zl", "Zp"})  # control characters and the two line separators outside of them


def check_name(name: str) -> str | None:
    """Say what is wrong with a device's name, or None.

    A name has 1 to 64 characters, none of them a control character, and no blanks at its ends. Names are compared byte
    for byte: upper and lower case, and composed and decomposed letters, are different names.
    """
    if not 1 <= len(name) <= LONGEST_NAME:
        return f"a device's name has 1 to {LONGEST_NAME} characters, this one {len(name)}"
    if name != name.strip():
        return "a device's name has no blanks at its ends"
    for character in name:
        if unicodedata.category(character) in _REFUSED:
            return f"a device's name has no control characters, this one U+{ord(character):04X}"
    return None
