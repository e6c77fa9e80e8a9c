"""What only the model with a thread for each connection can get wrong."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, CloseReason, Connection, ConnectionHandler, Server
from mooring.models.serving import Serving
from mooring.net.connection.items import LOST


def test_a_thread_that_takes_the_end_together_with_messages_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[CloseReason] = []
    take = Serving.take_inbox

    class Handler(ConnectionHandler):
        def received(self, message: bytes) -> bytes:
            return message

        def lost(self, reason: CloseReason) -> None:
            lost.append(reason)

    def take_after_the_end(connection: Connection) -> list[Any]:
        """The end comes when the thread has seen that there is something to serve, and has not taken it yet."""
        if connection._inbox == deque([b"x"]):
            connection.abort()
            wait_until(lambda: connection._inbox and connection._inbox[-1] is LOST)
        return take(connection)

    monkeypatch.setattr(Serving, "take_inbox", staticmethod(take_after_the_end))
    server = Server(Handler, bind="tcp://127.0.0.1:0", model="threads")
    server.start()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        wait_until(lambda: lost)
    server.stop(5)
    assert not server._loop.unfinished()  # type: ignore[union-attr]
    assert lost == [CloseReason.LOCAL]
