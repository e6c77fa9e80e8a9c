"""Whatever a user's class does when it is asked for its text, one connection ends, and the server goes on."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, Connection, ConnectionClosed, Router, Server
from mooring.framing import Lines
from mooring.models.serving import Serving
from mooring.threads import ThreadPool


class Unspeakable(Exception):
    """Its text is a number, which ``str`` refuses."""

    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]


class Unshown:
    """Made by a decoder, and not to be shown."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __repr__(self) -> str:
        raise RuntimeError("not for you")


def fail_at_boom(connection: Connection, message: bytes) -> bytes:
    if message == b"boom":
        raise Unspeakable(7)
    return message


def ask(client: Client, message: bytes) -> bytes:
    client.send(message)
    return client.recv()


def test_an_exception_that_cannot_say_what_it_is_ends_its_own_connection_only(model: str) -> None:
    with (
        Server(fail_at_boom, bind="tcp://127.0.0.1:0", model=model) as server,
        Client(server.addresses[0]) as other,
        Client(server.addresses[0]) as client,
    ):
        client.send(b"boom")
        assert list(client) == []
        assert ask(other, b"still here") == b"still here"


def test_a_framing_that_raises_such_an_exception_ends_its_own_connection_only(model: str) -> None:
    class Framing:
        join = Lines().join

        def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
            if b"boom" in data:
                raise Unspeakable(7)
            return Lines().split(data)

    with (
        Server(fail_at_boom, bind="tcp://127.0.0.1:0", model=model, framing=Framing()) as server,
        Client(server.addresses[0]) as other,
        Client(server.addresses[0]) as client,
    ):
        client.send(b"boom")
        assert list(client) == []
        assert ask(other, b"still here") == b"still here"


def test_what_a_decoder_made_and_cannot_be_shown_is_traced_all_the_same(model: str) -> None:
    router = Router(key=lambda message: message.raw, decode=Unshown)

    @router.on(b"a")
    def answer(connection: Connection, message: Any) -> bytes:
        return b"b"

    with (
        Server(router, bind="tcp://127.0.0.1:0", model=model) as server,
        Client(server.addresses[0]) as client,
        server.trace(wait_until(lambda: list(server.connections))[0].id) as events,
    ):
        assert ask(client, b"a") == b"b"
        served = next(event for event in events if event.direction == "served")
        assert served.message == "(cannot be shown: RuntimeError)"


def test_should_serving_itself_fail_the_connection_is_aborted_and_the_server_goes_on(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Serving.run

    def broken(self: Serving, connection: Connection, items: list[Any], *args: Any, **options: Any) -> int:
        if b"boom" in items:
            raise MemoryError
        return run(self, connection, items, *args, **options)

    monkeypatch.setattr(Serving, "run", broken)
    with (
        Server(fail_at_boom, bind="tcp://127.0.0.1:0", model=model) as server,
        Client(server.addresses[0]) as other,
        Client(server.addresses[0]) as client,
    ):
        assert ask(client, b"first") == b"first"
        client.send(b"boom")
        wait_until(lambda: len(server.connections) == 1)
        assert ask(other, b"still here") == b"still here"


def test_a_pool_with_a_limit_refuses_connections_and_not_the_server() -> None:
    gate = threading.Event()

    def wait(connection: Connection, message: bytes) -> bytes:
        gate.wait(30)
        return message

    with ThreadPool(1, queue_limit=1) as pool:
        with Server(wait, bind="tcp://127.0.0.1:0", threads=pool, blocking=True) as server:
            with contextlib.ExitStack() as clients:
                for _ in range(6):
                    clients.enter_context(Client(server.addresses[0])).send(b"x")
                wait_until(lambda: sum(server.stats().closed.values()) == 4)
                gate.set()
                assert pool.wait_for_completion(10)
                with Client(server.addresses[0]) as late:
                    assert ask(late, b"still here") == b"still here"


def test_a_connection_that_was_aborted_before_it_was_admitted_is_counted_out_once(model: str) -> None:
    ended: list[str] = []

    class Hasty(Server):
        def handle_new_connection(self, sock: Any) -> Connection | None:
            connection = super().handle_new_connection(sock)
            assert connection is not None
            if not ended:
                ended.append("aborted")
                assert self._loop is not None
                connection.abort()
                self._loop.state.mailbox.requests.rotate(1)  # as if another thread had been quicker than the admission
            return connection

    with Hasty(fail_at_boom, bind="tcp://127.0.0.1:0", model=model) as server:
        # The peer learns of it one way or the other, perhaps while it connects still.
        with pytest.raises((OSError, ConnectionClosed)), Client(server.addresses[0]) as client:
            ask(client, b"x")
        wait_until(lambda: len(server.connections) == 0)
        with Client(server.addresses[0]) as client:
            assert ask(client, b"y") == b"y"
            assert len(server.connections) == 1
