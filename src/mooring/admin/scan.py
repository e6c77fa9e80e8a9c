"""Looking at all connections of a server, in slices: who is silent for how long, and whose bytes wait."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..net.connection.connection import Connection
from .slices import Slices

BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0)
"""Seconds of silence: the classes of the histogram."""

SOONEST: Final = 5


@dataclass
class Scan:
    """What was seen.

    Attributes:
        at: monotonic seconds of the look.
        silence: connections by BOUNDS, and those beyond.
        late: those silent for longer than they should be.
        soonest: the longest silent ones.
        waiting: bytes that peers have not taken, of ``waiting_connections``.
    """

    at: float = 0.0
    count: int = 0
    silence: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    late: int = 0
    soonest: list[tuple[float, int, Connection]] = field(default_factory=list)
    waiting: int = 0
    waiting_connections: int = 0


async def scan(pieces: Iterable[Sequence[Connection]], late_after: float | None, slices: Slices, now: float) -> Scan:
    """Look at each connection once.

    Args:
        pieces: the connections, as many at a time as may be looked at without a pause.
        late_after: seconds of silence from which on a connection is late; None: never.
        slices: the work's.
        now: monotonic seconds.
    """
    found = Scan(at=now)
    limit = math.inf if late_after is None else late_after
    for piece in pieces:
        if piece:
            _note(found, piece, limit)
        await slices.breathe()
    return found


def _note(found: Scan, piece: Sequence[Connection], limit: float) -> None:
    received = sorted([connection._last_received for connection in piece])
    # Ascending times of the last bytes are descending silences.
    before = len(received)
    found.count += before
    for index, bound in enumerate(BOUNDS):
        place = bisect_right(received, found.at - bound, 0, before)
        found.silence[index] += before - place
        before = place
    found.silence[-1] += before
    found.late += bisect_right(received, found.at - limit)
    _note_waiting(found, [size for connection in piece if (size := connection._outbox_size)])
    _note_soonest(found, piece, received)


def _note_waiting(found: Scan, sizes: list[int]) -> None:
    found.waiting += sum(sizes)
    found.waiting_connections += len(sizes)


def _note_soonest(found: Scan, chunk: Sequence[Connection], received: list[float]) -> None:
    worst = found.soonest[-1][0] if len(found.soonest) == SOONEST else math.inf
    if received[0] >= worst:
        return
    limit = received[min(SOONEST, len(received)) - 1]
    near = [(one._last_received, one.id, one) for one in chunk if one._last_received <= limit][: 4 * SOONEST]
    found.soonest = sorted([*found.soonest, *near])[:SOONEST]
