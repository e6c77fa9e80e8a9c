"""The blocking client, against plain sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from mooring import Client, Connection, ConnectionClosed, FrameError, Server
from mooring.framing import LengthPrefixed, Lines, Raw
from mooring.net.address import Address


class Peer:
    """Listens, and holds the other end of the first client."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.listener)

    def accept(self) -> socket.socket:
        return self._stack.enter_context(self.listener.accept()[0])

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def test_messages_are_framed_and_leave_in_one_piece(peer: Peer) -> None:
    with Client(peer.address, framing=LengthPrefixed(2)) as client:
        client.send(b"a", b"bc")
        assert peer.accept().recv(100) == b"\x00\x01a\x00\x02bc"


def test_messages_come_out_one_by_one_however_they_arrive(peer: Peer) -> None:
    with Client(peer.address) as client:
        other = peer.accept()
        other.sendall(b"one\ntwo\nthr")
        assert client.recv() == b"one"
        assert client.recv() == b"two"
        other.sendall(b"ee\n")
        assert client.recv() == b"three"


def test_iteration_ends_when_the_server_closes(peer: Peer) -> None:
    with Client(peer.address) as client:
        other = peer.accept()
        other.sendall(b"one\ntwo\n")
        other.close()
        assert list(client) == [b"one", b"two"]
        with pytest.raises(ConnectionClosed, match="has closed the connection"):
            client.recv()


def test_recv_times_out_and_what_came_is_kept(peer: Peer) -> None:
    with Client(peer.address, timeout=0.05) as client:
        other = peer.accept()
        other.sendall(b"half")
        with pytest.raises(TimeoutError):
            client.recv()
        other.sendall(b" and half\n")
        assert client.recv(timeout=5) == b"half and half"


def test_the_time_out_of_recv_is_for_the_message_not_for_each_byte(peer: Peer) -> None:
    with Client(peer.address, timeout=30) as client:
        other = peer.accept()
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.02):
                other.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(TimeoutError):
                client.recv(timeout=0.2)
        finally:
            stop.set()
            thread.join()


def test_send_times_out_when_the_server_takes_nothing(peer: Peer) -> None:
    with Client(peer.address, framing=Raw(), timeout=0.1) as client:
        peer.accept()
        with pytest.raises(TimeoutError):
            while True:
                client.send(b"x" * 1_000_000)


def test_a_message_that_cannot_be_framed_is_refused_and_nothing_is_sent(peer: Peer) -> None:
    with Client(peer.address) as client:
        other = peer.accept()
        with pytest.raises(FrameError):
            client.send(b"good", b"bad\nbad")
        client.send(b"next")
        assert other.recv(100) == b"next\n"


def test_messages_before_bytes_that_are_no_frame_come_first(peer: Peer) -> None:
    with Client(peer.address, framing=Lines(max_size=5)) as client:
        peer.accept().sendall(b"good\nfar too long\n")
        assert client.recv() == b"good"
        with pytest.raises(FrameError):
            client.recv()


def test_send_eof_says_that_nothing_more_comes(peer: Peer) -> None:
    with Client(peer.address) as client:
        other = peer.accept()
        client.send(b"last")
        client.send_eof()
        assert other.recv(100) == b"last\n"
        assert other.recv(100) == b""
        other.sendall(b"answer\n")
        assert client.recv() == b"answer"


def test_closing_twice_is_harmless(peer: Peer) -> None:
    client = Client(peer.address)
    client.close()
    client.close()


def test_a_unix_socket_and_an_address_object_will_do(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/x")
        listener.listen()
        for address in (f"unix:{folder}/x", Address(path=f"{folder}/x")):
            with Client(address) as client, listener.accept()[0] as other:
                client.send(b"x")
                assert other.recv(10) == b"x\n"


def test_a_refused_connection_and_a_wrong_address_are_errors_and_leave_nothing_open(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Client(f"tcp://127.0.0.1:{port}")
    with pytest.raises(FileNotFoundError):
        Client(f"unix:{folder}/missing")
    with pytest.raises(ValueError, match="begins with tcp://"):
        Client("localhost:7000")


def test_to_say_that_nothing_more_comes_is_harmless_after_a_reset() -> None:
    def abort(connection: Connection, message: bytes) -> None:
        connection.abort()

    with Server(abort, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        client.send(b"x")
        wait_until(lambda: not server.connections)
        with pytest.raises((ConnectionClosed, ConnectionError)):
            client.recv()
        client.send_eof()
