"""Which commands a device has run, in memory."""

from __future__ import annotations

from typing import Final

from ..messages import Done

KEPT: Final = 1000
"""Answers that are kept. The gateway asks for one at a time and never goes back, so one would nearly do."""
FORGOTTEN: Final = "this command was run before; its answer is no longer kept"
INTERRUPTED: Final = "the device was restarted while it ran this command, which is not run again"


class MemoryJournal:
    """See Journal; for devices that forget everything when they end."""

    def __init__(self) -> None:
        self._answers: dict[int, Done] = {}
        self._highest_forgotten = 0

    def earlier(self, id: int) -> Done | None:
        """See Journal."""
        if id <= self._highest_forgotten:
            return Done(id, error=FORGOTTEN)
        return self._answers.get(id)

    def begin(self, id: int) -> None:
        """See Journal."""
        self._answers[id] = Done(id, error=INTERRUPTED)
        while len(self._answers) > KEPT:
            oldest = min(self._answers)
            del self._answers[oldest]
            self._highest_forgotten = oldest

    def finish(self, done: Done) -> None:
        """See Journal."""
        self._answers[done.id] = done
