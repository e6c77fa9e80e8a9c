"""A peer that asks for much and reads nothing: what it may hold of the server's memory, and of the kernel's."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from places import Place
from waiting import wait_until

from mooring import Connection, Router
from mooring.net.accepting.listener import UNSENT_LIMIT
from mooring.net.connection.output import OUTBOX_MARK

SIZE = 16_384
QUESTIONS = 2000
"""With answers of 16 KiB more than the kernel keeps for one connection."""


def same(connection: Connection, message: bytes) -> bytes:
    return b"x" * SIZE


def each_another(connection: Connection, message: bytes) -> bytes:
    return message.rjust(SIZE, b"x")


def encoded() -> Router:
    router = Router(key=lambda message: b"", encode=lambda reply: reply)
    router.on(b"")(each_another)
    return router


@pytest.mark.parametrize("handler", [same, each_another, encoded], ids=lambda handler: handler.__name__)
def test_a_peer_that_reads_nothing_holds_some_answers_and_not_64(tcp: Place, handler: Callable[..., bytes]) -> None:
    server = tcp.server(encoded() if handler is encoded else handler, threads=(1, 1))
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.port))
        peer.settimeout(1.0)
        for number in range(QUESTIONS):
            try:
                peer.sendall(b"%d\n" % number)
            except TimeoutError:
                break  # it is not read any more
        connection = wait_until(lambda: next(iter(server.connections), None))
        wait_until(lambda: connection.outbox_size > OUTBOX_MARK, what="the server stops answering")
        assert connection.outbox_size <= 2 * OUTBOX_MARK + SIZE
        connection.abort()


def test_the_kernel_takes_no_more_than_it_can_send_soon(tcp: Place) -> None:
    """Some hundreds of peers that read nothing would bring all TCP of the machine under memory pressure."""
    server = tcp.server(same)
    client = tcp.client(server)
    wait_until(lambda: len(server.connections) == 1)
    connection = next(iter(server.connections))
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
    assert connection._socket.getsockopt(socket.IPPROTO_TCP, option) == UNSENT_LIMIT
    client.close()
