"""The announcement "I am about to wait", which lets the loop leave a thread before it sleeps.

A handler that runs on the loop thread and is about to wait says so, and the role of the loop moves to another thread
first. On any other thread the announcement costs one look at a thread-local and does nothing. This floor knows no
loop: a loop thread says by ``announce_to`` whom to tell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class _Here(threading.local):
    tell: Callable[[], None] | None = None


_here = _Here()


def about_to_block() -> None:
    """Say that this thread is about to wait: for a lock, a database, a socket, a child. Free off the loop thread."""
    tell = _here.tell
    if tell is not None:
        tell()


def announce_to(tell: Callable[[], None] | None) -> None:
    """Have the announcements of this thread go to ``tell``; None: to nobody. For loop threads."""
    _here.tell = tell


class blocking:
    """``with mooring.blocking(): ...``: the code inside may wait.

    In a handler that the server runs on its loop thread, the loop moves to another thread before the first line inside
    is run; everywhere else it costs next to nothing. Leases of the database pools and ``Pending.result`` announce
    themselves; other code that waits (an ORM, an HTTP client, a lock) is worth it. Can be nested.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        about_to_block()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
