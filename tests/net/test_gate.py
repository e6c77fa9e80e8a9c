"""Limits over real sockets: each one's effect, and that those who keep to them do not notice the others."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, CloseReason, Connection, ConnectionClosed, Limits, Server
from mooring.framing import Lines
from mooring.net.limits.gate import Gate

Serve = Callable[..., Server]


def echo(connection: Connection, message: bytes) -> bytes:
    if message == b"bad password":
        connection.strike("login")
    return message


@pytest.fixture(params=["hybrid", "epoll", "threads"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: contextlib.ExitStack) -> Serve:
    def serve(limits: Limits, **options: Any) -> Server:
        options.setdefault("bind", "tcp://127.0.0.1:0")
        return stack.enter_context(Server(echo, limits=limits, **options))

    return serve


@pytest.fixture
def connect(stack: contextlib.ExitStack) -> Callable[..., socket.socket]:
    """Connect from one of the addresses of this machine."""

    def connect(server: Server, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=(host, 0))
        return stack.enter_context(sock)

    return connect


Connect = Callable[..., socket.socket]


def answers(sock: socket.socket, message: bytes = b"hello") -> bool:
    """Whether the peer is served; False if it was closed."""
    try:
        sock.sendall(message + b"\n")
        return sock.recv(100) == message + b"\n"
    except OSError:
        return False


def test_a_flood_from_one_address_is_refused_and_another_address_does_not_notice(
    serve: Serve, connect: Connect, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(Limits(per_address=5), model=model)
    healthy = connect(server, "127.0.0.3")
    assert answers(healthy)
    flood = []
    for _ in range(100):
        flood.append(connect(server, "127.0.0.2"))
        assert answers(healthy)
    late = connect(server, "127.0.0.3")
    assert answers(late)
    assert [answers(sock) for sock in flood] == [True] * 5 + [False] * 95
    assert server.stats().refusals == {"per_address": 95}
    assert server.stats().refused == 95
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == ["refused a connection from 127.0.0.2: per_address (5 are open)"]
    for sock in flood:
        sock.close()
    wait_until(lambda: len(server.connections) == 2)
    wait_until(lambda: answers(connect(server, "127.0.0.2")))


def test_a_network_may_have_so_many_over_all_its_addresses(serve: Serve, connect: Connect) -> None:
    server = serve(Limits(per_network=2))
    socks = [connect(server, f"127.0.0.{number}") for number in (2, 3, 4)]
    assert [answers(sock) for sock in socks] == [True, True, False]
    assert answers(connect(server, "127.0.1.2"))
    assert server.stats().refusals == {"per_network": 1}


def test_an_address_that_comes_too_often_is_refused_and_another_is_not(serve: Serve, connect: Connect) -> None:
    server = serve(Limits(connects_per_address_per_second=0.001, burst=3000))
    assert [answers(connect(server, "127.0.0.2")) for _ in range(5)] == [True] * 3 + [False] * 2
    assert answers(connect(server, "127.0.0.3"))
    assert server.stats().refusals == {"address_rate": 2}


def test_lists_of_networks_hold_for_ipv4_on_a_dual_stack_listener(serve: Serve, connect: Connect) -> None:
    server = serve(Limits(allow="127.0.0.0/24", deny="127.0.0.2"), bind="tcp://[::]:0")
    assert answers(connect(server, "127.0.0.1"))
    assert not answers(connect(server, "127.0.0.2"))
    assert not answers(connect(server, "127.0.1.1"))
    assert server.stats().refusals == {"denied": 1, "not_allowed": 1}


def test_unix_sockets_have_no_address_and_are_served_whatever_the_limits(serve: Serve, folder: Any) -> None:
    limits = Limits(allow="192.0.2.1", per_address=1, per_network=1, connects_per_address_per_second=0.001, strikes=1)
    server = serve(limits, bind=f"unix:{folder}/x.sock")
    for _ in range(3):
        with Client(server.addresses[0]) as client, Client(server.addresses[0]) as other:
            for one in (client, other):
                one.send(b"bad password")
                assert one.recv() == b"bad password"


# Everybody together ---------------------------------------------------------------------------------------------------


def test_clients_that_come_faster_than_they_may_wait_and_are_not_refused(serve: Serve, connect: Connect) -> None:
    server = serve(Limits(connects_per_second=100, deny="127.0.0.2"))
    socks = [connect(server) for _ in range(30)]  # all at once, into the kernel's backlog
    assert all(answers(sock) for sock in socks)
    assert server.stats().refused == 0
    assert [answers(connect(server, "127.0.0.2")) for _ in range(30)] == [False] * 30
    gate = server._loop.gate
    assert gate.pace is not None
    assert gate.pace.rate == 100


# Strikes --------------------------------------------------------------------------------------------------------------


def test_frames_that_are_none_and_failed_logins_shut_the_door_to_their_address_alone(
    serve: Serve, connect: Connect, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(Limits(strikes=3), model=model, framing=Lines(max_size=20))
    assert answers(connect(server, "127.0.0.2"), b"bad password")
    for _ in range(2):
        sock = connect(server, "127.0.0.2")
        sock.sendall(b"x" * 100)
    wait_until(lambda: server.stats().offences == {"login": 1, "frame": 2})
    assert not answers(connect(server, "127.0.0.2"))
    assert answers(connect(server, "127.0.0.3"))
    assert server.stats().refusals == {"strikes": 1}
    for line in (
        "bad login from 127.0.0.2: strike",
        "bad frame from 127.0.0.2: refused (for 600 s from here on)",
        "refused a connection from 127.0.0.2: strikes",
    ):
        wait_until(lambda line=line: line in caplog.text)  # type: ignore[misc]


# What connections send ------------------------------------------------------------------------------------------------


def test_a_connection_that_sends_too_much_is_not_read_for_a_while_and_nothing_is_lost(
    serve: Serve, connect: Connect, model: str
) -> None:
    server = serve(Limits(messages_per_second=100, burst=0.1), model=model)
    sock, other = connect(server), connect(server)
    assert answers(sock)
    connection = next(iter(server.connections))
    sock.sendall(b"".join(b"%d\n" % number for number in range(60)))
    wait_until(lambda: not connection._reading)
    assert answers(other)  # by whom nobody else is held up
    sock.sendall(b"last\n")
    got = b""
    while not got.endswith(b"last\n"):
        got += sock.recv(10_000)
    assert got == b"".join(b"%d\n" % number for number in range(60)) + b"last\n"
    assert connection.close_reason is None


def test_bytes_count_too_and_those_of_a_message_that_is_not_complete(
    serve: Serve, connect: Connect, model: str
) -> None:
    server = serve(Limits(bytes_per_second=100_000, burst=0.1), model=model)
    sock = connect(server)
    assert answers(sock)
    connection = next(iter(server.connections))
    sock.sendall(b"x" * 30_000)
    wait_until(lambda: not connection._reading)
    sock.sendall(b"\n")
    got = b""
    while not got.endswith(b"\n"):
        got += sock.recv(100_000)
    assert len(got) == 30_001


def test_one_that_never_stops_sending_too_much_is_closed_and_the_setting_is_named(
    serve: Serve, connect: Connect, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(Limits(messages_per_second=1000, burst=0.01, throttle_timeout=0.2), model=model)
    sock = connect(server)
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"x\n" * 100)
            if not sock.recv(100_000):
                break
    wait_until(lambda: server.stats().closed == {CloseReason.RATE: 1})
    wait_until(lambda: "more than 1000 messages a second for 0.2 s (throttle_timeout)" in caplog.text)


def test_without_a_time_out_it_is_held_back_for_ever_and_a_pause_makes_it_good() -> None:
    gate = Gate(Limits(messages_per_second=10, burst=1, throttle_timeout=10), None)
    throttle = gate.throttle
    assert throttle is not None

    class FakeConnection:
        _pace: Any = None
        ended: Any = None

        def end(self, *reason: Any) -> None:
            self.ended = reason

    one: Any = FakeConnection()
    now = 1000.0
    assert not throttle.charge(one, 10, 1000, now)
    for _ in range(9):
        now += 1.0
        assert throttle.charge(one, 11, 1000, now)
    assert one._pace.until == pytest.approx(now + 0.9)
    assert one.ended is None
    now += 2.0  # the burst is there again
    assert throttle.charge(one, 11, 1000, now)
    for _ in range(10):
        now += 1.0
        throttle.charge(one, 11, 1000, now)
    assert one.ended is not None
    assert one.ended[0] is CloseReason.RATE

    patient = Gate(Limits(messages_per_second=10, burst=1, throttle_timeout=None), None).throttle
    assert patient is not None
    other: Any = FakeConnection()
    for _ in range(10_000):
        now += 1.0
        patient.charge(other, 11, 0, now)
    assert other.ended is None


def test_a_connection_that_is_held_back_can_be_closed_at_once(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(Limits(messages_per_second=0.01, burst=1), model=model)
    sock = connect(server)
    sock.sendall(b"one\ntwo\n")
    connection = wait_until(lambda: next(iter(server.connections), None))
    assert connection is not None
    wait_until(lambda: not connection._reading)
    connection.close()
    got = b""
    while piece := sock.recv(100):
        got += piece
    assert got == b"one\ntwo\n"
    wait_until(lambda: not server.connections)


# Changes while it runs ------------------------------------------------------------------------------------------------


def test_other_limits_hold_from_now_on_and_count_who_is_there(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(Limits(), model=model)
    first, second = connect(server, "127.0.0.2"), connect(server, "127.0.0.2")
    assert answers(first)
    assert answers(second)
    server.limits = Limits(per_address=2, messages_per_second=5, burst=0.2)
    wait_until(lambda: server._loop.input.throttle)  # type: ignore[union-attr]
    assert not answers(connect(server, "127.0.0.2"))
    first.close()
    wait_until(lambda: len(server.connections) == 1)
    wait_until(lambda: answers(connect(server, "127.0.0.2")))
    server.limits = Limits()
    wait_until(lambda: not server._loop.input.throttle)  # type: ignore[union-attr]
    assert all(answers(connect(server, "127.0.0.2")) for _ in range(5))
    with pytest.raises(TypeError, match="limits is None"):
        server.limits = None  # type: ignore[assignment]


def test_the_defaults_refuse_nobody_however_many_come_from_one_address(serve: Serve, connect: Connect) -> None:
    server = serve(Limits())
    assert all(answers(connect(server)) for _ in range(300))
    assert server.stats().refusals == {}


def test_a_client_that_was_refused_is_told_by_the_end_of_its_connection(serve: Serve) -> None:
    server = serve(Limits(deny="127.0.0.0/8"))
    with Client(server.addresses[0]) as client, pytest.raises((ConnectionClosed, OSError)):
        client.send(b"hello")
        client.recv()
