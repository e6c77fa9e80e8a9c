"""Accepting when the kernel says no: no spinning, no dying, one clear line; and the limit of connections."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import PythonProcess
from waiting import wait_until

from mooring import Client, ConnectionClosed, Server
from mooring.net.accepting.acceptor import ACCEPTS_PER_TURN, PACE_STEP, Acceptor
from mooring.net.accepting.listener import Listener
from mooring.net.address import Address
from mooring.net.connection.connection import Connection
from mooring.net.limits.gate import Gate
from mooring.net.limits.limits import Limits
from mooring.net.rare import RareLog


def echo(connection: Connection, message: bytes) -> bytes:
    return message


class ScriptedSocket:
    """A listening socket whose ``accept`` does what the test wrote down: an errno, or a socket."""

    def __init__(self) -> None:
        self.script: list[int | socket.socket | tuple[socket.socket, Any]] = []
        self.calls = 0

    family = socket.AF_INET

    def fileno(self) -> int:
        return 1000

    def accept(self) -> tuple[Any, Any]:
        self.calls += 1
        if not self.script:
            raise BlockingIOError
        step = self.script.pop(0)
        if isinstance(step, int):
            raise OSError(step, os.strerror(step))
        return step if isinstance(step, tuple) else (step, ("192.0.2.1", 5))

    def close(self) -> None:
        pass


class Bench:
    """An acceptor on a scripted socket, in a loop that the test turns by hand."""

    def __init__(self) -> None:
        self.socket = ScriptedSocket()
        self.adopted: list[socket.socket] = []
        self.room = True
        self.gate = Gate(Limits(), None)
        self.watchers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.acceptor = Acceptor(
            [Listener(self.socket, Address("127.0.0.1", 7000))],  # type: ignore[arg-type]
            adopt=lambda sock, peer, listener: self.adopted.append(sock),
            has_room=lambda: self.room,
            gate=self.gate,
            watch=self.watchers.__setitem__,
            unwatch=self.watchers.__delitem__,
            call_later=lambda delay, function: self.timers.append((delay, function)),
            rare=RareLog(logging.getLogger("mooring")),
        )
        self.acceptor.resume()

    def ready(self) -> None:
        """The listener is readable, if anybody watches it."""
        for watcher in list(self.watchers.values()):
            watcher()

    def rest(self) -> float:
        """Let the pause pass; returns its length."""
        delay, function = self.timers.pop()
        function()
        return delay

    def new_socket(self) -> socket.socket:
        return socket.socket()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.acceptor.close()
    for sock in bench.adopted:
        sock.close()


# Errors of the connection that was to be accepted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EINVAL],
)
def test_a_connection_that_died_in_the_queue_does_not_keep_the_next_one_waiting(bench: Bench, number: int) -> None:
    bench.socket.script = [number, number, bench.new_socket()]
    bench.ready()
    assert len(bench.adopted) == 1
    assert bench.acceptor.failures == 2
    assert not bench.timers  # nobody has to rest for that


def test_errors_that_never_end_do_not_hold_the_loop(bench: Bench) -> None:
    bench.socket.script = [errno.ECONNABORTED] * 10_000
    bench.ready()
    assert bench.socket.calls <= ACCEPTS_PER_TURN


def test_a_turn_accepts_a_bounded_number(bench: Bench) -> None:
    bench.socket.script = [bench.new_socket() for _ in range(ACCEPTS_PER_TURN + 5)]
    bench.ready()
    assert len(bench.adopted) == ACCEPTS_PER_TURN
    bench.ready()
    assert len(bench.adopted) == ACCEPTS_PER_TURN + 5


# Nothing left to accept with ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "tunable"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOBUFS, "tcp_mem"),
        (errno.ENOMEM, "tcp_mem"),
    ],
)
def test_exhaustion_rests_the_listener_and_names_the_limit(
    bench: Bench, number: int, tunable: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.socket.script = [number, number]
    bench.ready()
    assert not bench.watchers  # level-triggered, it would spin
    assert len(bench.timers) == 1  # and one retry, not one for each failure
    assert tunable in caplog.text
    assert "tcp://127.0.0.1:7000" in caplog.text


def test_the_pause_doubles_from_10_ms_to_1_s_and_begins_anew_after_a_success(bench: Bench) -> None:
    pauses = []
    for _ in range(9):
        bench.socket.script = [errno.ENOBUFS]
        bench.ready()
        pauses.append(bench.rest())
    assert pauses == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0])
    bench.socket.script = [bench.new_socket()]
    bench.ready()
    bench.socket.script = [errno.ENOBUFS]
    bench.ready()
    assert bench.rest() == pytest.approx(0.01)


def test_the_reserve_descriptor_lets_the_client_in_the_queue_go(bench: Bench) -> None:
    turned_away = bench.new_socket()
    bench.socket.script = [errno.EMFILE, turned_away]
    bench.ready()
    assert turned_away.fileno() == -1
    assert bench.gate.refusals.counts() == {"descriptors": 1}
    assert bench.adopted == []
    assert bench.acceptor._reserve is not None  # taken again


def test_a_reserve_that_could_not_be_taken_again_is_taken_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.socket.script = [errno.EMFILE, errno.EMFILE]
    with monkeypatch.context() as patch:
        patch.setattr("mooring.net.accepting.acceptor._open_reserve", lambda: None)
        bench.ready()
    assert bench.acceptor._reserve is None
    bench.rest()
    bench.socket.script = [bench.new_socket()]
    bench.ready()
    assert bench.acceptor._reserve is not None


def test_a_hundred_failures_write_few_lines(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        bench.socket.script = [errno.ENOBUFS]
        bench.ready()
        bench.rest()
    assert len(caplog.records) == 1
    assert bench.acceptor.failures == 100


def test_resuming_while_the_listener_rests_does_not_end_the_rest(bench: Bench) -> None:
    bench.socket.script = [errno.ENOBUFS]
    bench.ready()
    bench.acceptor.suspend()
    bench.acceptor.resume()
    assert not bench.watchers
    bench.rest()
    assert bench.watchers


def test_a_rest_that_ends_while_accepting_is_suspended_does_not_resume_it(bench: Bench) -> None:
    bench.socket.script = [errno.ENOBUFS]
    bench.ready()
    bench.acceptor.suspend()
    bench.rest()
    assert not bench.watchers


def test_a_rest_that_ends_after_the_close_touches_nothing(bench: Bench) -> None:
    bench.socket.script = [errno.ENOBUFS]
    bench.ready()
    bench.acceptor.close()
    bench.rest()
    assert not bench.watchers


CROWDED = """
import logging, os, resource, socket, threading, time
logging.basicConfig(format="%(levelname)s %(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from mooring import Client, Server
server = Server(lambda connection, message: message, bind="tcp://127.0.0.1:0", max_connections=1000)
server.start()
print("port", server.port, flush=True)
while server.stats().accept_failures < 2:
    time.sleep(0.005)
before = time.process_time()
time.sleep(1.0)
print("cpu", time.process_time() - before, "failures", server.stats().accept_failures, flush=True)
while len(server.connections) > 3:
    time.sleep(0.005)
print("room", flush=True)
while not server.stats().messages:
    time.sleep(0.005)
server.stop(5)
print("ended", server.state, flush=True)
"""


def test_out_of_descriptors_the_server_neither_spins_nor_dies_and_serves_again_when_clients_leave() -> None:
    with PythonProcess("-c", CROWDED) as process:
        port = int(process.wait_for_line("port").split()[1])
        clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
        words = process.wait_for_line("cpu").split()
        assert float(words[1]) < 0.3  # a loop that spins takes all of the second
        assert int(words[3]) < 100
        for client in clients:
            client.close()
        process.wait_for_line("room")
        with Client(f"tcp://127.0.0.1:{port}") as late:
            late.send(b"served again")
            assert late.recv() == b"served again"
        assert process.wait() == 0
        lines = [line for line in process.output.splitlines() if "may open 40 files (ulimit -n" in line]
        assert len(lines) == 1
        assert "Traceback" not in process.output


# The limit ------------------------------------------------------------------------------------------------------------


def closed_at_once(client: Client) -> bool:
    try:
        client.recv()
    except (ConnectionClosed, ConnectionResetError):
        return True
    return False


def test_beyond_max_connections_new_ones_are_closed_at_once_and_counted() -> None:
    with Server(echo, bind="tcp://127.0.0.1:0", max_connections=2) as server:
        address = server.addresses[0]
        with Client(address) as first, Client(address) as second:
            for client in (first, second):
                client.send(b"in")
                assert client.recv() == b"in"
            with Client(address) as third:
                assert closed_at_once(third)
            assert server.stats().refused == 1
            assert server.stats().accepted == 3
            first.send(b"still here")
            assert first.recv() == b"still here"
        wait_until(lambda: not server._loop.unfinished())  # type: ignore[union-attr]
        with Client(address) as fourth:
            fourth.send(b"in again")
            assert fourth.recv() == b"in again"


def test_the_limit_holds_when_many_come_in_one_turn() -> None:
    server = Server(echo, bind="tcp://127.0.0.1:0", max_connections=3)
    server.suspend_accepting()
    with server, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Client(server.addresses[0]))
        server.resume_accepting()
        wait_until(lambda: server.stats().accepted == 20)
        assert server.stats().refused == 17
        wait_until(lambda: len(server.connections) == 3)


# The pace -------------------------------------------------------------------------------------------------------------


def test_the_pace_is_that_of_the_connections_that_are_let_in(bench: Bench) -> None:
    bench.gate.limit(Limits(connects_per_second=10, deny="198.51.100.0/24"))
    flood = [(bench.new_socket(), ("198.51.100.1", 5)) for _ in range(5)]
    welcome = [(bench.new_socket(), ("192.0.2.1", 5)) for _ in range(2)]
    bench.socket.script = [*flood, *welcome]
    bench.ready()
    assert bench.acceptor.accepted == 6  # of these one was welcome, and now the listeners rest
    assert len(bench.adopted) == 1
    assert not bench.watchers
    assert PACE_STEP <= bench.rest() <= 0.1
    bench.ready()
    assert len(bench.adopted) == 2


# Suspending -----------------------------------------------------------------------------------------------------------


def test_while_accepting_is_suspended_clients_wait_in_the_kernel_and_old_ones_are_served() -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as old:
        old.send(b"hello")
        old.recv()
        assert server.accepting
        server.suspend_accepting()
        server.suspend_accepting()
        assert not server.accepting
        old.send(b"from here on")
        old.recv()  # the loop has turned since
        with Client(server.addresses[0]) as waiting:
            waiting.send(b"waited")
            old.send(b"still served")
            assert old.recv() == b"still served"
            assert server.stats().accepted == 1
            server.resume_accepting()
            server.resume_accepting()
            assert waiting.recv() == b"waited"
            assert server.accepting
    assert not server.accepting


def is_served(address: Address) -> bool:
    with Client(address) as client:
        client.send(b"hello")
        try:
            return client.recv(timeout=0.2) == b"hello"
        except TimeoutError:
            return False


def test_each_listener_is_suspended_and_resumed_alone(folder: Path) -> None:
    with Server(echo, bind=["tcp://127.0.0.1:0", f"unix:{folder}/s"]) as server:
        tcp, local = server.addresses
        assert [is_served(one) for one in (tcp, local)] == [True, True]
        server.suspend_accepting(str(tcp))
        server.suspend_accepting(tcp)
        wait_until(lambda: not server._listeners[0].watched)
        assert [(one.address, one.accepting) for one in server.stats().listeners] == [(tcp, False), (local, True)]
        assert [is_served(one) for one in (tcp, local)] == [False, True]
        assert server.accepting
        server.suspend_accepting(local)
        assert not server.accepting
        server.resume_accepting(local)
        wait_until(lambda: server._listeners[1].watched)
        assert [is_served(one) for one in (tcp, local)] == [False, True]
        server.suspend_accepting()
        server.resume_accepting(tcp)
        wait_until(lambda: server._listeners[0].watched and not server._listeners[1].watched)
        server.resume_accepting()
        assert [is_served(one) for one in (tcp, local)] == [True, True]
        assert [one.accepted for one in server.stats().listeners] == [4, 4]
    assert [one.accepting for one in server.stats().listeners] == [False, False]


def test_a_listener_that_is_none_cannot_be_suspended() -> None:
    server = Server(echo, bind="tcp://127.0.0.1:0")
    with pytest.raises(ValueError, match=r"does not listen on tcp://127.0.0.1:0; it listens on nowhere yet"):
        server.suspend_accepting("tcp://127.0.0.1:0")
    with server, pytest.raises(ValueError, match=r"does not listen on unix:/x; it listens on tcp://127.0.0.1:\d+"):
        server.resume_accepting("unix:/x")


def test_a_server_can_be_started_without_accepting() -> None:
    server = Server(echo, bind="tcp://127.0.0.1:0")
    server.suspend_accepting()
    with server, Client(server.addresses[0]) as client:
        client.send(b"waited")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)
        server.resume_accepting()
        assert client.recv() == b"waited"


# Those who waited in the kernel -------------------------------------------------------------------------------------


def test_the_first_message_deadline_of_a_client_that_waited_counts_from_its_acceptance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mooring.net.deadlines.timeouts.LINGER_TIMEOUT", 0.05)
    server = Server(echo, bind="tcp://127.0.0.1:0", first_message_timeout=0.2)
    server.suspend_accepting()
    with server, Client(server.addresses[0]) as silent:
        server.resume_accepting()
        assert closed_at_once(silent)
        wait_until(lambda: server.stats().closed == {"first_message": 1})
