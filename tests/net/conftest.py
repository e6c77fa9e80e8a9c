"""Connections without a loop: on a socket pair, with an engine that only remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from clock import Clock

from mooring.framing import Lines
from mooring.net.connection.connection import Connection
from mooring.net.connection.connections import Connections


class Engine:
    """Stands for the loop."""

    server = None
    outbox_limit = 1 << 20
    overflow = "close"
    write_timeout = 0.2
    unix_offset = 0.0

    def __init__(self) -> None:
        self.connections = Connections()
        self.attended: list[Connection] = []
        self.dropped = 0
        self.sent = (0, 0)
        self.join = Lines().join

    def attend(self, connection: Connection) -> None:
        self.attended.append(connection)

    def may_wait(self) -> bool:
        return True

    def count_dropped(self) -> None:
        self.dropped += 1

    def count_sent(self, messages: int, size: int) -> None:
        self.sent = (self.sent[0] + messages, self.sent[1] + size)


class Pairs:
    """Makes connections, and closes both ends after the test."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._sockets: list[socket.socket] = []

    def make(self, number: int = 1, now: float = 1000.0) -> tuple[Connection, socket.socket]:
        """A connection and the peer's socket."""
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        self._sockets += [ours, peer]
        return Connection(self.engine, ours, "", number, threading.Lock(), now), peer

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def pairs(engine: Engine) -> Iterator[Pairs]:
    pairs = Pairs(engine)
    yield pairs
    pairs.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is turned."""
    return Clock()
