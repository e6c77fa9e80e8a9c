"""Counters of what the gateway did, for statistics and tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .handler import DeviceHandler


class Counters:
    """Numbers by name that only grow. The lock guards them: adding is not atomic in every build of Python."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count one more, or several."""
        lock = self._lock
        lock.acquire()  # not `with`, whose end takes longer in CPython 3.11 than the counting; once for each push
        try:
            self._values[name] = self._values.get(name, 0) + count
        finally:
            lock.release()

    def add_refusal(self, handler: DeviceHandler, name: str) -> None:
        """Count one more, for all and for one connection."""
        with self._lock:
            self._values[name] = self._values.get(name, 0) + 1
            handler.refusals += 1

    def __getitem__(self, name: str) -> int:
        return self._values.get(name, 0)

    def snapshot(self) -> dict[str, int]:
        """All of them, now."""
        with self._lock:
            return dict(self._values)
