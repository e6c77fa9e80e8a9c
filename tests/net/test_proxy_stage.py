"""The PROXY header over real sockets: who is believed, what is refused, and that no byte behind it is lost."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from waiting import wait_until

from mooring import TLS, Client, Connection, Limits, ProxyProtocol, Server
from mooring.framing import Framing, LengthPrefixed, Lines
from mooring.net.proxy.header import SIGNATURE

CLIENT = "203.0.113.9"
EVERYBODY = ("127.0.0.0/8", "::1")


def echo(connection: Connection, message: bytes) -> bytes:
    return str(connection.peer).encode() if message == b"who" else message


def header(version: int, client: str = CLIENT, port: int = 51000) -> bytes:
    address = ipaddress.ip_address(client)
    if version == 1:
        return f"PROXY TCP{address.version} {client} {client} {port} 7000\r\n".encode()
    body = address.packed * 2 + struct.pack("!HH", port, 7000)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11 if address.version == 4 else 0x21, len(body)) + body


LOCAL = {1: b"PROXY UNKNOWN\r\n", 2: SIGNATURE + b"\x20\x00\x00\x00"}


class Balancer:
    """Stands for a load balancer: connects, and says what the test tells it to."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def server(self, version: int, transport: str = "tcp4", **options: Any) -> Server:
        binds = {"tcp4": "tcp://127.0.0.1:0", "tcp6": "tcp://[::1]:0", "unix": f"unix:{self._folder}/proxy.sock"}
        protocol = options.pop("proxy_protocol", ProxyProtocol(version, EVERYBODY, timeout=30))
        options.setdefault("bind", binds[transport])
        return self._stack.enter_context(Server(echo, proxy_protocol=protocol, **options))

    def connect(self, server: Server, first: bytes, framing: Framing | None = None, host: str = "127.0.0.1") -> Client:
        client = self._stack.enter_context(Client(server.addresses[0], framing=framing))
        if host != "127.0.0.1":
            client.socket.close()
            client.socket = socket.create_connection(("127.0.0.1", server.port), 10, (host, 0))
        client.socket.sendall(first)
        return client


@pytest.fixture
def balancer(folder: Path) -> Iterator[Balancer]:
    with contextlib.ExitStack() as stack:
        yield Balancer(folder, stack)


@pytest.fixture(params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def says(client: Client, message: bytes) -> bytes:
    client.send(message)
    return client.recv()


def closed(client: Client) -> bool:
    try:
        return client.socket.recv(100) == b""
    except ConnectionResetError:
        return True


# Who is meant ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp4", "tcp6", "unix"])
@pytest.mark.parametrize(
    ("client", "shown"), [(CLIENT, f"tcp://{CLIENT}:51000"), ("2001:db8::9", "tcp://[2001:db8::9]:51000")]
)
def test_the_peer_is_the_announced_client_whatever_the_family_of_the_socket(
    balancer: Balancer, version: int, transport: str, client: str, shown: str
) -> None:
    server = balancer.server(version, transport)
    connected = balancer.connect(server, header(version, client))
    assert says(connected, b"who") == shown.encode()
    [connection] = server.connections
    assert client in repr(connection)
    assert server.stats().opened == 1


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_the_header_and_what_follows_it_may_come_in_one_piece(balancer: Balancer, version: int, model: str) -> None:
    server = balancer.server(version, model=model)
    messages = [b"%d" % number for number in range(3000)]
    client = balancer.connect(server, header(version) + b"".join(message + b"\n" for message in messages))
    assert [client.recv() for _ in messages] == messages


def test_the_header_may_come_byte_by_byte_and_costs_no_spinning(balancer: Balancer, version: int) -> None:
    server = balancer.server(version)
    client = balancer.connect(server, b"")
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in header(version) + b"PROXY\n":
        client.socket.sendall(bytes([byte]))
    assert client.recv() == b"PROXY"
    assert server.stats().messages == 1


def test_a_large_message_behind_the_header_comes_back_whole(balancer: Balancer, version: int) -> None:
    framing = LengthPrefixed(max_size=1 << 20)
    server = balancer.server(version, framing=framing)
    message = random.Random(version).randbytes(1 << 20)
    client = balancer.connect(server, header(version) + framing.join(b"first"), framing)
    assert client.recv() == b"first"
    assert says(client, message) == message


def test_the_end_right_behind_the_last_message_loses_nothing(balancer: Balancer, version: int) -> None:
    server = balancer.server(version)
    client = balancer.connect(server, header(version) + b"one\ntwo\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert [client.recv(), client.recv()] == [b"one", b"two"]


def test_a_connection_of_the_balancers_own_keeps_its_address_and_no_limit_holds_for_it(
    balancer: Balancer, version: int
) -> None:
    server = balancer.server(version, limits=Limits(allow="192.0.2.0/24", per_address=1))
    for _ in range(2):
        client = balancer.connect(server, LOCAL[version])
        assert says(client, b"who").startswith(b"tcp://127.0.0.1:")
    assert server.stats().refused == 0


@pytest.mark.parametrize("model", ["hybrid", "threads"])
def test_the_header_comes_before_tls_and_the_handshake_may_follow_in_the_same_piece(
    balancer: Balancer, version: int, model: str, authority: Authority
) -> None:
    pair = authority.server
    tls_options = {"bind": "tls://127.0.0.1:0", "tls": TLS(pair.certificate, pair.key)}
    server = balancer.server(version, model=model, limits=Limits(per_address=1), **tls_options)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.believing.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", server.port), 10) as sock:
        first = header(version)
        for act in (tls.do_handshake, lambda: tls.write(b"who\n"), lambda: tls.read(1000)):
            while True:
                try:
                    result = act()
                except ssl.SSLWantReadError:
                    sock.sendall(first + outgoing.read())
                    first = b""
                    incoming.write(sock.recv(65536))
                else:
                    break
            if pending := outgoing.read():
                sock.sendall(pending)
        assert result == f"tcp://{CLIENT}:51000\n".encode()
        with socket.create_connection(("127.0.0.1", server.port), 10) as second, contextlib.suppress(OSError):
            second.sendall(header(version))
            assert second.recv(10) == b""  # before anything is computed for it
        assert server.stats().refusals == {"per_address": 1}


def test_a_handshake_that_fails_behind_the_header_counts_against_the_announced_address(
    balancer: Balancer, authority: Authority
) -> None:
    pair = authority.server
    server = balancer.server(
        2, bind="tls://127.0.0.1:0", tls=TLS(pair.certificate, pair.key), limits=Limits(strikes=1, per_address=9)
    )
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", server.port), 10) as sock, contextlib.suppress(OSError):
            sock.sendall(header(2) + b"GET / HTTP/1.1\r\n\r\n")
            while sock.recv(100):
                pass
    wait_until(lambda: server.stats().refusals == {"strikes": 1})
    assert server.stats().offences == {"handshake": 1}
    gate = server._loop.gate
    assert gate.census is not None
    wait_until(lambda: not len(gate.census))


# Who is not let in ----------------------------------------------------------------------------------------------------


def test_one_who_is_not_trusted_is_refused_though_the_header_is_right(
    balancer: Balancer, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = balancer.server(version, proxy_protocol=ProxyProtocol(version, "127.0.0.1"))
    assert says(balancer.connect(server, header(version)), b"who") == f"tcp://{CLIENT}:51000".encode()
    stranger = socket.create_connection(("127.0.0.1", server.port), 10, ("127.0.0.2", 0))
    with stranger, contextlib.suppress(OSError):
        stranger.sendall(header(version))
        assert stranger.recv(10) == b""
    wait_until(lambda: server.stats().refusals == {"untrusted": 1})
    assert "refused a connection from 127.0.0.2: untrusted (not in ProxyProtocol.trusted)" in caplog.text


WRONG: list[tuple[int, bytes, str]] = [
    (1, b"GET / HTTP/1.1\r\n\r\n", "no PROXY header of version 1"),
    (1, header(2), "no PROXY header of version 1; it may be version 2"),
    (2, header(1), "no PROXY header of version 2; it may be version 1"),
    (2, b"\x16\x03\x01\x02\x00\x01", "it may be TLS without the header"),
    (1, b"PROXY TCP4 " + b"1" * 200, "a PROXY line has at most 107 bytes"),
    (2, SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000), "a header of 65551 bytes; at most 4096 are read"),
    (1, header(1, "0.0.0.0"), "nobody connects from 0.0.0.0"),
    (2, header(2, "224.0.0.1"), "nobody connects from 224.0.0.1"),
]


@pytest.mark.parametrize(("version", "said", "reason"), WRONG)
def test_what_is_no_header_that_can_be_believed_is_closed_with_the_reason(
    balancer: Balancer, version: int, said: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = balancer.server(version)
    healthy = balancer.connect(server, header(version))
    assert says(healthy, b"hello") == b"hello"
    assert closed(balancer.connect(server, said))
    wait_until(lambda: server.stats().not_opened == {"proxy_header": 1})
    wait_until(lambda: reason in caplog.text)
    assert says(healthy, b"hello again") == b"hello again"
    assert len(server.connections) == 1


@pytest.mark.parametrize("said", [b"", b"PROXY TC"])
def test_a_header_that_does_not_come_in_time_ends_the_connection_and_the_setting_is_named(
    balancer: Balancer, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = balancer.server(1, proxy_protocol=ProxyProtocol(1, EVERYBODY, timeout=0.2))
    assert closed(balancer.connect(server, said))
    wait_until(lambda: server.stats().not_opened == {"proxy_timeout": 1})
    wait_until(lambda: "not done within 0.2 s (ProxyProtocol.timeout)" in caplog.text)


def test_a_health_check_that_connects_and_leaves_is_no_line_in_the_log(
    balancer: Balancer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = balancer.server(2)
    balancer.connect(server, b"").socket.close()
    wait_until(lambda: server.stats().not_opened == {"proxy_left": 1})
    assert not caplog.records


# The announced address is the one that counts -------------------------------------------------------------------------


def test_the_limits_hold_for_the_announced_address(balancer: Balancer, version: int) -> None:
    server = balancer.server(version, limits=Limits(per_address=1, deny="198.51.100.0/24"))
    first = balancer.connect(server, header(version, CLIENT))
    assert says(first, b"in") == b"in"
    assert closed(balancer.connect(server, header(version, CLIENT, 51001)))
    assert closed(balancer.connect(server, header(version, "198.51.100.7")))
    assert says(balancer.connect(server, header(version, "203.0.113.10")), b"in") == b"in"
    assert server.stats().refusals == {"per_address": 1, "denied": 1}
    first.close()
    wait_until(lambda: len(server.connections) == 1)
    assert says(balancer.connect(server, header(version, CLIENT)), b"in again") == b"in again"


def test_strikes_count_against_the_announced_address_and_not_against_the_balancer(balancer: Balancer) -> None:
    server = balancer.server(2, limits=Limits(strikes=1), framing=Lines(max_size=10))
    balancer.connect(server, header(2, CLIENT) + b"x" * 100)
    wait_until(lambda: server.stats().offences == {"frame": 1})
    assert closed(balancer.connect(server, header(2, CLIENT)))
    assert says(balancer.connect(server, header(2, "203.0.113.10")), b"in") == b"in"


def test_a_device_is_traced_by_the_announced_address(balancer: Balancer) -> None:
    server = balancer.server(1)
    heard: list[Any] = []
    end = server.listen(heard.append, peer=CLIENT)
    assert says(balancer.connect(server, header(1, CLIENT)), b"hello") == b"hello"
    assert says(balancer.connect(server, header(1, "203.0.113.10")), b"quiet") == b"quiet"
    end()
    assert {event.peer for event in heard} == {f"tcp://{CLIENT}:51000"}


def test_who_adopts_sockets_himself_sees_the_balancer_by_the_socket_and_the_client_by_the_connection(
    balancer: Balancer,
) -> None:
    seen: list[tuple[str, str]] = []

    class Choosy(Server):
        def handle_new_connection(self, sock: socket.socket) -> Connection | None:
            connection = super().handle_new_connection(sock)
            assert connection is not None
            seen.append((sock.getpeername()[0], connection.peer.host))
            return connection

    server = Choosy(echo, bind="tcp://127.0.0.1:0", proxy_protocol=ProxyProtocol(1, EVERYBODY))
    with server:
        client = balancer.connect(server, header(1))
        assert says(client, b"hello") == b"hello"
        client.close()
    assert seen == [("127.0.0.1", CLIENT)]


def test_the_stop_ends_those_whose_header_has_not_come(version: int) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0", proxy_protocol=ProxyProtocol(version, EVERYBODY)) as server:
        with Client(server.addresses[0]) as client:
            wait_until(lambda: server.stats().opening == 1)
            server.stop(5)
            assert closed(client)
