"""Notices names for which several devices push each other out, and slows them down."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

TAKEOVERS_PER_MINUTE: Final = 3
WINDOW: Final = 60.0
PAUSE: Final = 15.0
"""Seconds that a name which changes hands too often stays with whoever has it."""
MOST_NAMES: Final = 10_000
"""Names remembered; beyond it the one whose last takeover is the longest ago is forgotten."""


class Takeovers:
    """Counts by name how often a newer login has closed an older connection. The lock guards the table.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._names: OrderedDict[str, _Name] = OrderedDict()

    def pause(self, name: str, *, is_here: bool) -> float:
        """Seconds for which this name cannot be taken over: 0.0, unless it has changed hands too often of late.

        Args:
            is_here: a connection to this server has the name; else it can only be that another server took it over.
        """
        with self._lock:
            entry = self._names.get(name)
            if entry is None:
                return 0.0
            now = self._clock()
            entry.forget(now - WINDOW)
            if len(entry.times) <= TAKEOVERS_PER_MINUTE or not (is_here or entry.is_elsewhere):
                return 0.0
            return max(0.0, entry.times[-1] + PAUSE - now)

    def note(self, name: str, *, elsewhere: bool = False) -> bool:
        """Count one.

        Args:
            elsewhere: the newer login is another server's.

        Returns:
            Whether it is to be warned of: the name has had more than 3 in the last minute, and no warning in it.
        """
        now = self._clock()
        with self._lock:
            entry = self._names.setdefault(name, _Name())
            self._names.move_to_end(name)
            if len(self._names) > MOST_NAMES:
                self._names.popitem(last=False)
            entry.forget(now - WINDOW)
            entry.times.append(now)
            entry.is_elsewhere = elsewhere
            if len(entry.times) <= TAKEOVERS_PER_MINUTE or now < entry.warned_at + WINDOW:
                return False
            entry.warned_at = now
            return True


class _Name:
    __slots__ = ("is_elsewhere", "times", "warned_at")

    def __init__(self) -> None:
        self.times: deque[float] = deque()
        self.is_elsewhere = False  # by the last of them
        self.warned_at = float("-inf")

    def forget(self, before: float) -> None:
        while self.times and self.times[0] <= before:
            self.times.popleft()
