"""Reports of tasks that run for too long: what, where, and whether the pool waits for itself."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from types import FrameType
from typing import Any

from .tasks import Task, name_of

logger = logging.getLogger("mooring.threads")

Describe = Callable[[int, Callable[..., object], tuple[object, ...]], str | None]

_WAITING_FOR_ONE = {Future.result.__code__, Future.exception.__code__}


def stuck_report(
    pool: str,
    thread: threading.Thread,
    task: Task,
    seconds: float,
    made_good: bool,
    queue: Sequence[Task],
    is_full: bool,
    describe: Describe,
) -> str:
    """For the log: the task, its route, its stack, and what it waits for if that is queued behind it."""
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame)).rstrip() if frame else "(it has just ended)"
    name, why = name_of_task(task, thread.ident or 0, describe), explain_wait(frame, queue, is_full)
    place = (
        "another thread takes its place while it lasts"
        if made_good
        else "no thread takes its place: more tasks are stuck than the pool may have threads"
    )
    return f"thread pool {pool}: {name} runs for {seconds:.1f} s in {thread.name}; {place}{why}\n{stack}"


def report_recovered(pool: str, thread: threading.Thread, seconds: float) -> None:
    """A stuck task has ended."""
    logger.warning("thread pool %s: the task in %s that was stuck has ended after %.1f s", pool, thread.name, seconds)


def name_of_task(task: Task, ident: int, describe: Describe) -> str:
    """The function's name, and what ``describe`` knows beside it; whatever goes wrong there is only logged."""
    name = name_of(task[1])
    try:
        known = describe(ident, task[1], task[2])
    except Exception:
        logger.exception("naming the task %s failed", name)
        known = None
    return f"{name} ({known})" if known else name


def explain_wait(frame: FrameType | None, queue: Sequence[Task], is_full: bool) -> str:
    """Why a task never ends that waits for a queued task of its own pool; "" if it does not."""
    queued = {id(future): function for future, function, *_ in queue if future is not None}
    for future in _awaited_by(frame):
        function = queued.get(id(future))
        if function is not None:
            threads = "all of whose threads are busy" if is_full else "whose threads are busy"
            return (
                f"; DEADLOCK: it waits for {name_of(function)}, which is queued in this same pool, {threads}; "
                "wait outside of the pool, use a second pool, or chain by add_done_callback"
            )
    return ""


def _awaited_by(frame: FrameType | None) -> Iterable[object]:
    """The futures that a thread waits for, by the frames of the standard library's waiting functions."""
    while frame is not None:
        if frame.f_code in _WAITING_FOR_ONE:
            yield frame.f_locals.get("self")
        elif frame.f_globals.get("__name__") == "concurrent.futures._base" and "fs" in frame.f_locals:
            awaited: Any = frame.f_locals["fs"]
            yield from list(awaited)
        frame = frame.f_back
