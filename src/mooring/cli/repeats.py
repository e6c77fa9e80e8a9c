"""The same log line again and again: the first ones are written, the others counted."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

WINDOW: Final = 60.0
MOST_LINES: Final = 1000
"""Different lines that are remembered; of more the oldest are forgotten."""


class RepeatFilter(logging.Filter):
    """Lets a line pass so many times within a minute; the next minute says how many were left out.

    Two lines are the same if logger, level and text are; the prefix that tells which connection it is does not count,
    so that ten thousand devices with the same trouble are one. ``_lock`` guards the table.

    Args:
        most: how often.
        clock: monotonic seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, int, str], list[float]] = OrderedDict()  # -> [end of its minute, count]

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the line is broken; logging itself reports that, and the caller goes on
            return True
        prefix = getattr(record, "prefix", "")
        key = (record.name, record.levelno, text.removeprefix(prefix))
        now = self._clock()
        with self._lock:
            entry = self._seen.get(key)
            left_out = 0
            if entry is None or now >= entry[0]:
                left_out = max(0, int(entry[1]) - self._most) if entry else 0
                entry = self._seen[key] = [now + WINDOW, 0]
                self._seen.move_to_end(key)
                if len(self._seen) > MOST_LINES:
                    self._seen.popitem(last=False)
            entry[1] += 1
            count = entry[1]
        if left_out:
            self._append(record, text, f"({left_out} more of these were left out before)")
        elif count == self._most and self._most > 1:
            self._append(record, text, f"(further ones are left out for up to {WINDOW:.0f} s)")
        return count <= self._most

    @staticmethod
    def _append(record: logging.LogRecord, text: str, remark: str) -> None:
        record.msg, record.args = f"{text} {remark}", ()
