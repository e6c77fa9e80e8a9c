"""The loop on real sockets: deadlines with short times, adoption, requests, and its own failure."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import threading
import time
import weakref
from concurrent.futures import Future
from typing import Any

import pytest
from serving import READERS, Connect, Serve, echo, ended
from waiting import wait_until

from mooring import Client, CloseReason, ConnectionClosed, ConnectionHandler, Heartbeat, MooringError, Server
from mooring.framing import Raw
from mooring.net.connection.connection import Connection


@pytest.fixture(params=READERS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_who_has_ended_is_remembered_by_nobody(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(model=model, heartbeat=Heartbeat(timeout=90, interval=30, message=b"beat"))
    gone = []
    for _ in range(10):
        client = connect(server)
        client.send(b"hello")
        assert client.recv() == b"hello"
        gone.append(weakref.ref(next(iter(server.connections))))
        client.close()
        wait_until(lambda: not len(server.connections))
    with connect(server) as client:  # the last one served is remembered, too
        client.send(b"hello")
        assert client.recv() == b"hello"
        wait_until(lambda: gc.collect() >= 0 and sum(ref() is not None for ref in gone) <= 2, what="they are forgotten")


# Deadlines: each closes in time, and its log line names its setting ---------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "options", "sent", "detail"),
    [
        ("first_message", {"first_message_timeout": 0.3}, b"", "no message within 0.3 s (first_message_timeout)"),
        ("first_message", {"first_message_timeout": 0.3}, b"half", "no message within 0.3 s (first_message_timeout)"),
        ("idle", {"idle_timeout": 0.3}, b"x\n", "nothing received for 0.3 s (idle_timeout)"),
        ("heartbeat", {"heartbeat": Heartbeat(0.3)}, b"x\n", "nothing received for 0.3 s (heartbeat.timeout)"),
        (
            "frame",
            {"frame_timeout": 0.3},
            b"x\nhalf",
            "a message was begun and not complete within 0.3 s (frame_timeout)",
        ),
    ],
)
def test_silence_closes_the_connection_and_the_log_names_the_setting(
    serve: Serve,
    connect: Connect,
    model: str,
    reason: str,
    options: dict[str, Any],
    sent: bytes,
    detail: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(model=model, **options)
    client = connect(server)
    client.socket.sendall(sent)
    if b"\n" in sent:
        assert client.recv() == b"x"
    assert ended(client)
    wait_until(lambda: server.stats().closed == {reason: 1})
    wait_until(lambda: any(f"closed, {reason}: {detail}" in message for message in caplog.messages))


def test_a_peer_that_takes_nothing_is_reset_after_write_timeout(
    serve: Serve, connect: Connect, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(lambda connection, message: message * 20_000, model=model, write_timeout=0.2, framing=Raw())
    client = connect(server, framing=Raw())
    for _ in range(10):
        client.send(b"x" * 1000)
    wait_until(lambda: server.stats().closed == {CloseReason.STALLED: 1})
    wait_until(lambda: "closed, stalled: the peer took nothing for 0.2 s (write_timeout)" in caplog.text)


def test_a_peer_that_takes_little_but_steadily_is_not_stalled(serve: Serve, connect: Connect, model: str) -> None:
    size = 6_000_000
    server = serve(
        lambda connection, message: b"x" * size, model=model, write_timeout=0.3, framing=Raw(), idle_timeout=None
    )
    client = connect(server, framing=Raw())
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(b"more than the kernel holds")
    begun = time.monotonic()
    received = 0
    while received < size:
        received += len(client.recv())
        if time.monotonic() - begun < 1.0:
            time.sleep(0.02)  # takes far longer in all than write_timeout
    assert received == size
    assert server.stats().closed == {}


def test_an_orderly_close_that_cannot_end_is_forced_and_the_log_names_close_timeout(
    serve: Serve, connect: Connect, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def handler(connection: Connection, message: bytes) -> bytes:
        connection.close("session over")
        return message * 10_000

    server = serve(handler, model=model, close_timeout=0.2, framing=Raw())
    client = connect(server, framing=Raw())
    client.send(b"x" * 1000)
    wait_until(lambda: server.stats().closed == {CloseReason.LOCAL: 1})
    wait_until(lambda: "closed, local: session over; not closed within 0.2 s (close_timeout)" in caplog.text)


def test_a_peer_that_does_not_end_its_side_is_left_after_the_linger_time(
    serve: Serve, connect: Connect, model: str
) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        connection.close()
        return b"bye"

    server = serve(handler, model=model)
    client = connect(server)
    client.send(b"x")
    assert list(client) == [b"bye"]  # in order, not by a reset
    wait_until(lambda: server.stats().closed == {CloseReason.LOCAL: 1})
    assert len(server.connections) == 0  # it leaves the table before it is counted


def test_a_peer_that_floods_after_our_last_word_is_cut_off(serve: Serve, connect: Connect, model: str) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        connection.close()
        return b"bye"

    client = connect(serve(handler, model=model))
    client.send(b"x")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            client.socket.sendall(b"y" * 65536)


def test_a_connection_that_talks_is_not_idle(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(model=model, idle_timeout=0.8, heartbeat=Heartbeat(0.8), first_message_timeout=0.8)
    client = connect(server)
    for _ in range(20):  # longer in all than each of the time-outs
        client.send(b"x")
        assert client.recv() == b"x"
        time.sleep(0.05)
    assert server.stats().closed == {}


def test_silence_while_the_server_does_not_read_kills_nobody(serve: Serve, connect: Connect) -> None:
    server = serve(inbox_limit=2, idle_timeout=0.5, heartbeat=Heartbeat(0.5), frame_timeout=0.5)
    client = connect(server)
    messages = [b"%d" % number for number in range(20)]
    server.threads.pause()
    client.socket.sendall(b"\n".join(messages) + b"\nhalf a ")
    (connection,) = wait_until(lambda: list(server.connections))
    wait_until(lambda: not connection._reading)
    client.socket.sendall(b"message\n")  # waits in the kernel, for it is not read
    time.sleep(0.8)  # longer than each of the time-outs
    server.threads.resume()
    assert [client.recv() for _ in range(21)] == [*messages, b"half a message"]
    assert server.stats().closed == {}


def test_a_device_is_not_silent_while_its_bytes_wait_behind_a_handler_that_takes_long(
    serve: Serve, connect: Connect
) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        if message == b"slow":
            time.sleep(1.0)
        return message

    server = serve(handler, model="threads", idle_timeout=0.5, heartbeat=Heartbeat(0.5))
    client = connect(server)
    client.send(b"slow")
    wait_until(lambda: server.stats().messages == 1)
    client.send(b"while it runs")
    assert client.recv() == b"slow"
    assert client.recv() == b"while it runs"


def test_a_stall_of_the_loop_is_not_the_devices_silence(serve: Serve, connect: Connect) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        if message == b"stall":
            time.sleep(1.0)
        return message

    server = serve(handler, model="epoll", idle_timeout=0.5)
    staller, other = connect(server), connect(server)
    other.send(b"hello")
    other.recv()
    staller.send(b"stall")
    other.send(b"sent during the stall")
    assert other.recv() == b"sent during the stall"


def test_replies_owed_after_the_peer_has_finished_have_a_deadline(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(lambda connection, message: Future(), model=model, idle_timeout=0.2)
    client = connect(server)
    client.send(b"x")
    client.send_eof()
    wait_until(lambda: server.stats().closed == {CloseReason.PEER: 1})
    assert ended(client)


# Adoption -------------------------------------------------------------------------------------------------------------


class Hooked(Server):
    """Does with new connections what the test says."""

    hook: Any = None

    def handle_new_connection(self, sock: socket.socket) -> Connection | None:
        return self.hook(super().handle_new_connection, sock)  # type: ignore[no-any-return]


def forgets_to_return(adopt: Any, sock: socket.socket) -> None:
    adopt(sock)


def raises_after(adopt: Any, sock: socket.socket) -> None:
    adopt(sock)
    raise ZeroDivisionError("on purpose")


def raises_before(adopt: Any, sock: socket.socket) -> None:
    raise ZeroDivisionError("on purpose")


def exits(adopt: Any, sock: socket.socket) -> None:
    raise SystemExit("on purpose")


def refuses(adopt: Any, sock: socket.socket) -> None:
    return None


@pytest.mark.parametrize("hook", [forgets_to_return, raises_after, raises_before, exits, refuses])
def test_what_handle_new_connection_does_not_return_is_refused_and_the_server_goes_on(model: str, hook: Any) -> None:
    server = Hooked(echo, bind="tcp://127.0.0.1:0", model=model)
    server.hook = hook
    with server:
        with Client(server.addresses[0]) as client:
            assert ended(client)
        wait_until(lambda: server.stats().refused == 1)
        server.hook = lambda adopt, sock: adopt(sock)
        with Client(server.addresses[0]) as client:
            client.send(b"served")
            assert client.recv() == b"served"


def test_a_socket_that_died_before_it_was_adopted_is_passed_over(model: str) -> None:
    def dead(adopt: Any, sock: socket.socket) -> Any:
        with socket.socket() as unconnected:
            return adopt(unconnected)  # getpeername: ENOTCONN, as after a reset

    server = Hooked(echo, bind="tcp://127.0.0.1:0", model=model)
    server.hook = dead
    with server:
        with Client(server.addresses[0]) as client:
            assert ended(client)
        wait_until(lambda: server.stats().accept_failures == 1)
        assert server.state == "running"


def test_a_connected_socket_from_elsewhere_is_served(serve: Serve, model: str) -> None:
    server = serve(model=model)
    ours, theirs = socket.socketpair()
    with theirs:
        connection = server.handle_new_connection(ours)
        assert connection is not None
        theirs.sendall(b"hello\n")
        assert theirs.recv(100) == b"hello\n"
        assert list(server.connections) == [connection]


# Requests -------------------------------------------------------------------------------------------------------------


def test_no_request_is_lost_whoever_posts_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 1: first into the queue, then the wake-up; the loop clears the wake-up first and then drains."""
    monkeypatch.setattr("mooring.net.loop.loop.LONGEST_POLL", 60.0)  # the net that would hide a lost wake-up
    loop = serve()._loop
    assert loop is not None
    done: list[int] = []

    def post() -> None:
        for number in range(500):
            loop.post(lambda number=number: done.append(number))  # type: ignore[misc]

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(done) == 3000)


def test_an_idle_server_sleeps(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(model=model)
    clients = [connect(server) for _ in range(5)]
    for client in clients:
        client.send(b"x")
        client.recv()
    loop = server._loop
    assert loop is not None
    turns: list[float] = []
    turn = loop._turn
    loop._turn = lambda: turns.append(time.monotonic()) or turn()  # type: ignore[assignment,func-returns-value,method-assign]
    time.sleep(0.5)
    assert len(turns) < 10


# An error of the loop -------------------------------------------------------------------------------------------------


def break_loop(server: Server) -> None:
    def fail() -> None:
        raise ZeroDivisionError("injected")

    assert server._loop is not None
    server._loop.post(fail)


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_an_error_in_the_loop_ends_the_server_with_a_message(
    model: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[CloseReason] = []

    class Handler(ConnectionHandler):
        def received(self, message: bytes) -> bytes:
            return message

        def lost(self, reason: CloseReason) -> None:
            lost.append(reason)

    server = Server(Handler, bind="tcp://127.0.0.1:0", model=model)
    server.start()
    clients = [connect(server) for _ in range(5)]
    for client in clients:
        client.send(b"x")
        client.recv()
    break_loop(server)
    with pytest.raises(MooringError, match=r"the server stopped because its loop failed.*injected") as caught:
        server.wait_stopped()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert server.state == "stopped"
    assert "the loop failed; the server stops" in caplog.text
    assert "ZeroDivisionError: injected" in caplog.text
    assert "did not end within" not in caplog.text  # nothing was stuck
    assert all(ended(client) for client in clients)
    wait_until(lambda: lost == [CloseReason.STOP] * 5)


def test_after_an_error_in_the_loop_those_who_wait_for_a_thread_still_hear_of_the_end(connect: Connect) -> None:
    lost: list[CloseReason] = []

    class Handler(ConnectionHandler):
        def received(self, message: bytes) -> bytes:
            return message

        def lost(self, reason: CloseReason) -> None:
            time.sleep(0.02)  # so that the others wait for the only thread when the loop has ended
            lost.append(reason)

    server = Server(Handler, bind="tcp://127.0.0.1:0", threads=1)
    server.start()
    clients = [connect(server) for _ in range(5)]
    for client in clients:
        client.send(b"x")
        client.recv()
    break_loop(server)
    with pytest.raises(MooringError):
        server.wait_stopped()
    assert lost == [CloseReason.STOP] * 5


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_an_error_in_the_loop_leaves_nothing_open_though_messages_wait(
    model: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.server.drain.LAST_CALLS", 0.1)
    gate = threading.Event()

    def handler(connection: Connection, message: bytes) -> bytes:
        if message == b"first" and model == "epoll":
            break_loop(connection.server)
        elif model != "epoll":
            gate.wait(10)
        return message

    server = Server(handler, bind="tcp://127.0.0.1:0", model=model, threads=1)
    server.start()
    clients = [connect(server) for _ in range(3)]
    for client in clients:
        with contextlib.suppress(OSError):  # in model epoll the first message ends the loop, and with it the others
            client.send(b"first", *[b"x"] * 500)
    if model != "epoll":
        wait_until(lambda: server.stats().messages > 500)
        break_loop(server)
    with pytest.raises(MooringError):
        server.wait_stopped()
    gate.set()
    for client in clients:
        with pytest.raises((ConnectionClosed, OSError)):
            while True:
                client.recv()


def test_a_stop_by_force_leaves_nothing_open_though_messages_wait_behind_a_stuck_handler(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    release, begun = threading.Event(), threading.Event()

    def handler(connection: Connection, message: bytes) -> bytes:
        begun.set()
        release.wait(30)
        return message

    server = Server(handler, bind="tcp://127.0.0.1:0", blocking=True, threads=1)
    server.start()
    stuck, waiting = connect(server), connect(server)
    stuck.send(b"stuck")
    assert begun.wait(10)
    waiting.send(b"waits for the only thread")
    wait_until(lambda: server.stats().messages == 2)
    server.stop(0.1)
    assert ended(waiting)
    left = list(server._loop.unfinished())  # type: ignore[union-attr]
    assert len(left) == 1  # the one whose handler still runs
    release.set()
    wait_until(lambda: not server._loop.unfinished())  # type: ignore[union-attr]
