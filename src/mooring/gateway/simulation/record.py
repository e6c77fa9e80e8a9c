"""What a simulated device pushed and what became of it: enough to hold the database against it afterwards."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..times import to_text


class Record:
    """Each seq from ``first`` to below ``following`` is in one of three states: unacknowledged, refused, acknowledged.

    Content and time of a push follow from name and seq alone, so nothing else has to be kept.

    Args:
        name: the device's.
        interval: seconds between two pushes, by the device's clock.

    Attributes:
        unacknowledged: seq -> when it was made (monotonic seconds), in the order of seqs.
        refused: those that the gateway will never take.
    """

    def __init__(self, name: str, interval: float) -> None:
        self.name = name
        self.interval = interval
        self.first = self.following = 0
        self.began_at = 0.0
        self.unacknowledged: dict[int, float] = {}
        self.refused: set[int] = set()

    @property
    def has_begun(self) -> bool:
        """Whether it is known where the device goes on."""
        return self.first > 0

    def begin(self, last_seq: int, now: float) -> None:
        """Go on after what is stored already; ``now`` is Unix time."""
        self.first = self.following = last_seq + 1
        self.began_at = round(now, 3)

    def make(self, now: float) -> int:
        """Make the next push; ``now`` is monotonic. Returns its seq."""
        seq = self.following
        self.following += 1
        self.unacknowledged[seq] = now
        return seq

    def settle(self, seq: int, *, refused: bool = False) -> float | None:
        """A push was acknowledged or refused; returns when it was made, or None if it was settled already."""
        made = self.unacknowledged.pop(seq, None)
        if made is not None and refused:
            self.refused.add(seq)
        return made

    def is_acknowledged(self, seq: int) -> bool:
        """Whether the gateway has said that this one is stored."""
        return self.first <= seq < self.following and seq not in self.unacknowledged and seq not in self.refused

    def at(self, seq: int) -> float:
        """The device's time of a push, in Unix seconds to the millisecond."""
        return round(self.began_at + (seq - self.first) * self.interval, 3)

    def data(self, seq: int) -> str:
        """The content of a push: JSON with blanks and letters that only an exact copy keeps."""
        value = zlib.crc32(f"{self.name}/{seq}".encode()) / 1000
        return f'{{"n": {seq},"value": {value:.3f}, "unit":"°C", "ok" :true}}'

    def line(self, seq: int) -> bytes:
        """The push as it goes over the wire."""
        return f'{{"op":"push","seq":{seq},"at":{self.at(seq):.3f},"data":{self.data(seq)}}}\n'.encode()


@dataclass
class Comparison:
    """What the database has of what was pushed.

    Args:
        acknowledged: pushes that were acknowledged.
        stored: rows found.
        unacknowledged: rows whose push was never acknowledged; that is allowed, the answer was lost.
        missing, altered, doubled: acknowledged pushes that are not there, rows that are not as they were sent, and
            rows that are there again. All three must be 0.
    """

    acknowledged: int = 0
    stored: int = 0
    unacknowledged: int = 0
    missing: int = 0
    altered: int = 0
    doubled: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, changed or stored twice."""
        return not (self.missing or self.altered or self.doubled)

    def add(self, record: Record, rows: Iterable[tuple[int, str, str]]) -> None:
        """Compare a device's record with its rows (seq, at, data), which come by ascending seq."""
        following = record.first
        for seq, at, data in rows:
            if seq < following:
                self.doubled += 1
                continue
            self._count_gap(record, following, seq)
            following = seq + 1
            self.stored += 1
            if at != to_text(record.at(seq)) or data != record.data(seq):
                self.altered += 1
            if record.is_acknowledged(seq):
                self.acknowledged += 1
            else:
                self.unacknowledged += 1
        self._count_gap(record, following, record.following)

    def _count_gap(self, record: Record, start: int, end: int) -> None:
        missing = sum(record.is_acknowledged(seq) for seq in range(start, end))
        self.missing += missing
        self.acknowledged += missing
