"""What a process does at this moment, for the log: counters, pools, and where each thread is. Made on USR2."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import Server

logger = logging.getLogger("mooring")

MOST_FRAMES = 20
MOST_THREADS = 200


def log_dump(servers: Sequence[Server]) -> None:
    """Write the state of these servers and the stacks of all threads to the log, at level warning."""
    for server in servers:
        logger.warning("dump of %s", _server(server))
    logger.warning("dump of the threads\n%s", stacks())


def _server(server: Server) -> str:
    stats = server.stats()
    lines = [f"{server!r}", "  " + _pairs(stats, leave_out=("threads", "listeners"))]
    for one in stats.listeners:
        lines.append(f"  {one.address}: {'accepting' if one.accepting else 'suspended'}, accepted {one.accepted}")
    if stats.threads is not None:
        lines.append("  thread pool: " + _pairs(stats.threads))
        busy = [info for info in server.threads.dump() if info.task]
        lines += [f"    {one.name}: {one.task} for {one.seconds:.3f} s{' (stuck)' * one.stuck}" for one in busy]
    if server.database is not None:
        lines.append("  database: " + _pairs(server.database.stats()))
    return "\n".join(lines)


def _pairs(stats: Any, leave_out: Sequence[str] = ()) -> str:
    pairs = ((field.name, getattr(stats, field.name)) for field in dataclasses.fields(stats))
    return ", ".join(f"{name} {_value(value)}" for name, value in pairs if name not in leave_out and _is_short(value))


def _is_short(value: Any) -> bool:
    """Histograms are for other readers."""
    return not dataclasses.is_dataclass(value)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {count}" for key, count in value.items()) + "}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def stacks() -> str:
    """Where each thread is, the innermost frames of each."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = sys._current_frames()
    parts = []
    for number, frame in list(found.items())[:MOST_THREADS]:
        stack = traceback.format_stack(frame)[-MOST_FRAMES:]
        parts.append(f"thread {names.get(number, '(not started by Python)')} {number}\n" + "".join(stack).rstrip())
    if len(found) > MOST_THREADS:
        parts.append(f"and {len(found) - MOST_THREADS} more threads")
    return "\n".join(parts)
