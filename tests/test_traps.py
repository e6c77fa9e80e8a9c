"""Known traps of epoll with threads, and pains of other servers: a test for each that applies and no other test names.

Those with a test of their own elsewhere: descriptor reuse, starvation, partial writes, half-close, order, and user code
under a lock (tests/models), accept errors and the backlog while paused (tests/net/test_acceptor.py), mapped addresses
and V6ONLY (tests/net/test_listener.py), lost wake-ups (tests/net/test_loop.py), timers (tests/net/test_deadlines.py),
pool shrinking and workers that die (tests/threads), signals (tests/test_running.py), stop in each state
(tests/test_server.py), a second login of a device, last seen apart from connected, acknowledged only when stored
(tests/gateway), what is left over (tests/leaks.py, after every test), sockets of others that must not be unlinked
(tests/net/test_listener.py). A herd at one listener does not apply: a process has one, and one thread accepts.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from processes import run_python
from waiting import wait_until

from mooring import Client, CloseReason, FrameError, Heartbeat, Router, Server
from mooring.framing import Raw
from mooring.net.connection.connection import Connection

HERE = "tcp://127.0.0.1:0"
RESET = struct.pack("ii", 1, 0)


def echo(connection: Connection, message: bytes) -> bytes:
    return message


@pytest.fixture(params=["hybrid", "epoll", "threads"])
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Starts servers of each model."""
    with contextlib.ExitStack() as stack:
        yield lambda handler=echo, **options: stack.enter_context(
            Server(handler, bind=HERE, model=request.param, **options)
        )


class CountedEpoll:
    """An epoll that counts what is asked of it."""

    def __init__(self, epoll: Any) -> None:
        self._epoll = epoll
        self.polls = 0
        self.changes = 0

    def poll(self, *args: Any) -> Any:
        self.polls += 1
        return self._epoll.poll(*args)

    def __getattr__(self, name: str) -> Any:
        if name in ("register", "modify", "unregister"):
            self.changes += 1
        return getattr(self._epoll, name)


def counted(server: Server) -> CountedEpoll:
    """Watch the epoll of a server from its next turn on."""
    loop: Any = server._loop
    descriptors = loop.state.descriptors
    epoll = CountedEpoll(descriptors.epoll)
    loop.post(lambda: setattr(descriptors, "epoll", epoll))
    wait_until(lambda: descriptors.epoll is epoll)
    return epoll


def test_a_duplicate_of_a_closed_descriptor_gives_no_events_for_ever(serve: Callable[..., Server]) -> None:
    # close() leaves the registration in force while a duplicate is open: unregister must come first.
    server = serve()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        (connection,) = server.connections
        duplicate = os.dup(connection._socket.fileno())
        try:
            connection.abort()
            wait_until(lambda: len(server.connections) == 0)
            epoll = counted(server)
            time.sleep(0.2)
            assert epoll.polls < 10
        finally:
            os.close(duplicate)


def test_steady_traffic_costs_no_epoll_ctl(serve: Callable[..., Server]) -> None:
    server = serve()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        epoll = counted(server)
        for _ in range(100):
            client.send(b"x")
            client.recv()
        assert epoll.changes == 0


def test_a_reset_of_a_connection_that_is_not_read_does_not_spin_the_loop(serve: Callable[..., Server]) -> None:
    # A mask of 0 still delivers ERR and HUP, again and again: a connection that is not read is unregistered.
    pending: list[Future[bytes]] = []

    def handler(connection: Connection, message: bytes) -> Future[bytes]:
        pending.append(Future())
        return pending[-1]

    server = serve(handler, inbox_limit=2)
    with Client(server.addresses[0]) as client:
        client.send(*[b"x"] * 10)
        wait_until(lambda: any(not connection._reading for connection in server.connections))
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    epoll = counted(server)
    time.sleep(0.2)
    assert epoll.polls < 10
    while len(server.connections):
        for future in pending:
            if not future.done():
                future.set_result(b"late")
        time.sleep(0.005)


def test_after_half_close_a_pending_reply_does_not_spin_the_loop(serve: Callable[..., Server]) -> None:
    # Level-triggered, end-of-file is reported as long as reading is wanted.
    reply: Future[bytes] = Future()
    server = serve(lambda connection, message: reply)
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.send_eof()
        wait_until(lambda: any(connection.close_reason for connection in server.connections))
        epoll = counted(server)
        time.sleep(0.2)
        assert epoll.polls < 10
        reply.set_result(b"late")
        assert list(client) == [b"late"]


def test_close_from_another_thread_never_closes_the_descriptor_under_a_reader(serve: Callable[..., Server]) -> None:
    # Closed elsewhere, a blocked reader sleeps on and may later get the bytes of the next client of that number.
    server = serve()
    closers: set[int] = set()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        (connection,) = server.connections
        sock = connection._socket

        class Watched:
            def close(self) -> None:
                closers.add(threading.get_ident())
                sock.close()

            def __getattr__(self, name: str) -> Any:
                return getattr(sock, name)

        connection._socket = Watched()  # type: ignore[assignment]
        connection.close()
        assert list(client) == []
    wait_until(lambda: closers)
    assert threading.get_ident() not in closers


def test_a_connection_that_is_not_read_is_still_given_up_when_it_takes_nothing(serve: Callable[..., Server]) -> None:
    # Paused reads hide disconnects: the write deadline holds all the same.
    server = serve(lambda connection, message: message * 30, framing=Raw(), write_timeout=0.2, idle_timeout=None)
    with Client(server.addresses[0], framing=Raw()) as client:
        client.socket.settimeout(0.5)
        with contextlib.suppress(OSError):
            while True:
                client.socket.sendall(b"x" * 65536)
        wait_until(lambda: server.stats().closed.get(CloseReason.STALLED))


def test_writing_to_a_peer_that_is_gone_does_not_end_the_process() -> None:
    # Python ignores SIGPIPE from its start on; EPIPE comes as an exception instead and is an ordinary end.
    program = """
import socket
from mooring import Server
ours, theirs = socket.socketpair()
with Server(lambda connection, message: message, bind="tcp://127.0.0.1:0") as server:
    connection = server.handle_new_connection(ours)
    theirs.close()
    for _ in range(100):
        try:
            connection.send(b"nobody hears")
        except Exception:
            break
print("alive")
"""
    assert run_python(program) == "alive\n"


def test_the_last_reply_survives_though_the_client_sent_what_nobody_read(serve: Callable[..., Server]) -> None:
    # close() with unread input sends RST, which can overtake the reply: FIN first, then input is dropped for a while.
    def handler(connection: Connection, message: bytes) -> bytes:
        connection.close()
        return b"bye"

    server = serve(handler)
    for _ in range(20):
        with Client(server.addresses[0]) as client:
            client.send(b"x", *[b"unread" * 100] * 20)
            assert list(client) == [b"bye"]


def test_waking_a_loop_that_ends_writes_to_nobody_elses_descriptor() -> None:
    # The wake-up descriptor is closed under the lock of those who write to it: its number may be reused at once.
    for _ in range(6):
        server = Server(echo, bind=HERE)
        server.start()
        loop: Any = server._loop
        stop = threading.Event()

        def wake(loop: Any = loop, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                loop.post(lambda: None)

        threads = [threading.Thread(target=wake) for _ in range(2)]
        for thread in threads:
            thread.start()
        server.stop(5)
        reused = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(5)]
        try:
            time.sleep(0.005)
            for descriptor in reused:
                with pytest.raises(BlockingIOError):
                    os.eventfd_read(descriptor)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            for descriptor in reused:
                os.close(descriptor)


def test_a_clock_that_jumps_cuts_nobody(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(idle_timeout=30.0)
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 1e6)
        client.send(b"x")
        assert client.recv() == b"x"
        time.sleep(0.1)
        assert server.stats().closed == {}


def test_descriptors_above_1024_are_served(serve: Callable[..., Server]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    filler: list[int] = []
    try:
        while not filler or filler[-1] < 1100:
            filler.append(os.open(os.devnull, os.O_RDONLY))
        with Client(serve().addresses[0]) as client:
            assert client.socket.fileno() > 1024
            client.send(b"x")
            assert client.recv() == b"x"
    finally:
        for descriptor in filler:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_small_replies_do_not_wait_for_acknowledgements(serve: Callable[..., Server]) -> None:
    server = serve()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        (connection,) = server.connections
        assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_dead_peer_with_unsent_bytes_is_given_up_by_the_kernel_but_not_before_us(
    serve: Callable[..., Server],
) -> None:
    server = serve(write_timeout=7.0)
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        (connection,) = server.connections
        assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 7000


def test_sockets_are_not_inherited_by_programs_that_handlers_start(serve: Callable[..., Server]) -> None:
    server = serve()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        (connection,) = server.connections
        assert not os.get_inheritable(connection._socket.fileno())
        loop: Any = server._loop
        assert not os.get_inheritable(loop.state.descriptors.epoll.fileno())
        assert not os.get_inheritable(loop.state.mailbox.fd)


def test_starting_a_server_changes_no_signal_handler(serve: Callable[..., Server]) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    serve()
    assert [signal.getsignal(number) for number in numbers] == before


def test_the_loop_is_level_triggered() -> None:
    # Edge-triggered, a bounded read would leave bytes behind that nobody hears of again.
    with Server(echo, bind=HERE, framing=Raw()) as server, Client(server.addresses[0], framing=Raw()) as client:
        size = 1_000_000
        thread = threading.Thread(target=client.socket.sendall, args=(b"x" * size,))
        thread.start()
        received = 0
        while received < size:
            received += len(client.recv())
        thread.join()


def test_large_messages_that_nobody_serves_yet_are_read_up_to_a_bound() -> None:
    # By number alone, 256 messages of 64 KiB would wait for a busy handler: 16 MiB of each peer, known or not.
    go = threading.Event()

    def handler(connection: Connection, message: bytes) -> bytes:
        go.wait(20)
        return message[:5]

    def waiting() -> int:
        (connection,) = server.connections
        return sum(len(item) for item in list(connection._inbox or ()) if isinstance(item, bytes))

    message = b"%05d" + b"x" * 60_000
    sent = [message % number for number in range(120)]
    with Server(handler, bind=HERE, blocking=True) as server, Client(server.addresses[0]) as client:
        thread = threading.Thread(target=lambda: client.send(*sent))
        thread.start()
        wait_until(lambda: any(not connection._reading for connection in server.connections))
        assert waiting() < (1 << 20) + 3 * 65_536
        go.set()
        assert [client.recv() for _ in sent] == [one[:5] for one in sent]
        thread.join()


def test_a_client_that_vanishes_without_a_word_is_given_up_without_any_setting() -> None:
    # TCP's own keepalive takes two hours; trackers that lost their network fill the table of descriptors long before.
    timeouts = Server(echo, bind=HERE).configuration.timeouts
    for timeout in (timeouts.idle, timeouts.first_message, timeouts.frame):
        assert timeout is not None
        assert 0 < timeout <= 600


def test_clients_that_stop_in_the_middle_of_a_message_take_no_thread() -> None:
    with Server(echo, bind=HERE, threads=1, blocking=True) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            slow = stack.enter_context(Client(server.addresses[0]))
            slow.socket.sendall(b"half a mess")
        with Client(server.addresses[0]) as client:
            client.send(b"whole")
            assert client.recv() == b"whole"


@pytest.mark.parametrize("model", ["hybrid", "threads"])
def test_handlers_that_all_wait_for_a_database_hold_up_neither_heartbeats_nor_new_clients(model: str) -> None:
    go = threading.Event()
    router = Router(lambda message: message)

    @router.on(b"store", blocking=True)
    def store(connection: Connection, message: bytes) -> bytes:
        go.wait(20)
        return b"stored"

    @router.on(b"quick", blocking=False)
    def quick(connection: Connection, message: bytes) -> bytes:
        return b"done"

    beat = Heartbeat(timeout=60.0, interval=0.05, message=b"alive?")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(router, bind=HERE, model=model, threads=2, heartbeat=beat))
        waiting = [stack.enter_context(Client(server.addresses[0])) for _ in range(5)]
        for client in waiting:
            client.send(b"store")
        wait_until(lambda: server.stats().messages == 5)
        newcomer = stack.enter_context(Client(server.addresses[0]))
        newcomer.send(b"quick")
        assert next(message for message in newcomer if message != b"alive?") == b"done"
        assert all(client.recv() == b"alive?" for client in waiting)
        go.set()
        for client in waiting:
            assert next(message for message in client if message != b"alive?") == b"stored"


def test_a_message_that_would_be_two_on_the_wire_is_not_sent(serve: Callable[..., Server]) -> None:
    # Text of a user in a command must not become a second command.
    server = serve()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        (connection,) = server.connections
        with pytest.raises(FrameError):
            connection.send(b"set name a\nreboot")
        connection.send(b"after")
        assert client.recv() == b"after"


def test_the_count_of_connections_comes_back_to_nothing_however_they_end(serve: Callable[..., Server]) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        if message == b"raise":
            raise FrameError("nonsense")
        if message == b"abort":
            connection.abort()
        return message

    server = serve(handler, max_connections=8)
    for _ in range(3):
        clients = [Client(server.addresses[0]) for _ in range(8)]
        wait_until(lambda: len(server.connections) == 8)
        for client, word in zip(clients, [b"raise", b"abort", b"x", b"", b"x", b"raise", b"abort", b"x"], strict=True):
            client.send(word)
        clients[2].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for client in clients:
            client.close()
        wait_until(lambda: len(server.connections) == 0)
        wait_until(lambda: not server._loop.unfinished())  # a place is free when the descriptor is closed
    with Client(server.addresses[0]) as client:  # a place that was lost at each round would be missed by now
        client.send(b"there")
        assert client.recv() == b"there"
