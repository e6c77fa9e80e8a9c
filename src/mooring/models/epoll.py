"""Model ``epoll``: one loop thread does everything. A handler that waits stalls every connection, by design."""

from __future__ import annotations

from collections import deque

from ..net.connection.connection import Connection
from ..net.connection.items import CONNECTED, Event, Item
from ..net.connection.output import OUTBOX_MARK
from ..net.loop.loop import Loop
from .meter import Meter
from .serving import Serving, put_back_locked


class EpollModel:
    """Runs all handlers on the loop thread. Everything here belongs to that thread.

    Args:
        serving: runs the messages.
        loop: owns the descriptors, and the ready list.
    """

    reads_itself = False

    def __init__(self, serving: Serving, loop: Loop) -> None:
        self.serving = serving
        self._loop = loop
        self._ready = loop.state.ready
        self._departures = loop.state.departures
        self._meter = Meter(on_loop=True)

    def admitted(self, connection: Connection) -> None:
        """See Model."""
        if self.serving.handling.connected is not None:
            self.deliver(connection, [CONNECTED])

    def deliver(self, connection: Connection, items: list[Item]) -> None:
        """See Model."""
        if connection._served or connection._inbox or connection._outbox_size > OUTBOX_MARK:
            append_to_inbox(connection, items)
            if not connection._served:
                self.resume(connection)
        elif items:
            connection._served = True
            self._serve(connection, items)

    def resume(self, connection: Connection) -> None:
        """See Model."""
        if connection._outbox_size > OUTBOX_MARK:
            with connection._lock:
                connection._watched = True  # the loop comes back to it when the outbox has left
            return
        connection._served = True
        self._ready.append(connection)

    def changed(self, connection: Connection) -> None:
        """See Model."""

    def ending(self) -> None:
        """See Model."""

    def serve_ready(self) -> None:
        """See Model."""
        for _ in range(len(self._ready)):
            connection = self._ready.popleft()
            self._serve(connection, self.serving.take_inbox(connection))

    def _serve(self, connection: Connection, items: list[Item]) -> None:
        """One service of a connection that is marked as served; what does not fit waits in the ready list."""
        try:
            done = self.serving.run(connection, items, self._meter)
        except BaseException as exc:  # noqa: BLE001 - it must end one connection, not the loop
            done = self.serving.give_up(connection, items, self._meter, exc)
        if self._meter.replies:
            self._departures.add(connection, self._meter.take_replies())
        self._meter.forget()
        self._leave(connection, items, done)

    def _leave(self, connection: Connection, items: list[Item], done: int) -> None:
        """The leader ends a service. Only leaders fill inboxes, so an empty one stays empty."""
        if done < len(items):
            with connection._lock:
                put_back_locked(connection, items[done:])
        if connection._inbox:
            self.resume_served(connection)
            return
        connection._inbox = None
        connection._served = False
        if connection._watched:
            self.serving.attend(connection)

    def resume_served(self, connection: Connection) -> None:
        """Go on with a connection that is marked as served and has messages waiting."""
        if connection._outbox_size > OUTBOX_MARK:
            with connection._lock:
                connection._served = False
                connection._watched = True
            self.serving.attend(connection)
            return
        self._ready.append(connection)


def append_to_inbox(connection: Connection, items: list[Item]) -> None:
    """Let messages wait; those that nobody will serve any more are dropped."""
    with connection._lock:
        if connection._dropping and not (items and isinstance(items[0], Event)):
            return
        if connection._inbox is None:
            connection._inbox = deque(items)
        else:
            connection._inbox.extend(items)
