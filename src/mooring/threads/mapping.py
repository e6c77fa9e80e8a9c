"""The parts of ``map``: tasks submitted, all at once or as results are taken, and the results in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")


def checked_buffersize(buffersize: int | None) -> int | None:
    """The argument of that name.

    Raises:
        TypeError: not an integer.
        ValueError: below 1.
    """
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError(f"buffersize must be an integer or None, not {buffersize!r}")
    if buffersize is not None and buffersize < 1:
        raise ValueError(f"buffersize must be None or > 0, not {buffersize}")
    return buffersize


def submit_all(executor: Executor, fn: Callable[..., T], tasks: Iterable[tuple[Any, ...]]) -> list[Future[T]]:
    """Futures of all tasks; if one is refused, those before it are cancelled."""
    futures: list[Future[T]] = []
    try:
        for args in tasks:
            futures.append(executor.submit(fn, *args))
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return futures


def submit_as_needed(
    executor: Executor, fn: Callable[..., T], tasks: Iterable[tuple[Any, ...]], futures: deque[Future[T]]
) -> Iterator[None]:
    """Each step submits one task more, to the end of ``futures``."""
    for args in tasks:
        futures.append(executor.submit(fn, *args))
        yield


def results_of(futures: deque[Future[T]], deadline: float | None, more: Iterator[None] | None) -> Iterator[T]:
    """The results in order; before each, a further task is submitted. The rest is cancelled at the end."""
    try:
        while futures:
            if more is not None:
                next(more, None)
            # Taken out, so that nothing holds a result once it has been given away.
            yield _result_of(futures.popleft(), deadline)
    finally:
        for future in futures:
            future.cancel()


def _result_of(future: Future[T], deadline: float | None) -> T:
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    except BaseException:
        future.cancel()
        raise
    finally:
        del future
