"""Only one thread leads the loop at a time: the mark of what is its alone, and how another learns that it is not it."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast


class RoleLost(BaseException):
    """Raised through the loop's code by a thread that does not lead any more, so that it touches nothing of it."""


class Role(Protocol):
    """What is handed over from thread to thread: the state of the loop, as far as it names the thread that leads."""

    leader: int | None
    """The thread that has it; None before the start and after the end."""


Method = TypeVar("Method", bound=Callable[..., Any])


def leader_only(method: Method) -> Method:
    """Marks what touches the role's state, which the owner has as ``state``.

    ``python -X dev`` checks every call; else the mark costs nothing.
    """
    method.leader_only = True  # type: ignore[attr-defined]
    return checked(method) if sys.flags.dev_mode else method


def checked(method: Method) -> Method:
    """The method, which asserts first that its caller leads (or that nobody does, before the start)."""

    @functools.wraps(method)
    def check(part: Any, *args: Any, **options: Any) -> Any:
        leader = part.state.leader
        assert leader in (None, threading.get_ident()), f"{method.__name__} called by a thread that does not lead"
        return method(part, *args, **options)

    return cast(Method, check)
