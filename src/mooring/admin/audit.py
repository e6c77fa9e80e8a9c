"""The audit log: who did what by the admin API, and what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any, Final

from .auth import Allowance
from .records import AuditEntry

KEPT: Final = 200

STRANGERS: Final = 10
STRANGERS_TIME: Final = 60.0
"""So many lines about one address that nobody knows in so many seconds."""

logger = logging.getLogger("mooring.audit")


class Audit:
    """Writes every control to the logger ``mooring.audit`` and keeps the last ones. ``_lock`` guards these."""

    def __init__(self) -> None:
        logger.setLevel(logging.INFO)  # whatever the level of the others is
        self._lock = threading.Lock()
        self._entries: deque[AuditEntry] = deque(maxlen=KEPT)
        self._strangers = Allowance(STRANGERS, STRANGERS_TIME)

    def note(self, who: str, action: str, arguments: dict[str, Any], result: str) -> None:
        """Something was done, or refused.

        Args:
            who: role and address.
            action: the operation's name.
            arguments: what it was called with; no secrets.
            result: in words.
        """
        with self._lock:
            self._entries.append(AuditEntry(time.time(), who, action, arguments, result))
        text = " ".join(f"{name}={value!r}" for name, value in arguments.items())
        logger.info("%s by %s%s: %s", action, who, f" ({text[:500]})" if text else "", result)

    def note_stranger(self, address: str, action: str, result: str) -> None:
        """Somebody who is not let in was refused. Told now and then only: what strangers do must not push out of the
        log what others did."""
        with self._lock:
            is_one_too_many = self._strangers.wait_of(address) > 0
            if not is_one_too_many:
                self._strangers.take(address)
        if not is_one_too_many:
            self.note(address, action, {}, result)

    def entries(self) -> list[AuditEntry]:
        """The last ones, the latest first."""
        with self._lock:
            return list(reversed(self._entries))
