"""Markers that a cut has split in two."""

from __future__ import annotations


def size_before_partial(data: bytes, marker: bytes) -> int:
    """Return how many bytes of ``data`` stand before a ``marker`` that may have begun at its end.

    ``data`` holds no whole marker. The longest tail counts: a marker found later cannot begin any earlier, so that
    the bytes before it are certainly no part of a marker.
    """
    for size in range(min(len(marker) - 1, len(data)), 0, -1):
        if data.endswith(marker[:size]):
            return len(data) - size
    return len(data)
