"""Those who listen to connections may leave in the middle of anything: each look at them is one look."""

from __future__ import annotations

from typing import Any

import pytest

from mooring import Client, Connection, Server
from mooring.net.connection.connections import Connections
from mooring.net.tapping.tap import Tap


class Leaving:
    """An attribute that is there when it is looked at, and gone when it is looked at once more."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._looks = 0

    def __get__(self, owner: Any, kind: type) -> Any:
        self._looks += 1
        return self._make(owner) if self._looks % 2 else None

    def __set__(self, owner: Any, value: Any) -> None: ...


class Watcher:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda connection: self.told.append(name)


def echo(connection: Connection, message: bytes) -> bytes:
    return message


def test_who_watches_all_connections_may_leave_meanwhile(pairs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher()
    connection, _ = pairs.make()
    for call in (Connections.add, lambda all_of_them, one: all_of_them.enter("name", one), Connections.discard):
        monkeypatch.setattr(Connections, "watcher", Leaving(lambda _: watcher), raising=False)
        call(Connections(), connection)
    assert watcher.told == ["added", "named", "removed"]


def test_who_traces_a_connection_may_leave_while_it_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        client.send(b"hello")
        assert client.recv() == b"hello"
        monkeypatch.setattr(Connection, "_tap", Leaving(Tap))
        for number in range(5):
            client.send(b"%d" % number)
            assert client.recv() == b"%d" % number
