"""Waiting for states that have no event to wait for."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 30, what: str = "") -> T:
    """Call ``condition`` until it is true, and return its value.

    Args:
        timeout: seconds until AssertionError.
        what: names the condition in the error; the source line of ``condition`` by default.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or _source_of(condition)}; last value {value!r}")
        time.sleep(0.005)
    return value


def _source_of(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
