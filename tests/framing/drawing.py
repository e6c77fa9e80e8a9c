"""Bytes that the documentation draws, for tests that hold it to its word."""

from __future__ import annotations

import inspect


def drawn(documented: object, line: str) -> bytes:
    """Return the bytes written as ``line``, which must stand in the docstring just so."""
    assert line in (inspect.getdoc(documented) or ""), f"{line} is not drawn in the documentation of {documented}"
    return bytes.fromhex(line.replace("|", ""))
