"""What devices say, on a terminal: no text of theirs may move the cursor, hide lines or change a title."""

from __future__ import annotations

import json


def printable(text: str) -> str:
    """The text with everything that is no character to be seen written as JSON writes it, such as ``\\u001b``.

    Inside JSON that changes nothing of what it means: such characters stand in strings alone.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
