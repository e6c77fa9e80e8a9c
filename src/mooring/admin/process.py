"""Numbers of this process, from /proc and the interpreter."""

from __future__ import annotations

import os
import platform
import resource
import sys
import sysconfig
import threading
import time
from typing import Final

from .. import __version__
from .records import Process

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessMeter:
    """Reads the numbers; remembers the last ones for rates.

    Args:
        settings: where they come from, in words; "" if there are none.
    """

    def __init__(self, settings: str = "") -> None:
        self._settings = settings
        self._started_at = time.time()
        self._before = (time.monotonic(), time.process_time())
        self._share = 0.0

    def read(self, longest_slice: float) -> Process:
        """The process now.

        Args:
            longest_slice: seconds that the admin side's thread ran without a sleep, at most.
        """
        now, cpu = time.monotonic(), time.process_time()
        before = self._before
        if now - before[0] >= 0.5:
            self._share = (cpu - before[1]) / (now - before[0])
            self._before = (now, cpu)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Process(
            pid=os.getpid(),
            version=__version__,
            python=platform.python_version(),
            gil=has_gil(),
            settings=self._settings,
            started_at=self._started_at,
            cpu=cpu,
            cpu_share=self._share,
            memory=resident_memory(),
            descriptors=open_descriptors(),
            descriptor_limit=limit,
            threads=threading.active_count(),
            admin_longest_slice=longest_slice,
        )


def has_gil() -> bool:
    """Whether one thread at a time runs Python code in this process."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return True
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def resident_memory() -> int:
    """Bytes."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_descriptors() -> int:
    """How many descriptors are open; 0 where the system does not tell.

    Since Linux 6.2 the size of the folder is their number; before, 15,000 of them take milliseconds to list.
    """
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
