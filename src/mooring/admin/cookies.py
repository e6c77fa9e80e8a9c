"""Reading one cookie, in one pass over the header.

The standard library's parser undoes the quotes of every value, which in Python before 3.11.10 and 3.12.6 takes time by
the square of its length (CVE-2024-7592): half a second for a header that we take from anybody.
"""

from __future__ import annotations


def cookie_of(header: str, name: str) -> str | None:
    """The value of the first cookie of this name, as it stands there; None if there is none.

    Args:
        header: what the browser sent as ``Cookie``.
    """
    for pair in header.split(";"):
        found, equals, value = pair.partition("=")
        if equals and found.strip() == name:
            return value.strip()
    return None
