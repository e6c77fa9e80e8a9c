"""Other servers of the same user on this machine, each a process of its own: what they use, and where their page is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from .records import Neighbour

LOOK_EVERY: Final = 5.0
MOST: Final = 50

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

Find: TypeAlias = Callable[[], Iterable[tuple[int, str]]]
"""The processes that are known, ours included: number, and where the admin side is."""


class Neighbours:
    """Looks at them every five seconds. Belongs to the admin side's thread.

    Args:
        find: knows who they are.
        clock: monotonic seconds.
    """

    def __init__(self, find: Find, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._looked_at: float | None = None
        self._cpu: dict[int, float] = {}
        self._found: list[Neighbour] = []

    def look(self) -> list[Neighbour]:
        """All that run, as they were at the last look."""
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
            seconds = now - self._looked_at if self._looked_at is not None else 0.0
            self._looked_at = now
            self._found = self._look(seconds)
        return self._found

    def _look(self, seconds: float) -> list[Neighbour]:
        found, spent = [], {}
        for pid, url in sorted(self._find())[:MOST]:
            if pid == os.getpid():
                continue
            try:
                cpu, threads, memory, descriptors = _read(pid)
            except (OSError, ValueError, IndexError):
                continue  # it has ended this moment
            spent[pid] = cpu
            before = self._cpu.get(pid)
            share = max(0.0, cpu - before) / seconds if before is not None and seconds > 0 else None
            found.append(Neighbour(pid, url, share, memory, descriptors, threads))
        self._cpu = spent
        return found


def _read(pid: int) -> tuple[float, int, int, int]:
    """Seconds of CPU, threads, bytes of memory and descriptors; see proc(5)."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    pages = int((folder / "statm").read_text().split()[1])
    place = folder / "fd"
    descriptors = place.stat().st_size or len(os.listdir(place))
    return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[17]), pages * _PAGE, descriptors
