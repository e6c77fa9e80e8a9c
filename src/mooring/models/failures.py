"""Which exceptions the handlers raised: grouped by where they came from, counted, each with one sample."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import text_of

MOST_GROUPS: Final = 64
LONGEST_SAMPLE: Final = 8192
"""Characters of a traceback that are kept: its end, which says what happened."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of exception, from one place.

    Attributes:
        id: stays the same for the same place.
        error: the exception's type.
        text: its text, of the first one.
        place: the line that raised it.
        count: how often.
        first_at, last_at: Unix time in seconds.
        sample: the traceback of the first one.
    """

    id: str
    error: str
    text: str
    place: str
    count: int
    first_at: float
    last_at: float
    sample: str


class Failures:
    """Groups exceptions by their type and the lines that they passed. ``_lock`` guards the groups.

    Args:
        clock: Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: dict[int, _Group] = {}
        self.total = 0

    def note(self, exc: BaseException) -> None:
        """Count one more; beyond 64 groups a new one is only counted in ``total``."""
        lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(exc.__traceback__)]
        key = hash((type(exc).__module__, type(exc).__qualname__, *lines))
        now = self._clock()
        with self._lock:
            self.total += 1
            group = self._groups.get(key)
            if group is not None:
                group.count += 1
                group.last_at = now
                return
            if len(self._groups) >= MOST_GROUPS:
                return
        sample = "".join(traceback.format_exception(exc)).rstrip()[-LONGEST_SAMPLE:]
        place = "{}:{}".format(*lines[-1]) if lines else ""
        fresh = _Group(type(exc).__qualname__, text_of(exc)[:500], place, now, sample)
        with self._lock:
            # Another thread may have brought the same one meanwhile.
            group = self._groups.setdefault(key, fresh)
            group.count += 1
            group.last_at = now

    def groups(self) -> list[Failure]:
        """All of them, the latest first."""
        with self._lock:
            found = [group.failure(key) for key, group in self._groups.items()]
        return sorted(found, key=lambda failure: -failure.last_at)


class _Group:
    __slots__ = ("count", "error", "first_at", "last_at", "place", "sample", "text")

    def __init__(self, error: str, text: str, place: str, now: float, sample: str) -> None:
        self.error = error
        self.text = text
        self.place = place
        self.count = 0
        self.first_at = self.last_at = now
        self.sample = sample

    def failure(self, key: int) -> Failure:
        return Failure(
            id=f"{key & 0xFFFFFFFFFFFFFFFF:016x}",
            error=self.error,
            text=self.text,
            place=self.place,
            count=self.count,
            first_at=self.first_at,
            last_at=self.last_at,
            sample=self.sample,
        )
