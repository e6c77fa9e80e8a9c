"""What happens to pools when the process forks, and when it ends.

A connection that two processes share loses its thread: both read each other's answers, and the goodbye of one ends the
other's session. So a child lets go of all connections without a word, and begins with an empty pool.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What a pool does about a fork."""

    def before_fork(self) -> None:
        """Bring the books into a state that can be copied; called in the parent."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin anew."""

    def at_exit(self) -> None:
        """The process ends."""


_pools: weakref.WeakSet[Forkable] = weakref.WeakSet()
_lock = threading.Lock()  # guards _pools
_forking: list[Forkable] = []


def register(pool: Forkable) -> None:
    """Have ``pool`` told of forks and of the end of the process, as long as it exists."""
    with _lock:
        _pools.add(pool)


def _before() -> None:
    _lock.acquire()
    _forking[:] = list(_pools)
    for pool in _forking:
        pool.before_fork()


def _after_in_parent() -> None:
    for pool in _forking:
        pool.after_fork_in_parent()
    _forking.clear()
    _lock.release()


def _after_in_child() -> None:
    for pool in _forking:
        pool.after_fork_in_child()
    _forking.clear()
    _lock.release()


def _at_exit() -> None:
    with _lock:
        pools = list(_pools)
    for pool in pools:
        pool.at_exit()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
atexit.register(_at_exit)
