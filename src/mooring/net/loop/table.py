"""The connections of a loop, by descriptor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from ..limits.census import Census


class ConnectionTable:
    """Holds each connection from its adoption until just before its descriptor is closed.

    A list and not a dict: the kernel gives out the lowest free number, so the list is dense and costs 8 bytes for a
    connection, where a dict takes 70 with its key, and finding one is quicker. ``_lock`` guards writing, ``count`` and
    ``census``; ``slots`` only grows, so the loop may read it without.

    Attributes:
        slots: the connection of each descriptor, or None. Whoever polls a descriptor has made room for it.
        count: how many there are.
        census: how many each address has; None while nobody wants to know.
    """

    __slots__ = ("_lock", "census", "count", "slots")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.census: Census | None = None
        self.slots: list[Connection | None] = []

    def make_room(self, fd: int) -> None:
        """Let ``slots[fd]`` exist."""
        with self._lock:
            self._make_room_locked(fd)

    def add(self, connection: Connection) -> None:
        """Enter a connection; from any thread."""
        fd = connection._socket.fileno()
        with self._lock:
            self._make_room_locked(fd)
            self.slots[fd] = connection
            self.count += 1
            if self.census is not None:
                self.census.enter(connection._peer)

    def remove(self, connection: Connection) -> None:
        """Take a connection out, once, before its descriptor is closed."""
        fd = connection._socket.fileno()
        with self._lock:
            self.count -= 1
            if self.census is not None:
                self.census.leave(connection._peer)
            if fd >= 0:
                self.slots[fd] = None
            elif (
                connection in self.slots
            ):  # somebody closed the socket behind our back, and another may have its number
                self.slots[self.slots.index(connection)] = None

    def count_by(self, census: Census | None) -> None:
        """Keep this census from now on; it begins with those who are here."""
        with self._lock:
            self.census = census
            for connection in self.slots if census is not None else ():
                if connection is not None and census is not None:
                    census.enter(connection._peer)

    def _make_room_locked(self, fd: int) -> None:
        missing = fd + 1 - len(self.slots)
        if missing > 0:
            self.slots.extend([None] * max(missing, 64))

    def snapshot(self) -> list[Connection]:
        """All of them at this moment; from any thread."""
        return [connection for connection in self.slots.copy() if connection is not None]

    def pieces(self, size: int, *, backwards: bool = False) -> Iterator[list[Connection]]:
        """All of them, a piece of the list at a time, for those who look at each and let others run in between.

        Whoever comes or goes meanwhile may be among them or not; nobody is twice.

        Args:
            size: descriptors for each piece.
            backwards: the highest descriptor first, which mostly is who came last.
        """
        starts = range(0, len(self.slots), size)
        for start in reversed(starts) if backwards else starts:
            piece = [connection for connection in self.slots[start : start + size] if connection is not None]
            yield piece[::-1] if backwards else piece
