"""Listening to single connections: what they send and get, byte by byte, and what came of each message.

A connection that nobody listens to pays one look at ``Connection._tap`` for each service. One that is listened to has a
socket that tells what passes through it (the loop and the writers use it like any other), and its messages are run one
by one (``Serving``), so that each has its own line with route, thread and time.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .trace_event import TraceEvent

if TYPE_CHECKING:
    from ..connection.connection import Connection

logger = logging.getLogger("mooring")

MOST_BYTES = 1024
"""Bytes of one piece of data that are kept; the size tells how many there were."""

MOST_HELD = 64
"""Events that a call which is still running may have held back; what comes after them is told in its own order."""

Put: TypeAlias = Callable[[TraceEvent], object]
"""Is given each event, in the thread where it happens; must be quick. What it raises ends the listening."""


class Tap:
    """Of one connection: tells its listeners what passes. ``_lock`` guards them.

    What is sent while a message runs is held back until the message's own line is out, so that the lines stand in the
    order in which people think of them; ``_held`` belongs to the thread that runs it. A call that sends without end is
    not waited for: its line then stands behind what it has sent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._puts: tuple[Put, ...] = ()
        self._held: list[TraceEvent] | None = None
        self._holder = 0

    def note(self, direction: str, data: bytes | memoryview = b"", **more: Any) -> None:
        """Something happened, now; see TraceEvent."""
        event = self._event(direction, data, {"time": time.time(), **more})
        held = self._held
        if held is not None and self._holder == threading.get_ident():
            if len(held) < MOST_HELD:
                held.append(event)
                return
            self.release()
        self._tell(event)

    def _event(self, direction: str, data: bytes | memoryview, more: dict[str, Any]) -> TraceEvent:
        connection = self._connection
        return TraceEvent(
            direction=direction,
            connection=connection.id,
            name=connection.name,
            peer=str(connection.peer),
            data=bytes(data[:MOST_BYTES]),
            size=len(data),
            **more,
        )

    def hold(self) -> None:
        """A message runs in this thread from here on."""
        self._holder = threading.get_ident()
        self._held = []

    def served(self, data: bytes, **more: Any) -> None:
        """It has run, with this result; see TraceEvent."""
        self._tell(self._event("served", data, more))

    def release(self) -> None:
        """Tell what it sent meanwhile, and hold nothing back any more."""
        held, self._held = self._held or [], None
        for event in held:
            self._tell(event)

    def _tell(self, event: TraceEvent) -> None:
        for put in self._puts:
            try:
                put(event)
            except BaseException:  # code of the user's, on the loop's thread perhaps
                logger.exception("a listener of %r failed; it is taken off", self._connection)
                self.remove(put)

    def add(self, put: Put) -> None:
        """Tell this one, too."""
        with self._lock:
            self._puts = (*self._puts, put)

    def remove(self, put: Put) -> bool:
        """Do not tell this one any more; True if nobody is left."""
        with self._lock:
            self._puts = tuple(other for other in self._puts if other is not put)
            return not self._puts


class TalkingSocket:
    """Stands before a connection's socket and tells the tap what passes through. All else goes to the socket."""

    __slots__ = ("_tap", "behind")

    def __init__(self, behind: socket.socket, tap: Tap) -> None:
        self.behind = behind
        self._tap = tap

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See ``socket.recv``."""
        data = self.behind.recv(size, flags)
        if data and not flags & socket.MSG_PEEK:
            self._tap.note("in", data)
        return data

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """See ``socket.send``."""
        sent = self.behind.send(data, flags)
        if sent:
            self._tap.note("out", memoryview(data)[:sent])
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def attach(connection: Connection, put: Put) -> None:
    """Have a listener told of a connection. The caller sees to it that two calls for one connection do not overlap."""
    tap = connection._tap
    if tap is None:
        tap = Tap(connection)
        tap.add(put)
        connection._socket = cast(socket.socket, TalkingSocket(connection._socket, tap))
        connection._tap = tap
    else:
        tap.add(put)


def detach(connection: Connection, put: Put) -> None:
    """Take a listener off; after the last one the connection is like all others."""
    tap = connection._tap
    if tap is not None and tap.remove(put):
        connection._tap = None
        talking: Any = connection._socket
        if isinstance(talking, TalkingSocket):
            connection._socket = talking.behind
