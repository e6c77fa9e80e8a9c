"""The Server: its arguments, and every lifecycle call in every state and from every thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from mooring import BindError, Client, CloseReason, ConnectionClosed, ConnectionHandler, Heartbeat, Server, ServerState
from mooring.framing import Lines
from mooring.net.connection.connection import Connection
from mooring.threads import ThreadPool

HERE = "tcp://127.0.0.1:0"


def echo(connection: Connection, message: bytes) -> bytes:
    return message


@pytest.fixture
def made() -> Iterator[Callable[..., Server]]:
    """Makes servers, and stops them at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(handler: Any = echo, kind: type[Server] = Server, **options: Any) -> Server:
            server = kind(handler, **{"bind": HERE, **options})
            stack.callback(server.stop, 5)
            return server

        yield make


Made = Callable[..., Server]


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def serves(server: Server) -> bool:
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        return client.recv() == b"x"


# Arguments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"model": "asyncio"}, "model is 'asyncio'; choose one of hybrid, epoll, threads"),
        ({"overflow": "explode"}, "overflow is 'explode'; choose one of close, drop, block"),
        ({"model": "epoll", "overflow": "block"}, "block"),
        ({"model": "epoll", "blocking": True}, "blocking=True"),
        ({"idle_timeout": 0}, "idle_timeout is 0; it must be more than 0, or None"),
        ({"first_message_timeout": -1}, "first_message_timeout is -1"),
        ({"frame_timeout": "30"}, "frame_timeout is '30'"),
        ({"write_timeout": None}, "write_timeout is None; it must be more than 0"),
        ({"close_timeout": float("nan")}, "close_timeout is nan"),
        ({"backlog": 0}, "backlog is 0"),
        ({"backlog": 1.5}, "backlog is 1.5"),
        ({"max_connections": 0}, "max_connections is 0"),
        ({"max_connections": 2.5}, "max_connections is 2.5"),
        ({"inbox_limit": True}, "inbox_limit is True"),
        ({"outbox_limit": None}, "outbox_limit is None"),
        ({"bind": []}, "bind names no address"),
        ({"bind": "tls://0.0.0.0:7000"}, "needs a certificate"),
        ({"bind": ["tcp://127.0.0.1:0", "7000"]}, "7000: an address begins with tcp://, tls:// or unix:"),
        ({"bind": 7000}, "bind is 7000"),
        ({"bind": ["tcp://127.0.0.1:7000", "tcp://127.0.0.1:7000"]}, "bind names tcp://127.0.0.1:7000 twice"),
        ({"bind": ["unix:x", "unix:x"]}, "bind names unix:x twice"),
        ({"threads": 0}, "0"),
        ({"threads": (5, 2)}, "5"),
        ({"heartbeat": 30}, "heartbeat is 30; it must be a Heartbeat or None"),
        ({"framing": type("Unready", (), {})}, "framing is"),
        ({"framing": "\n"}, "framing is '\\n'"),
        ({"lifespan": 5}, "lifespan is 5"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_and_opens_nothing(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Server(echo, **options)
    assert complaint in str(caught.value)


def test_a_framing_that_was_not_called_is_refused() -> None:
    with pytest.raises(TypeError, match=r"framing is .*Lines.*an object with split and join"):
        Server(echo, framing=Lines)  # type: ignore[arg-type]


def test_a_write_timeout_of_weeks_is_no_problem(made: Made) -> None:
    server = made(write_timeout=1e9)
    server.start()
    assert serves(server)


def test_the_constructor_opens_nothing_and_starts_nothing(folder: Path) -> None:
    threads = threading.active_count()
    server = Server(echo, bind=f"unix:{folder}/x", database=f"sqlite:///{folder}/x.db")
    assert list(folder.iterdir()) == []
    assert threading.active_count() == threads
    assert server.state is ServerState.NEW
    assert server.addresses == ()


# States x calls -------------------------------------------------------------------------------------------------------


def bring(server: Server, state: str) -> None:
    """Put a server into this state."""
    if state in ("initialized",):
        server.initialize()
    if state in ("running", "stopped after running"):
        server.start()
    if state.startswith("stopped"):
        server.stop()


@pytest.mark.parametrize(
    ("state", "call", "after"),
    [
        ("new", "initialize", "initialized"),
        ("new", "start", "running"),
        ("new", "stop", "stopped"),
        ("new", "suspend_accepting", "new"),
        ("new", "resume_accepting", "new"),
        ("initialized", "initialize", "initialized"),
        ("initialized", "start", "running"),
        ("initialized", "stop", "stopped"),
        ("initialized", "suspend_accepting", "initialized"),
        ("initialized", "resume_accepting", "initialized"),
        ("running", "initialize", "running"),
        ("running", "start", "running"),
        ("running", "stop", "stopped"),
        ("running", "suspend_accepting", "running"),
        ("running", "resume_accepting", "running"),
        ("stopped", "stop", "stopped"),
        ("stopped", "wait_stopped", "stopped"),
        ("stopped", "suspend_accepting", "stopped"),
        ("stopped", "resume_accepting", "stopped"),
        ("stopped after running", "stop", "stopped"),
        ("stopped after running", "wait_stopped", "stopped"),
        ("stopped after running", "suspend_accepting", "stopped"),
    ],
)
@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_a_lifecycle_call_is_legal_once_and_twice(made: Made, model: str, state: str, call: str, after: str) -> None:
    server = made(model=model)
    bring(server, state)
    getattr(server, call)()
    assert server.state == after
    thread = in_thread(getattr(server, call))  # twice, and from another thread
    thread.join(10)
    assert not thread.is_alive()
    assert server.state == after
    server.stats()
    server.adjust_thread_pool_size()
    repr(server)


@pytest.mark.parametrize("state", ["stopped", "stopped after running"])
@pytest.mark.parametrize("call", ["initialize", "start", "serve_forever", "run", "__enter__"])
def test_a_server_that_has_stopped_says_to_make_a_new_one(made: Made, state: str, call: str) -> None:
    server = made()
    bring(server, state)
    with pytest.raises(RuntimeError, match="this server is stopped; make a new Server"):
        getattr(server, call)()


@pytest.mark.parametrize("state", ["new", "initialized", "stopped", "stopped after running"])
def test_a_server_takes_connections_only_while_it_runs(made: Made, state: str) -> None:
    server = made()
    bring(server, state)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RuntimeError, match=f"the server is {state.partition(' ')[0]}"):
        server.handle_new_connection(ours)


def test_the_port_is_known_from_initialize_on(made: Made, folder: Path) -> None:
    server = made(bind=[f"unix:{folder}/x", HERE])
    with pytest.raises(RuntimeError, match="call initialize"):
        _ = server.port
    server.initialize()
    assert server.port == server.addresses[1].port != 0
    with pytest.raises(RuntimeError, match="listens on no TCP port"):
        other = made(bind=f"unix:{folder}/y")
        other.initialize()
        _ = other.port


def test_after_initialize_clients_wait_and_after_start_they_are_served(made: Made) -> None:
    server = made()
    server.initialize()
    with Client(server.addresses[0]) as client:
        client.send(b"early")
        server.start()
        assert client.recv() == b"early"


def test_run_belongs_to_the_main_thread(made: Made) -> None:
    server = made()
    errors: list[Exception] = []

    def run() -> None:
        try:
            server.run()
        except RuntimeError as exc:
            errors.append(exc)

    in_thread(run).join(10)
    assert "main thread" in str(errors[0])
    assert server.state == "new"


def test_serve_forever_returns_when_another_thread_stops_the_server(made: Made) -> None:
    server = made()
    thread = in_thread(server.serve_forever)
    wait_until(lambda: server.state == "running")
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_many_threads_that_start_and_stop_at_once_agree(made: Made) -> None:
    complaints: list[str] = []
    for _ in range(20):
        server = made()
        barrier = threading.Barrier(6)

        def call(what: Callable[[], None], barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                what()
            except RuntimeError as exc:
                complaints.append(str(exc))

        calls = [server.initialize, server.start, server.start, server.stop, server.stop, server.suspend_accepting]
        threads = [threading.Thread(target=call, args=(what,)) for what in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert server.state == "stopped"
    assert all("make a new Server" in complaint for complaint in complaints)


def test_a_stop_during_start_waits_for_it_and_stops(made: Made) -> None:
    inside, go_on = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def lifespan(server: Server) -> Iterator[None]:
        inside.set()
        go_on.wait(10)
        yield

    server = made(lifespan=lifespan)

    def start() -> None:
        with contextlib.suppress(RuntimeError):  # if the stop comes between initialize and start
            server.start()

    starter = in_thread(start)
    assert inside.wait(10)
    assert server.state == "initializing"
    stopper = in_thread(server.stop)
    go_on.set()
    starter.join(10)
    stopper.join(10)
    assert server.state == "stopped"


def test_a_stop_waits_for_the_stop_that_runs_already(made: Made) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def handler(connection: Connection, message: bytes) -> bytes:
        inside.set()
        go_on.wait(10)
        return message

    server = made(handler)
    server.start()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        assert inside.wait(10)
        first = in_thread(server.stop)
        wait_until(lambda: server.state == "stopping")
        server.stop(timeout=0.05)  # gives up waiting, and spoils nothing
        assert server.state == "stopping"
        with pytest.raises(RuntimeError, match="this server is stopping"):
            server.start()
        second = in_thread(server.stop)
        go_on.set()
        first.join(10)
        second.join(10)
        assert client.recv() == b"x"
    assert server.state == "stopped"


# Calls from within ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["initialize", "start"])
def test_a_lifecycle_call_in_the_lifespan_says_what_is_wrong(made: Made, call: str) -> None:
    @contextlib.contextmanager
    def lifespan(server: Server) -> Iterator[None]:
        getattr(server, call)()
        yield

    server = made(lifespan=lifespan)
    with pytest.raises(RuntimeError, match="initialize\\(\\) is running in this very thread"):
        server.start()
    assert server.state == "new"


def test_stop_in_the_lifespan_stops_once_it_is_initialized(made: Made) -> None:
    @contextlib.contextmanager
    def lifespan(server: Server) -> Iterator[None]:
        server.stop()
        yield
        server.stop()  # it is stopping

    server = made(lifespan=lifespan)
    with contextlib.suppress(RuntimeError):
        server.start()
    thread = in_thread(server.wait_stopped)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
@pytest.mark.parametrize("where", ["handler", "connected", "lost", "beat", "accept"])
def test_stop_by_user_code_of_any_kind_begins_the_drain_and_returns(made: Made, model: str, where: str) -> None:
    class Handler(ConnectionHandler):
        def connected(self) -> None:
            stop_if(where == "connected")

        def received(self, message: bytes) -> bytes:
            stop_if(where == "handler")
            return message

        def lost(self, reason: CloseReason) -> None:
            stop_if(where == "lost")

    class Stopping(Server):
        def handle_new_connection(self, sock: socket.socket) -> Connection | None:
            stop_if(where == "accept")
            return super().handle_new_connection(sock)

    def beat(connection: Connection) -> None:
        stop_if(where == "beat")

    def stop_if(condition: bool) -> None:
        if condition:
            server.stop(timeout=20)
            returned.append(where)

    returned: list[str] = []
    heartbeat = Heartbeat(5.0, interval=0.05, message=beat)
    server = made(Handler, Stopping, model=model, heartbeat=heartbeat)
    server.start()
    with contextlib.suppress(ConnectionClosed, OSError), Client(server.addresses[0]) as client:
        client.send(b"x")
        if where != "lost":
            client.recv(timeout=1)
            client.recv(timeout=5)
    waiter = in_thread(server.wait_stopped)
    waiter.join(8)
    assert not waiter.is_alive()
    assert set(returned) == {where}


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_server_that_could_not_bind_can_be_tried_again(made: Made) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = made(bind=f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(BindError, match="address already in use"):
            server.start()
        assert server.state == "new"
    server.start()
    assert serves(server)


def test_a_failed_start_leaves_what_was_entered_and_closes_what_was_opened(made: Made) -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def lifespan(server: Server) -> Iterator[None]:
        events.append("entered")
        yield
        events.append("left")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = made(bind=[HERE, f"tcp://127.0.0.1:{taken.getsockname()[1]}"], lifespan=lifespan)
        with pytest.raises(BindError):
            server.initialize()
    assert events == ["entered", "left"]


@pytest.mark.parametrize(
    ("model", "which"), [("hybrid", "loop-1"), ("hybrid", "watchdog"), ("epoll", "loop"), ("threads", "loop")]
)
def test_a_server_that_gets_no_thread_says_so_and_leaves_nothing_open(
    made: Made, model: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def start_others(thread: threading.Thread) -> None:
        if thread.name.endswith(which):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_others)
    server = made(model=model)
    with pytest.raises(RuntimeError, match="thread"):
        server.start()
    assert server.state == "stopped"
    server.stop()


def test_the_lifespan_is_left_after_the_drain_and_an_error_of_it_does_not_keep_the_server(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []

    @contextlib.contextmanager
    def lifespan(server: Server) -> Iterator[None]:
        yield
        events.append(len(server.connections))
        raise ZeroDivisionError("on purpose")

    server = made(lifespan=lifespan)
    server.start()
    with Client(server.addresses[0]) as client:
        client.send(b"x")
        client.recv()
        stopper = in_thread(server.stop)
        assert list(client) == []
    stopper.join(10)
    assert events == [0]
    assert server.state == "stopped"
    assert "ZeroDivisionError: on purpose" in caplog.text


# The rest -------------------------------------------------------------------------------------------------------------


def test_a_thread_pool_of_the_users_is_not_shut_down(made: Made) -> None:
    with ThreadPool(1) as pool:
        server = made(threads=pool)
        with server:
            assert serves(server)
        assert pool.submit(abs, -1).result(5) == 1


def test_stats_count_from_the_start(made: Made) -> None:
    server = made()
    assert server.stats().uptime == 0.0
    assert server.stats().accepted == 0
    with server:
        assert serves(server)
        assert serves(server)
        wait_until(lambda: server.stats().closed == {"peer": 2})
        stats = server.stats()
        assert (stats.accepted, stats.refused, stats.messages, stats.connections) == (2, 0, 2, 0)
        assert stats.uptime > 0
        assert stats.threads is not None
    assert server.stats().state == "stopped"
    assert server.stats().accepted == 2


def test_an_allow_list_is_an_override_that_returns_none(made: Made) -> None:
    class Choosy(Server):
        allowed: frozenset[str] = frozenset()

        def handle_new_connection(self, sock: socket.socket) -> Connection | None:
            return super().handle_new_connection(sock) if sock.getpeername()[0] in self.allowed else None

    server = made(kind=Choosy)
    with server:
        with Client(server.addresses[0]) as client, pytest.raises((ConnectionClosed, ConnectionResetError)):
            client.recv()
        assert server.stats().refused == 1
        server.allowed = frozenset({"127.0.0.1"})
        assert serves(server)


def test_the_database_can_be_replaced_only_before_initialize(made: Made, folder: Path) -> None:
    server = made(database=f"sqlite:///{folder}/a.db")
    server.database = f"sqlite:///{folder}/b.db"
    server.start()
    assert [file.name for file in folder.glob("*.db")] == ["b.db"]
    with pytest.raises(RuntimeError, match="the server is running: its database can be replaced only before"):
        server.database = None


@pytest.mark.parametrize("model", ["epoll", "threads"])
def test_models_without_a_pool_say_so(made: Made, model: str) -> None:
    server = made(model=model)
    with pytest.raises(RuntimeError, match="does not apply; use model='hybrid'"):
        server.threads.resize(5)
    with pytest.raises(RuntimeError, match="use model='hybrid'"):
        server.threads.pause()
    assert server.stats().threads is None


def test_an_address_that_was_served_can_be_served_again_at_once(made: Made) -> None:
    first = made()
    with first:
        assert serves(first)
        address = str(first.addresses[0])
    second = made(bind=address)
    with second:
        assert serves(second)
