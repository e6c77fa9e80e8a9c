"""One piece of work of a thread pool, and how it ends.

A task is a plain tuple: it is built for every message of a server, and a tuple costs a third of an object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from enum import Enum
from typing import Any

logger = logging.getLogger("mooring.threads")

# (future or None for `post`, function, args, kwargs or None, monotonic time of queueing or 0.0 if handed over at once)
Task = tuple[Future[Any] | None, Callable[..., object], tuple[Any, ...], dict[str, Any] | None, float]


class Outcome(Enum):
    """How a task ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


COMPLETED, FAILED, CANCELLED = Outcome


def run_task(task: Task) -> Outcome:
    """Run one task; whatever it raises ends here, SystemExit and KeyboardInterrupt included."""
    future, function, args, kwargs, _ = task
    try:
        if future is None:
            function(*args)
            return COMPLETED
        if not future.set_running_or_notify_cancel():
            return CANCELLED
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as exc:  # noqa: BLE001
            future.set_exception(exc)
            return FAILED
        future.set_result(result)
        return COMPLETED
    except BaseException:
        # From a future only its callbacks can get here: the function's own exception belongs to the future.
        logger.exception("%s raised in a thread of the pool; the thread goes on", name_of(function))
        return FAILED
    finally:
        # An exception in the future keeps the frames that it passed, this one too: were the future still in it, the
        # two would keep each other alive.
        del task, future, function, args, kwargs


def drop_tasks(tasks: Iterable[Task], reason: BaseException | None = None) -> int:
    """End tasks that will never run: futures are cancelled, or fail with ``reason``. Runs the callbacks of futures.

    Returns:
        How many of them have no future, so that nobody learns of it.
    """
    posts = 0
    for future, *_ in tasks:
        if future is None:
            posts += 1
            continue
        if reason is None:
            future.cancel()
        # Also after cancel(): only this call wakes those who wait by `wait` or `as_completed`.
        if future.set_running_or_notify_cancel() and reason is not None:
            future.set_exception(reason)
    return posts


def name_of(function: Callable[..., object]) -> str:
    """The name of a function for the log; never raises."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
