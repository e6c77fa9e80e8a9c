"""Whose turn it is to write: SQLite admits one writer, and lets the others poll without any order."""

from __future__ import annotations

import re
import threading
from collections import deque
from functools import lru_cache
from typing import Final

_WRITES: Final = re.compile(
    r"(?:\s|--[^\n]*+(?:\n|\Z)|/\*.*?\*/)*+"
    r"(?:(?:INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER|REINDEX|VACUUM|ANALYZE)\b|BEGIN\s+(?:IMMEDIATE|EXCLUSIVE)\b)",
    re.IGNORECASE | re.DOTALL,
)


@lru_cache(maxsize=1024)
def is_write(sql: str) -> bool:
    """Whether a statement surely needs the write lock; one that is not seen (WITH … INSERT) only loses its turn."""
    return _WRITES.match(sql) is not None


class WriteTurn:
    """A lock that is passed on in the order in which it was asked for, and may be released by any thread.

    SQLite's own busy time-out sleeps and tries again, in no order: with four writers some wait for seconds while
    others write thousands of times. ``_taken`` and ``_waiting`` are guarded by ``_mutex``.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float) -> bool:
        """Wait for the turn.

        Args:
            timeout: seconds to wait.

        Returns:
            False if it did not come in time.
        """
        with self._mutex:
            if not self._taken:
                self._taken = True
                return True
            baton = threading.Lock()
            baton.acquire()
            self._waiting.append(baton)
        try:
            if baton.acquire(timeout=timeout):
                return True
        except BaseException:
            if not self._withdraw(baton):
                self.release()
            raise
        return not self._withdraw(baton)

    def _withdraw(self, baton: threading.Lock) -> bool:
        """Leave the queue; False if the turn has come meanwhile."""
        with self._mutex:
            if baton in self._waiting:
                self._waiting.remove(baton)
                return True
            return False

    def release(self) -> None:
        """Pass the turn on."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
