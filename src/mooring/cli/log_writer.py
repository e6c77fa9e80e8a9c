"""Writing log lines in a thread of their own: a reader of stderr that has stopped reading stops nobody else."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from typing import Final, TextIO

MOST_LINES: Final = 10_000
"""Lines that may wait to be written; of more the newest are counted instead."""

LAST_WAIT: Final = 1.0
"""Seconds that the end of the process waits for them."""


class BackgroundHandler(logging.Handler):
    """Formats where the line is logged, and writes elsewhere. ``_changed`` guards the queue and the marks.

    The loop logs, too: with a plain handler a full pipe would hold it, and with it every device.

    Args:
        stream: where to write.
        limit: see MOST_LINES.
    """

    def __init__(self, stream: TextIO, limit: int = MOST_LINES) -> None:
        super().__init__()
        self._stream = stream
        self._limit = limit
        self._begin_anew()
        _handlers.add(self)

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[str] = deque()
        self._lost = 0
        self._writing = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as all handlers do it: told on stderr, the caller goes on
            self.handleError(record)
            return
        with self._changed:
            if len(self._lines) >= self._limit:
                self._lost += 1
                return
            self._lines.append(line)
            if self._thread is None:
                self._start_thread_locked()
            self._changed.notify_all()

    def _start_thread_locked(self) -> None:
        thread = threading.Thread(target=self._write_all, name="mooring-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or there is no thread to be had: the next line tries again
            return
        self._thread = thread

    def _write_all(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._thread is not me)
                if not self._lines:
                    return
                self._writing = True
                lines, self._lines = self._lines, deque()
                lost, self._lost = self._lost, 0
            if lost:
                lines.append(self._say_lost(lost))
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):
                pass  # nobody reads any more; there is no other place to say so

    def _say_lost(self, lost: int) -> str:
        text = f"{lost} log lines were lost: whoever reads this log did not keep up"
        return self.format(logging.LogRecord("mooring", logging.WARNING, __file__, 0, text, (), None))

    def flush(self) -> None:
        """Wait for what is there to be written, at most a second."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, LAST_WAIT)

    def close(self) -> None:
        """See logging.Handler: what is there is written first. A line that comes later begins anew."""
        self.flush()
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join(LAST_WAIT)
        super().close()


_handlers: weakref.WeakSet[BackgroundHandler] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    """A forked child has no such thread, and its queue is the parent's to write."""
    for handler in list(_handlers):
        handler._begin_anew()


os.register_at_fork(after_in_child=_begin_anew_in_child)
