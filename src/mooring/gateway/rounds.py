"""Makes the gateway's rounds: who is here is written, and who is somewhere else by now is sent away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from .outage import Outage
from .presence import Presence
from .roll_call import RollCall

INTERVAL: Final = 0.3
"""Seconds between two rounds: a login is seen by every other server within a second."""
FULL_INTERVAL: Final = 10.0
"""Seconds between two rounds of everything: as much may be missing of ``last_seen_at`` after a crash."""
LOOK_SHARE: Final = 0.05
"""Of the time that may go into looks for logins: while a fleet comes back they read many, and its logins come first."""
LONGEST_REST: Final = 1.0
"""Seconds after a look in which there is no other, at most, however long it took."""


class Rounds:
    """Most rounds are of those who have just logged in, here or elsewhere; one every 10 s is of all.

    Used by one thread.

    Args:
        presence: what is written.
        roll_call: what is read.
        clock: monotonic seconds.
    """

    def __init__(self, presence: Presence, roll_call: RollCall, clock: Callable[[], float] = time.monotonic) -> None:
        self._presence = presence
        self._roll_call = roll_call
        self._clock = clock
        self._full_at = clock() + FULL_INTERVAL
        self._look_at = clock()
        self._outage = Outage(logging.INFO, "who is here can be neither written nor read")

    def make(self) -> None:
        """Make one round."""
        now = self._clock()
        with self._outage.tolerated():
            if now < self._full_at:
                self._presence.write_logins()
                self._look()
            else:
                self._full_at = now + FULL_INTERVAL
                self._presence.write()
                self._roll_call.call()

    def end(self) -> None:
        """Write who was here until now."""
        with self._outage.tolerated():
            self._presence.write()

    def _look(self) -> None:
        began = self._clock()
        if began >= self._look_at:
            self._roll_call.look()
            self._look_at = began + min(LONGEST_REST, (self._clock() - began) / LOOK_SHARE)
