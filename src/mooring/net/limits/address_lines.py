"""Lines about what single addresses did, at a bounded rate and in a form that fail2ban reads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ..address import unpack_address

WINDOW: Final = 60.0
MOST_LINES: Final = 100
"""Lines in a window: of 100 different offenders, or of one that did 100 different things."""


class AddressLines:
    """Logs ``WHAT from ADDRESS: WHY``, each once a minute, and at most so many different ones a minute.

    One address that floods cannot take the lines of the others, as its own is written once. ``_lock`` guards the table
    of this minute and the count of what was left out; the lines are written outside it.

    Args:
        logger: where the lines go.
        clock: monotonic seconds.
    """

    def __init__(self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._told: set[tuple[str, str, str]] = set()
        self._left_out = 0
        self._window_ends = 0.0

    def log(self, level: int, what: str, packed: Any, why: str, detail: str = "") -> None:
        """Log a line.

        Args:
            level: of logging.
            what: what happened, a phrase of ours.
            packed: whose address; without its port in the line.
            why: a word of ours; with the address and ``what`` it is what makes a line new.
            detail: figures and the setting's name.
        """
        key = (what, host_of(packed), why)
        now = self._clock()
        with self._lock:
            left_out = 0
            if now >= self._window_ends:
                self._window_ends = now + WINDOW
                self._told.clear()
                left_out, self._left_out = self._left_out, 0
            is_new = key not in self._told and len(self._told) < MOST_LINES
            if is_new:
                self._told.add(key)
            else:
                self._left_out += 1
        if left_out:
            self._logger.log(level, "%d more lines about single addresses were left out", left_out)
        if is_new:
            self._logger.log(level, "%s from %s: %s%s", *key, f" ({detail})" if detail else "")


def host_of(packed: Any) -> str:
    """The bare address: what an operator, or fail2ban, puts into a firewall. Unix sockets have none."""
    return unpack_address(packed).host or "unix"
