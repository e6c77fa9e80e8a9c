"""What happens to servers when the process forks.

A child must not hold the parent's sockets: the peers would never see their end. So it closes them, without a word.
"""

from __future__ import annotations

import os
import weakref

from ..net.loop.loop import Loop

_loops: weakref.WeakSet[Loop] = weakref.WeakSet()


def register(loop: Loop) -> None:
    """Have the loop's descriptors closed in every child that is forked while it exists."""
    _loops.add(loop)


def _after_in_child() -> None:
    for loop in list(_loops):
        loop.abandon()
    _loops.clear()


os.register_at_fork(after_in_child=_after_in_child)
