"""``Connection.request``: ask the peer something and wait for its answer, in each model and from any thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from places import Place
from waiting import wait_until

from mooring import Client, Connection, ConnectionClosed


class Devices:
    """Keeps what the server hears, and finds the server's end of a client."""

    def __init__(self, place: Place) -> None:
        self.heard = queue.SimpleQueue[tuple[str | None, bytes]]()
        self.server = place.server(self.handle)
        self.place = place

    def handle(self, connection: Connection, message: bytes) -> bytes | None:
        if message.startswith(b"hello "):
            connection.identify(message[6:].decode())
            return b"welcome"
        self.heard.put((connection.name, message))
        return None

    def connect(self, name: str) -> tuple[Connection, Client]:
        client = self.place.client(self.server)
        client.send(b"hello " + name.encode())
        assert client.recv() == b"welcome"
        return self.server.connections[name], client


@pytest.fixture
def devices(tcp: Place) -> Devices:
    return Devices(tcp)


def answers(prefix: bytes) -> Callable[[bytes], bool]:
    return lambda message: message.startswith(prefix)


def test_the_answer_comes_back_and_does_not_go_to_the_handler(devices: Devices) -> None:
    connection, client = devices.connect("one")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(connection.request, b"read", match=answers(b"value"))
        assert client.recv() == b"read"
        client.send(b"before", b"value 7", b"value 8")
        assert asked.result(10) == b"value 7"
    assert devices.heard.get(timeout=30) == ("one", b"before")
    assert devices.heard.get(timeout=30) == ("one", b"value 8"), "only the first that matches is the answer"


def test_fifty_threads_ask_fifty_devices_at_once_and_each_gets_its_own_answer(devices: Devices) -> None:
    made = [devices.connect(f"device-{number}") for number in range(50)]
    start = threading.Barrier(50)

    def ask(connection: Connection) -> bytes:
        start.wait(10)
        return connection.request(b"who are you", match=answers(b"I am"))

    def answer(client: Client, name: str) -> None:
        for _ in range(2):
            assert client.recv() == b"who are you"
            client.send(b"noise", b"I am " + name.encode())

    with ThreadPoolExecutor(100) as threads:
        answering = [threads.submit(answer, client, connection.name or "") for connection, client in made]
        for _ in range(2):
            asked = [threads.submit(ask, connection) for connection, _ in made]
            names = [future.result(20) for future in asked]
            assert names == [f"I am device-{number}".encode() for number in range(50)]
        for future in answering:
            future.result(10)


def test_many_requests_on_one_connection_each_take_what_matches_them(devices: Devices) -> None:
    connection, client = devices.connect("one")

    def ask(number: int) -> bytes:
        return connection.request(b"%d" % number, match=lambda message: message.split()[0] == b"%d" % number)

    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(ask, number) for number in range(20)]
        numbers = [client.recv() for _ in range(20)]
        client.send(*[number + b" is answered" for number in reversed(numbers)])
        assert [future.result(10) for future in asked] == [b"%d is answered" % number for number in range(20)]
    assert not connection._requests


def test_equal_requests_are_answered_oldest_first(devices: Devices) -> None:
    connection, client = devices.connect("one")
    with ThreadPoolExecutor() as threads:
        first = threads.submit(connection.request, b"a", match=answers(b"ok"))
        assert client.recv() == b"a"
        second = threads.submit(connection.request, b"b", match=answers(b"ok"))
        assert client.recv() == b"b"
        client.send(b"ok 1", b"ok 2")
        assert (first.result(10), second.result(10)) == (b"ok 1", b"ok 2")


def test_a_late_answer_goes_to_the_handler(devices: Devices) -> None:
    connection, client = devices.connect("one")
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        connection.request(b"read", match=answers(b"value"), timeout=0.01)
    client.send(b"value 7")
    assert devices.heard.get(timeout=30) == ("one", b"value 7")


def test_an_answer_at_the_last_moment_is_neither_lost_nor_given_twice(devices: Devices) -> None:
    connection, client = devices.connect("one")
    answered = 0
    for number in range(100):
        # The answer is on its way when the time ends: the one or the other, but never neither.
        value = b"value %d" % number
        client.send(value)
        try:
            assert connection.request(b"read", match=value.__eq__, timeout=0.0001 * (number % 5)) == value
            answered += 1
        except TimeoutError:
            assert devices.heard.get(timeout=30) == ("one", value)
    assert not connection._requests


def test_the_time_out_and_the_answer_cannot_both_have_a_request(devices: Devices) -> None:
    connection, client = devices.connect("one")

    def match_late(message: bytes) -> bool:
        wait_until(lambda: failed.is_set(), what="the one who waits has given up")
        return True

    failed = threading.Event()

    def ask() -> None:
        try:
            connection.request(b"read", match=match_late, timeout=0.05)
        except TimeoutError:
            failed.set()

    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask)
        assert client.recv() == b"read"
        client.send(b"value")
        asked.result(10)
    assert devices.heard.get(timeout=30) == ("one", b"value"), "taken by a request that had given up: lost"


def test_a_close_while_waiting_raises_at_once(devices: Devices) -> None:
    connection, client = devices.connect("one")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(connection.request, b"read", match=answers(b"value"), timeout=60)
        assert client.recv() == b"read"
        client.close()
        with pytest.raises(ConnectionClosed, match="before the answer came"):
            asked.result(10)
    wait_until(lambda: len(devices.server.connections) == 0)
    with pytest.raises(ConnectionClosed):
        connection.request(b"read", match=answers(b"value"))


@pytest.mark.parametrize("end", [Connection.close, Connection.abort])
def test_our_own_close_or_abort_while_waiting_raises_at_once(
    devices: Devices, end: Callable[[Connection], None]
) -> None:
    connection, client = devices.connect("one")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(connection.request, b"read", match=answers(b"value"), timeout=60)
        assert client.recv() == b"read"
        end(connection)
        with pytest.raises(ConnectionClosed):
            asked.result(10)


@pytest.mark.parametrize("exception", [ValueError, SystemExit])
def test_a_match_that_raises_fails_its_own_request_and_nothing_else(
    devices: Devices, exception: type[BaseException]
) -> None:
    connection, client = devices.connect("one")

    def match(message: bytes) -> bool:
        raise exception("cannot read this")

    with ThreadPoolExecutor() as threads:
        broken = threads.submit(connection.request, b"a", match=match)
        assert client.recv() == b"a"
        sound = threads.submit(connection.request, b"b", match=answers(b"ok"))
        assert client.recv() == b"b"
        client.send(b"ok")
        assert sound.result(10) == b"ok"
        with pytest.raises(exception, match="cannot read this"):
            broken.result(10)
    client.send(b"still here")
    assert devices.heard.get(timeout=30) == ("one", b"still here")


@pytest.mark.parametrize("model", ["hybrid"], indirect=True)
def test_a_handler_that_asks_its_own_device_waits_and_stalls_nobody(tcp: Place) -> None:
    asking = threading.Event()

    def handle(connection: Connection, message: bytes) -> bytes:
        if message != b"ask":
            return message
        asking.set()
        return b"you said " + connection.request(b"what", match=answers(b"because"))

    server = tcp.server(handle)
    slow, quick = tcp.client(server), tcp.client(server)
    slow.send(b"ask", b"behind it")
    assert slow.recv() == b"what"
    assert asking.is_set()
    for number in range(100):
        quick.send(b"%d" % number)
        assert quick.recv() == b"%d" % number
    slow.send(b"because")
    assert slow.recv() == b"you said because"
    assert slow.recv() == b"behind it"


@pytest.mark.parametrize("model", ["hybrid", "threads"], indirect=True)
def test_a_handler_asks_another_device(tcp: Place) -> None:
    def handle(connection: Connection, message: bytes) -> bytes:
        if message == b"hello":
            connection.identify("meter")
            return b"welcome"
        return connection.server.connections["meter"].request(message, match=answers(b"value"))  # type: ignore[no-any-return]

    server = tcp.server(handle)
    meter, operator = tcp.client(server), tcp.client(server)
    meter.send(b"hello")
    assert meter.recv() == b"welcome"
    for _ in range(3):
        operator.send(b"read")
        assert meter.recv() == b"read"
        meter.send(b"value 7")
        assert operator.recv() == b"value 7"


@pytest.mark.parametrize("model", ["epoll"], indirect=True)
def test_where_nobody_could_read_the_answer_a_request_says_so(tcp: Place, caplog: pytest.LogCaptureFixture) -> None:
    errors = queue.SimpleQueue[Exception]()

    def handle(connection: Connection, message: bytes) -> bytes:
        try:
            connection.request(b"what", match=answers(b"because"), timeout=60)
        except RuntimeError as exc:
            errors.put(exc)
        return b"done"

    client = tcp.client(tcp.server(handle))
    client.send(b"ask")
    assert client.recv() == b"what"
    assert client.recv() == b"done"
    assert "on the loop's own thread" in str(errors.get(timeout=30))


def test_without_open_requests_nothing_is_offered(devices: Devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(connection: Connection, items: object) -> None:
        raise AssertionError("offered though nobody asked")

    monkeypatch.setattr(Connection, "offer", offer)
    _, client = devices.connect("one")
    client.send(b"x")
    assert devices.heard.get(timeout=30) == ("one", b"x")
