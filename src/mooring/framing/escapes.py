"""Byte stuffing: bytes with a meaning for the framing are replaced wherever they occur in a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from mooring.errors import FrameError


class Escapes:
    """Replaces single bytes by longer sequences and back.

    Args:
        replacements: for each byte the sequence that stands for it on the wire, such as ``{b"\\x7e": b"\\x7d\\x02",
            b"\\x7d": b"\\x7d\\x01"}``. Each sequence begins with a byte that is itself replaced, so that this byte
            announces an escape wherever it stands; no sequence is the beginning of another.

    Raises:
        ValueError: the replacements could not be undone without doubt.
    """

    __slots__ = ("_announced", "_originals", "_replaced", "_replacements")

    def __init__(self, replacements: Mapping[bytes, bytes]) -> None:
        _require_reversible(replacements)
        self._replacements = dict(replacements)
        self._originals = {sequence: byte for byte, sequence in replacements.items()}
        leads = {sequence[:1] for sequence in self._originals}
        self._replaced = re.compile(b"|".join(map(re.escape, self._replacements)))
        # The lead bytes alone come last: they match where no known sequence follows, that is, in malformed input.
        self._announced = re.compile(b"|".join(map(re.escape, [*self._originals, *leads])))

    def encode(self, message: bytes) -> bytes:
        """Return ``message`` as it stands on the wire."""
        return self._replaced.sub(lambda match: self._replacements[match[0]], message)

    def decode(self, content: bytes) -> bytes:
        """Return the message that stands on the wire as ``content``; FrameError for an escape that nobody knows."""
        try:
            return self._announced.sub(lambda match: self._originals[match[0]], content)
        except KeyError:
            pass
        self.unfinished_size(content)
        raise FrameError(f"the frame ends within an escape: ... {content[-8:].hex(' ')}")

    def unfinished_size(self, content: bytes) -> int:
        """Return how many bytes of message the beginning of a frame holds at least.

        Raises:
            FrameError: it holds an escape that nobody knows; one that is merely not complete yet counts as one byte.
        """
        size = len(content)
        for match in self._announced.finditer(content):
            if match[0] in self._originals:
                size -= len(match[0]) - 1
                continue
            tail = content[match.start() :]
            if not any(sequence.startswith(tail) for sequence in self._originals):
                raise FrameError(f"unknown escape {tail[:4].hex(' ')}")
            return size - len(tail) + 1
        return size


def _require_reversible(replacements: Mapping[bytes, bytes]) -> None:
    if not replacements:
        raise ValueError("escapes must not be empty; leave them out")
    for byte, sequence in replacements.items():
        if not isinstance(byte, bytes) or not isinstance(sequence, bytes):
            raise TypeError("escapes must map bytes to bytes, such as {b'\\x7d': b'\\x7d\\x01'}")
        if len(byte) != 1:
            raise ValueError(f"escapes replace single bytes, not {byte!r}")
        if len(sequence) < 2 or sequence[:1] not in replacements:
            raise ValueError(
                f"{byte!r} is replaced by {sequence!r}, which must have two bytes or more and begin with a byte that "
                "is itself replaced, or it could not be told from the same bytes in a message"
            )
    sequences = sorted(replacements.values())
    for first, second in pairwise(sequences):
        if second.startswith(first):
            raise ValueError(f"the replacements {first!r} and {second!r} cannot be told from each other")
