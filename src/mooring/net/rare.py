"""Log lines that a hostile or broken peer can cause: at most a few of each kind in a stretch of time."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any


class RareLog:
    """Passes on the first lines of each kind in every window and counts the rest.

    The lock guards the tables of windows and totals; the line itself is written outside it.

    Args:
        logger: where the lines go.
        burst: lines of one kind in one window.
        window: seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        burst: int = 5,
        window: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._burst = burst
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[str, list[float]] = {}  # kind -> [end of the window, lines so far]
        self._totals: Counter[str] = Counter()

    def log(self, level: int, kind: str, message: str, *args: object, **options: Any) -> None:
        """Log a line, unless this kind has had its share; the next window says how many were left out."""
        now = self._clock()
        with self._lock:
            self._totals[kind] += 1
            entry = self._kinds.get(kind)
            left_out = 0
            if entry is None or now >= entry[0]:
                left_out = max(0, int(entry[1]) - self._burst) if entry else 0
                entry = self._kinds[kind] = [now + self._window, 0]
            entry[1] += 1
            passes = entry[1] <= self._burst
            last = entry[1] == self._burst
        if left_out:
            self._logger.log(level, "%s: %d more lines were left out", kind, left_out)
        if passes:
            self._logger.log(level, message, *args, **options)
        if last:
            self._logger.log(level, "%s: further lines are left out for up to %.0f s", kind, self._window)

    def totals(self) -> dict[str, int]:
        """How often each kind occurred, lines left out included."""
        with self._lock:
            return dict(self._totals)
