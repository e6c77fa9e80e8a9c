"""The open connections of a server, by name and all together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ...errors import ConnectionClosed
from .life import ENDING, OPEN

if TYPE_CHECKING:
    from ..tapping.listeners import Listeners
    from .connection import Connection


class Connections:
    """The open connections of a server; usable from any thread.

    ``len(connections)``, iteration over a snapshot, ``name in connections``, ``connections[name]``. The lock guards
    the names and the count; the connections themselves are in the loop's table.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.most = 0
        """The most at one time so far."""
        self._names: dict[str, Connection] = {}
        self.snapshot: Callable[[], list[Connection]] = list
        """The connections whose descriptors are not closed yet; the loop puts its own in."""
        self.in_pieces: Callable[..., Iterable[list[Connection]]] = lambda size, *, backwards: ()
        """The same a few at a time; see ``ConnectionTable.pieces``."""
        self.watcher: Listeners | None = None
        """Told of what comes, gets a name and goes, while somebody listens to connections."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return iter([connection for connection in self.snapshot() if connection._phase < ENDING])

    def pieces(self, size: int, *, backwards: bool = False) -> Iterator[list[Connection]]:
        """All open ones, at most ``size`` at a time; others may run, and connections come and go, in between.

        Args:
            size: the most of them at a time.
            backwards: those who came last first, mostly.
        """
        for piece in self.in_pieces(size, backwards=backwards):
            # Almost all are open, and to compare by size takes longer.
            yield [connection for connection in piece if connection._phase is OPEN or connection._phase < ENDING]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Connection:
        """The connection identified by ``name``; KeyError if there is none."""
        return self._names[name]

    def get(self, name: str, default: Connection | None = None) -> Connection | None:
        """The connection identified by ``name``, or ``default``."""
        return self._names.get(name, default)

    def by_id(self, id: int) -> Connection | None:
        """The open connection with this number, or None."""
        return next((connection for connection in self if connection.id == id), None)

    def broadcast(self, message: bytes) -> int:
        """Send a message to all open connections; closed ones are skipped.

        Args:
            message: one message, without its frame; framed once.

        Returns:
            To how many it went.

        Raises:
            FrameError: the framing cannot carry this message.
        """
        sent = 0
        data: bytes | None = None
        for connection in self:
            if data is None:
                data = connection._engine.join(message)
            try:
                connection.send_joined(data)
            except ConnectionClosed:
                continue
            sent += 1
        return sent

    def add(self, connection: Connection) -> None:
        """Count a new connection (the loop's)."""
        with self._lock:
            self._count += 1
            if self._count > self.most:
                self.most = self._count
        watcher = self.watcher
        if watcher is not None:
            watcher.added(connection)

    def enter(self, name: str, connection: Connection) -> Connection | None:
        """Enter a name; returns the other connection that had it."""
        with self._lock:
            if connection._phase >= ENDING:
                raise ConnectionClosed(f"{connection!r} is closed ({connection._close_reason})")
            older = self._names.get(name)
            if connection._name is not None and connection._name != name:
                self._forget_locked(connection)
            self._names[name] = connection
            connection._name = name
        watcher = self.watcher
        if watcher is not None:
            watcher.named(connection)
        return older if older is not connection else None

    def discard(self, connection: Connection) -> None:
        """A connection has ended (the loop's): it is not counted any more, and its name goes, if it is its own."""
        with self._lock:
            self._count -= 1
            self._forget_locked(connection)
        watcher = self.watcher
        if watcher is not None:
            watcher.removed(connection)

    def _forget_locked(self, connection: Connection) -> None:
        name = connection._name
        if name is not None and self._names.get(name) is connection:
            del self._names[name]
