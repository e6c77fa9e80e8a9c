"""Who listens to which connections of a server: one by its number, a name wherever it turns up, or an address."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ..connection.life import ENDING
from .tap import Put, attach, detach
from .trace_event import TraceEvent

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from ..connection.connections import Connections

logger = logging.getLogger("mooring")

MOST_CANDIDATES = 256
EVENTS_OF_A_CANDIDATE = 32
MOST_LISTENERS = 32

AT_ONCE: Final = 64
"""Connections that are listened to, or left, before the loop gets its turn: it needs the same lock to accept one."""

TURN: Final = 0.0002
"""Seconds that it then has; without a pause we would have the lock back before it wakes."""


class Listening:
    """One listener: to a connection, to a name wherever it turns up, or to an address.

    A name is known only after a login. Therefore, while a name is listened to, new connections are candidates: what
    they say first is kept, a little of it, until they are called something.

    Args:
        put: see Put.
        connection, name, peer: one of them, or none for all connections. ``peer`` is ``HOST``, ``HOST:PORT`` or ``tcp://HOST:PORT``.
    """

    def __init__(self, put: Put, *, connection: int | None, name: str | None, peer: str | None) -> None:
        self.put = put
        self.number = connection
        self.name = name
        self.peer = peer.removeprefix("tcp://") if peer is not None else None
        self.heard: set[Connection] = set()
        self.candidates: dict[Connection, deque[TraceEvent]] = {}
        self._puts: dict[Connection, Put] = {}

    def wants(self, connection: Connection) -> bool:
        """Whether this connection is meant."""
        if self.number is not None:
            return connection.id == self.number
        if self.name is not None:
            return connection.name == self.name
        if self.peer is None:
            return True
        address = connection.peer
        whole = str(address).removeprefix("tcp://")
        return self.peer in (whole, address.host, f"[{address.host}]", str(address))

    def hear(self, connection: Connection) -> list[TraceEvent]:
        """Listen to it; returns what it has said as a candidate, to be put first."""
        if connection in self.heard or connection._phase >= ENDING:  # it would never be forgotten
            return []
        said = list(self.candidates.pop(connection, ()))
        kept = self._puts.pop(connection, None)
        self.heard.add(connection)
        attach(connection, self.put)
        if kept is not None:
            detach(connection, kept)
        return said

    def consider(self, connection: Connection) -> None:
        """A new connection without a name, while a name is wanted."""
        if self.name is None or len(self.candidates) >= MOST_CANDIDATES:
            return
        said: deque[TraceEvent] = deque(maxlen=EVENTS_OF_A_CANDIDATE)
        self.candidates[connection] = said
        self._puts[connection] = said.append
        attach(connection, self._puts[connection])

    def forget(self, connection: Connection) -> None:
        """It has ended, or is called something else."""
        if connection in self.heard:
            self.heard.discard(connection)
            detach(connection, self.put)
        kept = self._puts.pop(connection, None)
        if kept is not None:
            del self.candidates[connection]
            detach(connection, kept)

    def leave(self, most: int) -> bool:
        """Leave so many connections as they were; True if there are more of them."""
        for connection in list(itertools.islice(itertools.chain(self.heard, self.candidates), most)):
            self.forget(connection)
        return bool(self.heard or self.candidates)


class Listeners:
    """All who listen to connections of one server. ``_lock`` guards them; events are put without it.

    Args:
        connections: the server's.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._all: list[Listening] = []

    def begin(self, listening: Listening) -> None:
        """Listen from now on.

        Raises:
            KeyError: there is no connection of that number.
            ValueError: too many listen already.
        """
        with self._lock:
            if len(self._all) >= MOST_LISTENERS:
                raise ValueError(f"{MOST_LISTENERS} traces of this server run already; end one")
            self._all.append(listening)
            self._connections.watcher = self
        found = [connection for connection in self._likely(listening) if listening.wants(connection)]
        if listening.number is not None and not found:
            self.end(listening)
            raise KeyError(listening.number)
        for start in range(0, len(found), AT_ONCE):
            if start:
                time.sleep(TURN)
            with self._lock:
                if listening not in self._all:
                    return  # it has been ended meanwhile
                for connection in found[start : start + AT_ONCE]:
                    listening.hear(connection)

    def _likely(self, listening: Listening) -> Iterable[Connection]:
        """Where to look: all connections only if there is no shorter way."""
        if listening.name is not None:
            named = self._connections.get(listening.name)
            return [named] if named is not None else []
        if listening.number is not None:
            numbered = self._connections.by_id(listening.number)
            return [numbered] if numbered is not None else []
        return self._connections

    def end(self, listening: Listening) -> None:
        """Listen no more. Twice is harmless."""
        with self._lock:
            if listening in self._all:
                self._all.remove(listening)
            if not self._all:
                self._connections.watcher = None
            more = listening.leave(AT_ONCE)
        while more:
            time.sleep(TURN)
            with self._lock:
                more = listening.leave(AT_ONCE)

    # Called by Connections, on whatever thread ----------------------------------------------------------------------

    def added(self, connection: Connection) -> None:
        """A new connection is in the table."""
        with self._lock:
            for listening in self._all:
                if listening.name is not None:
                    listening.consider(connection)
                elif listening.wants(connection):
                    listening.hear(connection)
        tap = connection._tap
        if tap is not None:
            tap.note("opened")

    def named(self, connection: Connection) -> None:
        """A connection is called something from now on."""
        due: list[tuple[Put, TraceEvent]] = []
        with self._lock:
            for listening in self._all:
                if listening.name is None:
                    continue
                if listening.wants(connection):
                    due += [(listening.put, event) for event in listening.hear(connection)]
                else:
                    listening.forget(connection)
        for put, event in due:
            try:
                put(event)
            except BaseException:  # it must not fail the handler that identified the connection
                logger.exception("a listener of %r failed", connection)
        tap = connection._tap
        if tap is not None:
            tap.note("named")

    def removed(self, connection: Connection) -> None:
        """A connection has ended."""
        tap = connection._tap
        if tap is not None:
            reason = str(connection.close_reason or "")
            detail = f"{reason}: {connection._close_detail}" if connection._close_detail else reason
            tap.note("closed", detail=detail)
        with self._lock:
            for listening in self._all:
                listening.forget(connection)
