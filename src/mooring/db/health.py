"""What a pool knows of its database's health, and how often it asks. Pure: time comes in as a number."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

RETRY_INTERVAL: Final = 0.2
FATAL_RETRY_INTERVAL: Final = 1.0
LONGEST_PAUSE: Final = 5.0
REMINDER_INTERVAL: Final = 60.0
UNAVAILABLE_AFTER: Final = 300.0


@dataclass
class Health:
    """UP -> DOWN -> UP; guarded by the ledger's mutex.

    Args:
        down_since: when the first attempt that failed began; None while the last one succeeded.
        fatal: trying again does not help until somebody does something.
        failures: attempts that failed in a row.
        error, detail: of the last one.
    """

    down_since: float | None = None
    last_attempt: float = 0.0
    fatal: bool = False
    failures: int = 0
    error: Exception | None = None
    detail: str = ""
    reminded_at: float = 0.0
    was_called_unavailable: bool = False

    @property
    def is_down(self) -> bool:
        """Whether the last attempt to connect failed."""
        return self.down_since is not None

    def down_for(self, now: float) -> float:
        """Seconds of absence; less than none while the database is there."""
        return now - self.down_since if self.down_since is not None else -1.0

    def note_success(self) -> bool:
        """The database answers; True if it did not before."""
        was_down = self.is_down
        self.down_since, self.fatal, self.failures, self.was_called_unavailable = None, False, 0, False
        return was_down

    def note_failure(self, started: float, now: float, error: Exception, detail: str, *, fatal: bool) -> None:
        """An attempt failed."""
        if self.down_since is None:
            self.down_since = started
        self.failures += 1
        self.last_attempt, self.error, self.detail, self.fatal = now, error, detail, fatal

    def trial_interval(self) -> float:
        """Seconds between attempts that callers of a database that has been away for long make themselves."""
        return FATAL_RETRY_INTERVAL if self.fatal else RETRY_INTERVAL

    def pause(self, *, awaited: bool) -> float:
        """Seconds until the next attempt.

        Args:
            awaited: callers wait for the outcome; else the pauses grow, at random, up to 5 s.
        """
        if awaited:
            return RETRY_INTERVAL
        return random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, 0.25 * 2.0 ** min(self.failures, 10))

    def is_due_for_reminder(self, now: float) -> bool:
        """Whether the log shall be told again; True at the first failure, and then once a minute."""
        if self.failures > 1 and now - self.reminded_at < REMINDER_INTERVAL:
            return False
        self.reminded_at = now
        return True

    def becomes_unavailable(self, now: float) -> bool:
        """True once, when the absence has lasted for five minutes."""
        if self.was_called_unavailable or self.down_for(now) < UNAVAILABLE_AFTER:
            return False
        self.was_called_unavailable = True
        return True
