"""What every framing keeps, whatever bytes come: shared by the targets of the framings."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mooring.errors import FrameError
from mooring.framing import Framing

MOST_PIECES = 300
"""A long input comes in so many pieces instead of byte by byte."""


@dataclass(frozen=True)
class Case:
    """A framing with what it may hold.

    Args:
        framing: what is looked at.
        largest: the most bytes of a message.
        kept: the most bytes that may wait for the rest of a message, those that are known to be missing included.
        joins: whether ``join`` must take every message that ``split`` gave.
    """

    framing: Framing
    largest: int
    kept: int
    joins: bool = True


def check_streams(cases: Sequence[Case], data: bytes) -> None:
    """Only FrameError comes out, memory is bounded, and any way to cut the input gives the same.

    Raises:
        AssertionError: one of the promises is broken. Anything else: it is what came out.
    """
    for case in cases:
        check_stream(case, data)


def check_stream(case: Case, data: bytes) -> None:
    """See check_streams."""
    whole = outcome_of(case, [data], waits=False)
    for pieces in _cuts(data):
        for waits in (False, True):
            got = outcome_of(case, pieces, waits=waits)
            assert got == whole, f"{case.framing}: {len(pieces)} pieces give {got}, the whole gives {whole}"
    if case.joins:
        for message in whole[0]:
            again = case.framing.split(case.framing.join(message))[:2]
            assert again == ([message], b""), f"{case.framing}: {message!r} comes back as {again}"


def outcome_of(case: Case, pieces: Iterable[bytes], *, waits: bool) -> tuple[list[bytes], bytes | None]:
    """What the pieces give: messages, and the rest or a fault (None).

    Args:
        waits: hold back what is fewer bytes than the framing said are missing, as the server does.
    """
    messages: list[bytes] = []
    rest, needed = b"", 0
    for piece in pieces:
        rest += piece
        if waits and len(rest) < needed:
            continue
        try:
            found, rest, missing = case.framing.split(rest)
        except FrameError as exc:
            return messages + _bounded(case, exc.messages), None
        messages += _bounded(case, found)
        needed = len(rest) + missing
        assert needed <= case.kept, f"{case.framing} keeps {needed} bytes, more than {case.kept}"
    return messages, rest


def _bounded(case: Case, messages: Sequence[bytes]) -> list[bytes]:
    for message in messages:
        assert len(message) <= case.largest, f"{case.framing} gave {len(message)} bytes, more than {case.largest}"
    return list(messages)


def _cuts(data: bytes) -> list[list[bytes]]:
    """Byte by byte, and twice at random; the same input is always cut in the same way."""
    size = max(1, -(-len(data) // MOST_PIECES))
    cuts = [[data[begin : begin + size] for begin in range(0, len(data), size)]]
    chosen = random.Random(data)
    for _ in range(2):
        points = sorted(chosen.randrange(len(data) + 1) for _ in range(chosen.randint(1, 6)))
        cuts.append([data[begin:end] for begin, end in pairwise([0, *points, len(data)])])
    return cuts
