"""What the loop's thread is to call at some time."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable

from .leading import Role, leader_only


class Timers:
    """Functions by the time at which they are due. Belongs to the leader.

    Args:
        state: of the role.

    Attributes:
        next_due: when the next one is (monotonic seconds); infinity if there is none.
    """

    def __init__(self, state: Role) -> None:
        self.state = state
        self.next_due = math.inf
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    @leader_only
    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Have the loop's thread call a function in ``delay`` seconds; it must be quick and not raise."""
        heapq.heappush(self._heap, (time.monotonic() + delay, next(self._numbers), function))
        self.next_due = self._heap[0][0]

    @leader_only
    def run(self, now: float) -> None:
        """Call what is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            function = heapq.heappop(heap)[2]
            self.next_due = heap[0][0] if heap else math.inf  # before the call, which may raise
            function()
