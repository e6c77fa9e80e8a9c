"""The end of serving: over how long connections are closed, how long that is waited for, and what is left then."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import traceback

from ..models.serving import Serving
from ..net.loop.loop import Loop
from ..threads import ThreadPool

logger = logging.getLogger("mooring")

SPREAD_PER_CONNECTION = 0.002
"""Seconds: 500 devices a second come back, to the next process or to another one."""
FORCED_END = 5.0
"""Seconds that a stop whose time is over waits for the loop to reset what is left."""
LAST_CALLS = 2.0
"""Seconds that connections have to hear of their end, in the pool, when the loop has failed."""


def check_times(**times: float | None) -> None:
    """Seconds of ``stop`` by their names; None where there is none.

    Raises:
        ValueError: negative or endless.
    """
    for name, seconds in times.items():
        if seconds is not None and not 0 <= seconds < math.inf:
            raise ValueError(f"stop(): {name} is {seconds!r}; it must be 0 or more seconds")


def usual_spread(connections: int, timeout: float | None) -> float:
    """Seconds over which so many connections are closed if nobody says otherwise; at most half of ``timeout``."""
    wanted = SPREAD_PER_CONNECTION * connections
    return wanted if timeout is None else min(wanted, timeout / 2)


def wait_for_end(loop: Loop, serving: Serving, ended: threading.Event, timeout: float | None) -> None:
    """Wait for a loop that was told to stop; when the time is over, say what holds it up and reset that.

    Args:
        loop, serving: what ends.
        ended: set at the loop's end.
        timeout: seconds; None: no limit.
    """
    if ended.wait(timeout):
        return
    _report_stuck(loop, serving, timeout or 0.0)
    loop.abort_all()
    ended.wait(FORCED_END)


def _report_stuck(loop: Loop, serving: Serving, timeout: float) -> None:
    left = loop.unfinished()
    count = len(left) + len(loop.arrivals.openings)
    logger.warning("stop: %d connections did not end within %g s; they are reset", count, timeout)
    for thread, connection, frame in serving.running():
        stack = "".join(traceback.format_stack(frame)).rstrip()
        logger.warning("stop: the handler of %r still runs in thread %d:\n%s", connection, thread, stack)


def wait_for_last_calls(pool: ThreadPool) -> None:
    """Let the pool run what a loop that failed has left in its queue; one that ends in order waits for every `lost`."""
    with contextlib.suppress(RuntimeError):  # in a task of the pool, which would wait for itself
        pool.wait_for_completion(LAST_CALLS)


def close_queued(loop: Loop, serving: Serving) -> None:
    """The pool has dropped its queue: close what waited in it; whose handlers still run are closed by their threads."""
    if loop.unfinished():
        loop.release_queued({connection for _, connection, _ in serving.running()})
