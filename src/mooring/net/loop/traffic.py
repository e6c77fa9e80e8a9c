"""What goes through a loop, counted."""

from __future__ import annotations

import threading
from collections import Counter

from ..connection.life import CloseReason


class Traffic:
    """Counts of one loop. ``_lock`` guards what several threads count; the leader counts alone what it reads.

    Attributes:
        messages, bytes_received: read.
        sent, sent_bytes: left, without the replies of calls, which are counted where they are made.
        dropped: could not leave any more.
        beats: heartbeats sent.
        closed: ends, by reason.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.bytes_received = 0
        self.sent = 0
        self.sent_bytes = 0
        self.dropped = 0
        self.beats = 0
        self.closed: Counter[CloseReason] = Counter()
        self._lock = threading.Lock()

    def count_dropped(self) -> None:
        """A message or reply could not leave any more."""
        with self._lock:
            self.dropped += 1

    def count_sent(self, messages: int, size: int) -> None:
        """So many messages and bytes leave that are not replies of a call that has just ended."""
        lock = self._lock
        lock.acquire()  # not `with`, whose end takes longer in CPython 3.11 than the counting
        try:
            self.sent += messages
            self.sent_bytes += size
        finally:
            lock.release()

    def count_received(self, messages: int, size: int) -> None:
        """So many messages and bytes were read by a thread other than the loop's."""
        with self._lock:
            self.messages += messages
            self.bytes_received += size
