"""What other threads ask of the loop, and how they wake it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from ..connection.connection import Connection

Request: TypeAlias = Connection | Callable[[], None]
"""A connection that is to be looked at, or a function that is to be called."""


class Mailbox:
    """Requests from any thread. First into the queue, then the wake-up; the loop clears the wake-up first, then drains
    the queue, so that none is overlooked.

    ``_lock`` guards the life of ``fd``, which is closed last of all.

    Args:
        is_led_here: whether the calling thread leads, and so needs no wake-up.

    Attributes:
        requests: oldest first.
        fd: readable when there are new ones.
        when_over: called by whoever still asks when nobody leads any more.
    """

    def __init__(self, is_led_here: Callable[[], bool]) -> None:
        self.requests: deque[Request] = deque()
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.is_over = False
        self.when_over: Callable[[], None] = lambda: None
        self._is_led_here = is_led_here
        self._woken = False
        self._lock = threading.Lock()

    def attend(self, connection: Connection) -> None:
        """Have the loop look at the connection soon."""
        self.requests.append(connection)
        self._wake()

    def post(self, function: Callable[[], None]) -> None:
        """Have the loop's thread call a function soon; it must be quick and not raise."""
        self.requests.append(function)
        self._wake()

    def _wake(self) -> None:
        if self._is_led_here():
            return
        if self.is_over:
            self.when_over()
        elif not self._woken:
            self._woken = True
            with self._lock:
                if not self.is_over:
                    os.eventfd_write(self.fd, 1)

    def clear_wake(self) -> None:
        """The loop is awake. Before it looks at the requests."""
        os.eventfd_read(self.fd)
        self._woken = False

    def close(self) -> None:
        """Nobody leads any more."""
        with self._lock:
            self.is_over = True
            os.close(self.fd)

    def leave(self, connections: Iterable[Connection]) -> None:
        """Connections that outlive the loop: whoever asks for something next looks at them."""
        self.requests.extend(connections)
