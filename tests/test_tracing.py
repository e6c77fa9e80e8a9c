"""Following a connection: every byte, every message with its route and thread, and nothing left of it afterwards."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, Connection, ConnectionHandler, Router, Server, blocking
from mooring.framing import LengthPrefixed
from mooring.net.connection.connections import Connections
from mooring.net.tapping.listeners import AT_ONCE, MOST_CANDIDATES, MOST_LISTENERS, Listeners, Listening
from mooring.net.tapping.tap import MOST_BYTES, MOST_HELD, TalkingSocket
from mooring.net.tapping.trace_event import TraceEvent
from mooring.tracing import Trace, whom

MODELS = ("hybrid", "epoll", "threads")


def echo(connection: Connection, message: bytes) -> bytes:
    if message.startswith(b"name "):
        connection.identify(message[5:].decode())
    return message


class Heard:
    """What a listener was told."""

    def __init__(self) -> None:
        self.events: list[TraceEvent] = []

    def put(self, event: TraceEvent) -> None:
        self.events.append(event)

    def data(self, direction: str) -> list[bytes]:
        return [event.data for event in self.events if event.direction == direction]

    def wait_for(self, direction: str, data: bytes | None = None) -> TraceEvent:
        def found() -> list[TraceEvent]:
            return [one for one in self.events if one.direction == direction and data in (None, one.data)]

        return wait_until(found, what=f"{direction} {data!r}")[0]


def ask(client: Client, message: bytes) -> bytes:
    client.send(message)
    return client.recv()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.mark.parametrize("model", MODELS)
def test_every_byte_and_every_message_is_told_in_the_order_in_which_people_think(model: str, heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0", model=model) as server, Client(server.addresses[0]) as client:
        assert ask(client, b"before") == b"before"
        (connection,) = server.connections
        stop = server.listen(heard.put, connection=connection.id)
        assert ask(client, b"one") == b"one"
        heard.wait_for("out", b"one\n")
        client.send(b"two", b"three")
        assert [client.recv(), client.recv()] == [b"two", b"three"]
        heard.wait_for("out", b"three\n")
        connection.send(b"pushed")
        assert client.recv() == b"pushed"
        heard.wait_for("out", b"pushed\n")
        stop()
        assert ask(client, b"after") == b"after"
    told = [(event.direction, event.data) for event in heard.events]
    assert told == [
        ("in", b"one\n"),
        ("served", b"one"),
        ("out", b"one\n"),
        ("in", b"two\nthree\n"),
        ("served", b"two"),
        ("out", b"two\n"),
        ("served", b"three"),
        ("out", b"three\n"),
        ("out", b"pushed\n"),
    ]
    served = heard.events[1]
    assert (served.route or "").endswith("test_tracing.echo")
    assert served.where in {"hybrid": ("pool", "loop"), "epoll": ("loop",), "threads": ("thread",)}[model]
    assert served.milliseconds is not None
    assert served.connection == connection.id
    assert served.peer.startswith("tcp://127.0.0.1:")
    assert abs(served.time - time.time()) < 60


@pytest.mark.parametrize("model", MODELS)
def test_afterwards_the_connection_is_like_all_others(model: str, heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0", model=model) as server, Client(server.addresses[0]) as client:
        ask(client, b"x")
        (connection,) = server.connections
        first = server.listen(heard.put, connection=connection.id)
        second = server.listen(heard.put, peer="127.0.0.1")
        assert isinstance(connection._socket, TalkingSocket)
        first()
        assert connection._tap is not None
        second()
        second()
        assert connection._tap is None
        assert not isinstance(connection._socket, TalkingSocket)
        assert server.connections.watcher is None
        ask(client, b"y")
        assert not heard.events


def test_a_decoded_message_its_route_and_where_it_ran(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.models.handover.LOOK_INTERVAL", 60.0)  # a thread that stands still keeps the loop
    router = Router(lambda message: message["op"], decode=json.loads)

    @router.on("quick", blocking=False)
    def quick(connection: Connection, message: dict[str, Any]) -> bytes:
        return b"quick"

    @router.on("slow", blocking=True)
    def slow(connection: Connection, message: dict[str, Any]) -> bytes:
        return b"slow"

    @router.on("waits", blocking=False)
    def waits(connection: Connection, message: dict[str, Any]) -> bytes:
        with blocking():
            return b"waits"

    with Server(router, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        stop = server.listen(heard.put, peer="127.0.0.1")
        for op in ("quick", "slow", "waits"):
            wait_until(lambda: server.stats().spares)
            assert ask(client, json.dumps({"op": op}).encode()) == op.encode()
        wait_until(lambda: len(heard.data("out")) == 3)
        stop()
    served = [event for event in heard.events if event.direction == "served"]
    assert [event.message for event in served] == ["{'op': 'quick'}", "{'op': 'slow'}", "{'op': 'waits'}"]
    assert [(event.route or "").split(" (")[0] for event in served] == ["quick", "slow", "waits"]
    assert (served[0].route or "").endswith(".quick)")
    assert [event.where for event in served] == ["loop", "pool", "loop, then moved"]


def test_bytes_that_never_become_a_message_are_seen(heard: Heard) -> None:
    framing = LengthPrefixed(2)
    with Server(echo, bind="tcp://127.0.0.1:0", framing=framing) as server, Client(server.addresses[0]) as client:
        stop = server.listen(heard.put, peer="127.0.0.1")
        client.socket.sendall(b"\x00\x10short")
        assert heard.wait_for("in").hex == "00 10 73 68 6f 72 74"
        stop()
    assert not heard.data("served")


def test_what_a_handler_does_wrong_and_the_end_are_told(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    def fail(connection: Connection, message: bytes) -> bytes:
        raise LookupError("my sensors")

    with Server(fail, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        server.listen(heard.put, peer="127.0.0.1")
        client.send(b"x")
        assert list(client) == []
        closed = heard.wait_for("closed")
    (served,) = [event for event in heard.events if event.direction == "served"]
    assert served.detail is not None
    assert served.detail.endswith("raised LookupError")
    assert closed.detail == f"handler: {served.detail}"
    assert caplog.records


def test_pending_replies_and_greetings_are_told(heard: Heard) -> None:
    later: Future[bytes] = Future()

    class Greeter(ConnectionHandler):
        def connected(self) -> bytes:
            return b"welcome"

        def received(self, message: bytes) -> Future[bytes]:
            return later

    with Server(Greeter, bind="tcp://127.0.0.1:0") as server:
        stop = server.listen(heard.put)
        with Client(server.addresses[0]) as client:
            assert client.recv() == b"welcome"
            client.send(b"x")
            heard.wait_for("served", b"x")
            later.set_result(b"at last")
            assert client.recv() == b"at last"
            heard.wait_for("out", b"at last\n")
        stop()
    assert next(event.message for event in heard.events if event.direction == "served") == "(connected)"


# Whom -----------------------------------------------------------------------------------------------------------------


def test_a_name_is_followed_from_connection_to_connection_its_login_included(heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server:
        stop = server.listen(heard.put, name="meter-7")
        for name in (b"name meter-7", b"name meter-8", b"name meter-7"):
            with Client(server.addresses[0]) as client:
                ask(client, b"hello")
                ask(client, name)
                ask(client, b"data of " + name)
            wait_until(lambda: not len(server.connections))
        stop()
        assert server.connections.watcher is None
    once = [b"hello", b"name meter-7", b"data of name meter-7"]
    assert heard.data("served") == once * 2
    assert [event.direction for event in heard.events].count("opened") == 2
    assert len({event.connection for event in heard.events}) == 2


def test_a_connection_that_changes_its_name_is_left(heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        ask(client, b"name a")
        server.listen(heard.put, name="a")
        ask(client, b"name b")
        ask(client, b"secret of b")
    assert b"secret of b" not in heard.data("served")


def test_a_peer_is_an_address_with_or_without_its_port(heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as one:
        host, port = one.socket.getsockname()
        stops = [server.listen(heard.put, peer=peer) for peer in (host, f"{host}:{port}", f"tcp://{host}:{port}")]
        stops.append(server.listen(heard.put, peer="192.0.2.1"))
        ask(one, b"x")
        wait_until(lambda: heard.data("out") == [b"x\n"] * 3)
        for stop in stops:
            stop()


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (7, {"connection": 7}),
        ("7", {"connection": 7}),
        ("meter-7", {"name": "meter-7"}),
        ("192.0.2.1", {"peer": "192.0.2.1"}),
        ("192.0.2.1:70", {"peer": "192.0.2.1:70"}),
        ("tcp://[2001:db8::1]:70", {"peer": "[2001:db8::1]:70"}),
        ("2001:db8::1", {"peer": "2001:db8::1"}),
        ("1.2.3", {"name": "1.2.3"}),
        ("a:7", {"name": "a:7"}),
    ],
)
def test_what_a_target_means(target: str | int, meant: dict[str, Any]) -> None:
    assert whom(target) == meant


def test_a_connection_that_is_not_there_is_an_error_and_nothing_stays(heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server:
        with pytest.raises(KeyError):
            server.listen(heard.put, connection=10**9)
        assert server.connections.watcher is None
        with pytest.raises(ValueError, match="at most one"):
            server.listen(heard.put, connection=1, name="a")


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_bounded(heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        stops = [server.listen(heard.put, name=f"nobody-{number}") for number in range(MOST_LISTENERS)]
        with pytest.raises(ValueError, match="end one"):
            server.listen(heard.put, name="one too many")
        stops.pop()()
        stops.append(server.listen(heard.put, peer="127.0.0.1"))
        ask(client, b"x" * 50_000)
        long = heard.wait_for("served")
        assert (len(long.data), long.size) == (MOST_BYTES, 50_000)
        for stop in stops:
            stop()


def test_candidates_are_bounded() -> None:
    kept: list[Any] = []

    class Some:
        def __init__(self) -> None:
            self._tap = None
            self._socket = None

    listening = Listening(kept.append, connection=None, name="a", peer=None)
    for _ in range(MOST_CANDIDATES + 10):
        listening.consider(Some())  # type: ignore[arg-type]
    assert len(listening.candidates) == MOST_CANDIDATES
    while listening.leave(100):
        pass
    assert not listening.candidates


def test_a_listener_that_raises_is_taken_off_and_the_device_does_not_notice(caplog: pytest.LogCaptureFixture) -> None:
    def put(event: TraceEvent) -> None:
        raise LookupError("broken")

    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        server.listen(put, peer="127.0.0.1")
        assert ask(client, b"x") == b"x"
        assert ask(client, b"y") == b"y"
    assert caplog.text.count("a listener of") == 1


@pytest.mark.parametrize("model", MODELS)
def test_listening_begins_and_ends_under_load_without_a_reply_lost(model: str) -> None:
    errors: list[BaseException] = []
    stop = threading.Event()

    def load(address: Any) -> None:
        try:
            with Client(address) as client:
                number = 0
                while not stop.is_set():
                    batch = [b"%d" % (number + one) for one in range(20)]
                    client.send(*batch)
                    assert [client.recv() for _ in batch] == batch
                    number += 20
        except BaseException as exc:  # the test shows it
            errors.append(exc)

    with Server(echo, bind="tcp://127.0.0.1:0", model=model) as server:
        threads = [threading.Thread(target=load, args=(server.addresses[0],)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            with server.trace("127.0.0.1", limit=50) as trace:
                for number, _event in enumerate(trace):
                    if number > 20:
                        break
        stop.set()
        for thread in threads:
            thread.join()
        assert not errors
        assert all(connection._tap is None for connection in server.connections)


def test_a_call_that_sends_without_end_is_heard_before_it_is_over(heard: Heard) -> None:
    let_go = threading.Event()

    def pour(connection: Connection, message: bytes) -> bytes:
        for number in range(3 * MOST_HELD):
            connection.send(b"%d" % number)
        assert let_go.wait(20)
        return b"done"

    with Server(pour, bind="tcp://127.0.0.1:0", model="threads") as server, Client(server.addresses[0]) as client:
        server.listen(heard.put, peer="127.0.0.1")
        client.send(b"x")
        heard.wait_for("out", b"%d\n" % (3 * MOST_HELD - 1))
        assert not heard.data("served")
        let_go.set()
        heard.wait_for("out", b"done\n")
    assert heard.data("out")[:-1] == [b"%d\n" % number for number in range(3 * MOST_HELD)]


def test_listening_to_many_holds_the_lock_for_a_few_at_a_time(heard: Heard) -> None:
    class Lock:
        """Counts what happens while it is held."""

        def __init__(self) -> None:
            self.changes: list[int] = []

        def __enter__(self) -> None:
            self.changes.append(0)

        def __exit__(self, *args: object) -> None:
            pass

    class Some:
        name, peer, id, _phase, _socket = None, None, 1, 0, None

        def __setattr__(self, name: str, value: object) -> None:
            if name == "_tap":
                lock.changes[-1] += 1
            object.__setattr__(self, name, value)

        _tap: Any = None

    lock, some = Lock(), [Some() for _ in range(10 * AT_ONCE)]
    listeners = Listeners(some)  # type: ignore[arg-type]
    listeners._lock = lock  # type: ignore[assignment]
    listeners._connections = type("Table", (list,), {"watcher": None})(some)
    listening = Listening(heard.put, connection=None, name=None, peer=None)
    listeners.begin(listening)
    assert len(listening.heard) == 10 * AT_ONCE
    listeners.end(listening)
    assert all(one._tap is None for one in some)
    assert max(lock.changes) == AT_ONCE


# As an iteration, and as text -----------------------------------------------------------------------------------------


def test_a_trace_ends_after_its_time_and_drops_the_oldest_if_nobody_takes_them() -> None:
    with Server(echo, bind="tcp://127.0.0.1:0", model="epoll") as server, Client(server.addresses[0]) as client:
        ask(client, b"before")
        with server.trace("127.0.0.1", duration=0.2, limit=4) as trace:
            for number in range(3):
                ask(client, b"%d" % number)
            wait_until(lambda: trace.left_out == 5)
            assert [event.data for event in trace] == [b"1\n", b"2\n", b"2", b"2\n"]


def test_a_trace_ends_after_its_time_however_much_there_is_to_take() -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as server, Client(server.addresses[0]) as client:
        with server.trace("127.0.0.1", duration=0.1, limit=50) as trace:
            ask(client, b"x")
            for _event in trace:
                ask(client, b"x")  # three more to take for each that is taken
        assert server.connections.watcher is None


def test_where_one_server_has_too_many_listeners_no_other_keeps_one(heard: Heard) -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as first, Server(echo, bind="tcp://127.0.0.1:0") as second:
        stops = [second.listen(heard.put, name=f"nobody-{number}") for number in range(MOST_LISTENERS)]
        with pytest.raises(ValueError, match="end one"):
            Trace((first, second), "meter-7")
        assert first.connections.watcher is None
        for stop in stops:
            stop()


def test_a_trace_of_several_servers_finds_the_one() -> None:
    with Server(echo, bind="tcp://127.0.0.1:0") as first, Server(echo, bind="tcp://127.0.0.1:0") as second:
        with Client(second.addresses[0]) as client:
            ask(client, b"x")
            (connection,) = second.connections
            for target in (connection.id, "127.0.0.1"):
                with Trace((first, second), target, duration=10) as trace:
                    ask(client, b"y")
                    assert next(iter(trace)).data == b"y\n"
            with pytest.raises(KeyError):
                Trace((first, second), 10**9)


def test_an_event_is_readable_and_harmless() -> None:
    event = TraceEvent(0.0, "in", 7, "a\x1b[2J", "tcp://127.0.0.1:1", b"\x01A" * 20, 5000)
    lines = str(event).splitlines()
    assert lines[0].endswith("-> [7 a?[2J] in  5000 bytes")
    assert lines[1].split("  ")[-1].strip().endswith(".A.A.A.A.A.A.A.A")
    assert lines[-1].strip() == "... 4960 bytes more"
    assert json.loads(json.dumps(event.as_dict()))["hex"].startswith("01 41")


def test_nobody_listens_to_a_server_that_is_not_asked() -> None:
    assert Connections().watcher is None
