"""Notices names for which several devices push each other out."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

TAKEOVERS_PER_MINUTE: Final = 3
WINDOW: Final = 60.0
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
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, name: str) -> bool:
        """Count one.

        Returns:
            Whether it is to be warned of: the name has had more than 3 in the last minute, and no warning in it.
        """
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(name, deque())
            self._times.move_to_end(name)
            if len(self._times) > MOST_NAMES:
                self._times.popitem(last=False)
            while times and times[0] <= now - WINDOW:
                times.popleft()
            times.append(now)
            if len(times) <= TAKEOVERS_PER_MINUTE:
                return False
            # One warning: the next one needs as many takeovers again.
            times.clear()
            return True
