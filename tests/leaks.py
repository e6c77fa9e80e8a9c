"""Which descriptors and threads there are now that were not there before."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable


class Leaks:
    """Remembers the open descriptors and live threads of the moment in which it is made."""

    def __init__(self) -> None:
        self._descriptors = open_descriptors()
        self._threads = set(threading.enumerate())

    def wait_for_none(self, timeout: float) -> str:
        """Give what is on its way out up to ``timeout`` seconds; "" or a report on what is left over."""
        if not self._wait_until_gone(0.05):
            gc.collect()  # what only the garbage collector would close is not lost, if it warns of nothing
        return "" if self._wait_until_gone(timeout) else self._report()

    def _wait_until_gone(self, timeout: float) -> bool:
        return _poll(lambda: not self._new_descriptors() and not self._new_threads(), timeout)

    def _new_descriptors(self) -> dict[int, str]:
        return {number: target for number, target in open_descriptors().items() if number not in self._descriptors}

    def _new_threads(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in self._threads]

    def _report(self) -> str:
        lines = ["left over after the test:"]
        lines += [f"descriptor {number}: {target}" for number, target in self._new_descriptors().items()]
        frames = sys._current_frames()
        for thread in self._new_threads():
            lines.append(f"thread {thread.name}{' (daemon)' if thread.daemon else ''}:")
            frame = frames.get(thread.ident or 0)
            lines += [line.rstrip() for line in traceback.format_stack(frame)] if frame else ["  (just ended)"]
        return "\n".join(lines)


def open_descriptors() -> dict[int, str]:
    """The descriptors of this process and what they stand for, as the kernel names it."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one by which the folder itself was read, or one closed this moment
    return found


def _poll(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
