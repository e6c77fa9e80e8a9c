"""The last lines of the log, for those who look at the page; and the level that is logged, changed for a while."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from .records import Event

KEPT: Final = 200
LONGEST: Final = 1000
"""Characters of a line that are kept."""

PACKAGE: Final = "mooring"


class LastLines(logging.Handler):
    """Keeps the last records of INFO and above; older ones are forgotten. The handler's own lock guards the lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[Event] = deque(maxlen=KEPT)
        self._number = 0

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler; called with the lock held."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string of somebody's must not come back to him here
            text = str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text} ({record.exc_info[1]!r})"
        self._number += 1
        level = record.levelname.lower()
        self._lines.append(Event(self._number, record.created, level, record.name, text[:LONGEST]))

    def after(self, number: int) -> list[Event]:
        """The lines with a greater number, the oldest first."""
        self.acquire()
        try:
            return [line for line in self._lines if line.number > number]
        finally:
            self.release()


class LogLevel:
    """The level of the logger ``mooring``, which may be changed for a while. Belongs to the admin side's thread.

    Args:
        call_later: ``(seconds, function)`` to a function that takes it back.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Callable[[], None]]) -> None:
        self._call_later = call_later
        self._logger = logging.getLogger(PACKAGE)
        self._before: int | None = None
        self._take_back: Callable[[], None] | None = None

    @property
    def name(self) -> str:
        """What is logged now."""
        return logging.getLevelName(self._logger.getEffectiveLevel()).lower()

    def set(self, level: str, seconds: float) -> None:
        """Log from this level on, for so long; then as before."""
        if self._take_back is not None:
            self._take_back()
        if self._before is None:
            self._before = self._logger.level
        self._logger.setLevel(level.upper())
        self._take_back = self._call_later(seconds, self.restore)

    def restore(self) -> None:
        """Log as before."""
        if self._before is not None:
            self._logger.setLevel(self._before)
        self._before = self._take_back = None
