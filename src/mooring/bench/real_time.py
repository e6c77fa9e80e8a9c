"""A load at fixed times goes before all others on its core: what it is late by would be taken for the server's."""

from __future__ import annotations

import os


def goes_first() -> bool:
    """Become a real-time process, if that is permitted (CAP_SYS_NICE); returns whether it is.

    A kernel that preempts lazily (Linux since 6.13) lets others who compute on the same core, such as abusers or the
    database, go on until the next tick, 4 ms, when a request is due or an answer comes for us from another core,
    however low their priority is. That would be taken for the server's doing. It makes an exception for real-time
    processes.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True
