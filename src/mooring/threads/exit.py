"""What pools do when the interpreter exits and when the process forks.

At exit, accepted work is completed, as ``concurrent.futures`` does it. The hook is a plain ``atexit`` one: it runs
after the threads that are not daemons have ended, so they can use their pools to the last.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol


class Registered(Protocol):
    """What a registered pool has to offer."""

    def _begin_exit(self) -> None:
        """Refuse new tasks; does not wait."""

    def _finish_exit(self) -> None:
        """Wait for what was accepted."""

    def _reset_after_fork(self) -> None:
        """Start afresh: in the child there is no thread but the one that forked."""


_lock = threading.Lock()
_pools: weakref.WeakSet[Registered] = weakref.WeakSet()


def register(pool: Registered) -> None:
    """Remember a pool until it is collected."""
    with _lock:
        _pools.add(pool)


def _finish_all() -> None:
    with _lock:
        pools = list(_pools)
    for pool in pools:
        pool._begin_exit()
    for pool in pools:
        pool._finish_exit()


def _reset_all() -> None:
    global _lock
    _lock = threading.Lock()
    for pool in list(_pools):
        pool._reset_after_fork()


def _release_in_parent() -> None:
    _lock.release()


def _acquire_before_fork() -> None:
    _lock.acquire()


atexit.register(_finish_all)
# The lock is held over the fork, so that the child finds the set of pools whole.
os.register_at_fork(before=_acquire_before_fork, after_in_parent=_release_in_parent, after_in_child=_reset_all)
