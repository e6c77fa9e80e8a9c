"""What every model promises, on every transport."""

from __future__ import annotations

import logging
import queue
import random
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from places import Place
from waiting import wait_until

from mooring import (
    Client,
    CloseReason,
    Connection,
    ConnectionClosed,
    ConnectionHandler,
    FrameError,
    Router,
    Server,
)
from mooring.framing import FixedLength, LengthPrefixed, Lines, Raw

LONG = 20_000
"""Batches of a flood that would take longer than any client waits."""

RESET = struct.pack("ii", 1, 0)


def echo(connection: Connection, message: bytes) -> bytes:
    return message


# Bytes in, bytes out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 1000, 65_536, 1 << 20])
def test_a_message_of_any_size_comes_back(place: Place, size: int) -> None:
    framing = LengthPrefixed(max_size=1 << 20)
    message = random.Random(size).randbytes(size)
    client = place.client(place.server(echo, framing=framing), framing)
    for _ in range(3):
        client.send(message)
        assert client.recv() == message


def test_pipelined_messages_are_answered_in_order(place: Place) -> None:
    client = place.client(place.server(echo))
    messages = [b"%d" % number for number in range(5000)]
    sender = threading.Thread(target=client.send, args=messages)
    sender.start()
    assert [client.recv() for _ in messages] == messages
    sender.join()


def test_handlers_of_one_connection_never_overlap_and_see_messages_in_order(place: Place) -> None:
    running: set[int] = set()
    seen: list[bytes] = []
    overlaps = []

    def handler(connection: Connection, message: bytes) -> bytes:
        if connection.id in running:
            overlaps.append(message)
        running.add(connection.id)
        seen.append(message)
        running.discard(connection.id)
        return message

    client = place.client(place.server(handler))
    messages = [b"%d" % number for number in range(500)]
    for message in messages:  # each in a send of its own, so that they are read in many pieces
        client.send(message)
    assert [client.recv() for _ in messages] == messages
    assert seen == messages
    assert not overlaps


def test_a_message_cut_into_single_bytes_is_one_message(place: Place) -> None:
    client = place.client(place.server(echo))
    for byte in b"cut\n":
        client.socket.sendall(bytes([byte]))
    assert client.recv() == b"cut"


def test_no_answer_is_sent_for_none(place: Place) -> None:
    client = place.client(place.server(lambda connection, message: None if message == b"quiet" else message))
    client.send(b"quiet", b"loud")
    assert client.recv() == b"loud"


def test_replies_leave_in_the_order_of_their_messages_though_futures_finish_in_another(place: Place) -> None:
    futures: dict[bytes, Future[bytes]] = defaultdict(Future)
    taken = queue.SimpleQueue[bytes]()

    def handler(connection: Connection, message: bytes) -> Any:
        taken.put(message)
        return message if message.startswith(b"now") else futures[message]

    client = place.client(place.server(handler))
    client.send(b"a", b"now 1", b"b", b"now 2", b"c")
    for _ in range(5):
        taken.get(timeout=30)  # while a reply is pending the next message is served
    futures[b"c"].set_result(b"C")
    futures[b"b"].set_result(b"B")
    futures[b"a"].set_result(b"A")
    assert [client.recv() for _ in range(5)] == [b"A", b"now 1", b"B", b"now 2", b"C"]


def test_send_from_another_thread_overtakes_a_pending_reply(place: Place) -> None:
    pending: Future[bytes] = Future()
    taken = queue.SimpleQueue[Connection]()

    def handler(connection: Connection, message: bytes) -> Any:
        taken.put(connection)
        return pending

    client = place.client(place.server(handler))
    client.send(b"question")
    taken.get(timeout=30).send(b"news")
    assert client.recv() == b"news"
    pending.set_result(b"answer")
    assert client.recv() == b"answer"


# Ends -----------------------------------------------------------------------------------------------------------------


def test_after_half_close_the_replies_that_are_owed_still_come(place: Place, collected: Callable[..., bytes]) -> None:
    release = threading.Event()

    def handler(connection: Connection, message: bytes) -> Any:
        if place.model == "epoll":  # nobody may wait there: a Future does
            future: Future[bytes] = Future()
            threading.Thread(target=lambda: (release.wait(10), future.set_result(message))).start()
            return future
        release.wait(10)
        return message

    client = place.client(place.server(handler))
    client.send(b"one", b"two")
    client.send_eof()
    release.set()
    assert collected(client.socket) == b"one\ntwo\n"


def test_a_reset_ends_only_its_own_connection(place: Place) -> None:
    lost = queue.SimpleQueue[CloseReason]()

    class Handler(ConnectionHandler):
        def received(self, message: bytes) -> bytes:
            return message

        def lost(self, reason: CloseReason) -> None:
            lost.put(reason)

    server = place.server(Handler)
    other, victim = place.client(server), place.client(server)
    for client in (other, victim):
        client.send(b"hello")
        assert client.recv() == b"hello"
    victim.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    victim.close()
    assert lost.get(timeout=30) in (CloseReason.RESET, CloseReason.PEER)  # a Unix socket knows no reset
    other.send(b"still here")
    assert other.recv() == b"still here"


def test_a_last_error_line_arrives_though_the_client_goes_on_sending(place: Place) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        connection.close("enough")
        return b"error: enough"

    server = place.server(handler)
    client = place.client(server)
    client.send(*[b"x" * 100] * 100)
    assert client.recv() == b"error: enough"
    with pytest.raises((ConnectionClosed, ConnectionResetError)):
        client.recv()


def test_messages_read_before_the_end_are_served_though_the_client_is_gone(place: Place) -> None:
    seen = []
    done = threading.Event()

    def handler(connection: Connection, message: bytes) -> bytes:
        seen.append(message)
        if message == b"last":
            done.set()
        return b"answer that nobody reads" * 100

    client = place.client(place.server(handler))
    client.send(*[b"%d" % number for number in range(200)], b"last")
    client.close()
    assert done.wait(10)
    assert len(seen) == 201


def test_close_drops_what_was_not_started_and_sends_the_running_reply(place: Place) -> None:
    seen = []

    def handler(connection: Connection, message: bytes) -> bytes:
        seen.append(message)
        connection.close()
        return b"bye"

    client = place.client(place.server(handler))
    client.send(b"one", b"two", b"three")
    assert list(client) == [b"bye"]
    assert seen == [b"one"]


def test_close_by_another_thread_ends_an_idle_connection(place: Place) -> None:
    server = place.server(echo)
    client = place.client(server)
    client.send(b"x")
    client.recv()
    (connection,) = server.connections
    connection.close()
    assert list(client) == []
    client.close()
    assert connection.close_reason is CloseReason.LOCAL
    wait_until(lambda: len(server.connections) == 0)
    with pytest.raises(ConnectionClosed):
        connection.send(b"too late")


def test_abort_resets_the_connection(tcp: Place) -> None:
    server = tcp.server(echo)
    client = tcp.client(server)
    client.send(b"x")
    client.recv()
    next(iter(server.connections)).abort()
    with pytest.raises((ConnectionResetError, ConnectionClosed)):
        client.recv()
    wait_until(lambda: len(server.connections) == 0)


def test_connected_received_lost_come_in_this_order_and_lost_once(place: Place) -> None:
    events: list[str] = []
    ended = threading.Event()

    class Handler(ConnectionHandler):
        def connected(self) -> bytes:
            events.append("connected")
            return b"welcome"

        def received(self, message: bytes) -> bytes:
            events.append(message.decode())
            return message

        def lost(self, reason: CloseReason) -> None:
            events.append(f"lost {reason}")
            ended.set()

    server = place.server(Handler)
    client = place.client(server)
    assert client.recv() == b"welcome"
    client.send(b"one", b"two")
    assert client.recv() == b"one"
    client.close()
    assert ended.wait(10)
    wait_until(lambda: len(server.connections) == 0)
    assert events == ["connected", "one", "two", "lost peer"] or events == ["connected", "one", "two", "lost reset"]


# Pressure -------------------------------------------------------------------------------------------------------------


def test_a_slow_reader_gets_everything_and_holds_up_nobody(place: Place) -> None:
    framing = Lines(max_size=1 << 20)
    server = place.server(lambda connection, message: b"y" * 100_000, framing=framing)
    slow, quick = place.client(server, framing), place.client(server, framing)
    slow.send(*[b"x"] * 100)  # 10 MB of answers: far more than the kernel takes
    for _ in range(20):
        quick.send(b"x")
        assert len(quick.recv()) == 100_000
    for _ in range(100):
        assert len(slow.recv()) == 100_000


def test_while_answers_are_not_taken_no_further_message_is_served(tcp: Place) -> None:
    served = []

    def handler(connection: Connection, message: bytes) -> bytes:
        served.append(message)
        return b"y" * 1_000_000

    framing = Lines(max_size=1 << 20)
    server = tcp.server(handler, framing=framing)
    client = tcp.client(server, framing)
    client.send(*[b"x"] * 80)
    wait_until(lambda: bool(served) and next(iter(server.connections))._outbox_size > 65_536)
    quick = tcp.client(server, framing)
    quick.send(b"x")
    quick.recv()
    assert len(served) < 50
    for _ in range(80):
        assert len(client.recv()) == 1_000_000
    assert len(served) == 81


def test_a_slow_writer_does_not_hold_up_others(place: Place) -> None:
    server = place.server(echo)
    slow, quick = place.client(server), place.client(server)
    for byte in b"slowly":
        slow.socket.sendall(bytes([byte]))
        quick.send(b"quick")
        assert quick.recv() == b"quick"
    slow.socket.sendall(b"\n")
    assert slow.recv() == b"slowly"


def test_thousands_of_messages_of_one_client_do_not_starve_another(place: Place) -> None:
    server = place.server(echo, threads=1)
    flood, single = place.client(server), place.client(server)
    answered = threading.Event()
    batches = 0

    def send() -> None:
        nonlocal batches
        while not answered.is_set() and batches < LONG:
            flood.send(*[b"f"] * 1000)
            batches += 1
        flood.send(b"last")

    def read() -> None:
        while flood.recv() != b"last":
            pass

    threads = [threading.Thread(target=send), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    wait_until(lambda: batches >= 10)
    single.send(b"single")
    assert single.recv() == b"single"
    answered.set()
    for thread in threads:
        thread.join()
    assert batches < LONG


def test_many_connections_are_served_at_once(place: Place) -> None:
    server = place.server(echo)
    clients = [place.client(server) for _ in range(200)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    assert [client.recv() for client in clients] == [b"%d" % number for number in range(200)]
    assert len(server.connections) == 200


def test_no_byte_goes_astray_while_descriptors_are_reused(place: Place) -> None:
    server = place.server(echo, threads=4)
    stop = threading.Event()

    def talk(number: int) -> int:
        rounds = 0
        with place.connect(server) as client:
            while not stop.is_set():
                message = b"steady %d %d" % (number, rounds)
                client.send(message)
                assert client.recv() == message
                rounds += 1
        return rounds

    def reopen(number: int) -> None:
        for count in range(13):
            with place.connect(server) as client:
                messages = [b"%d %d %d" % (number, count, index) for index in range(5)]
                client.send(*messages)
                if count % 2:
                    assert [client.recv() for _ in messages] == messages
                if count % 3 == 0:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with ThreadPoolExecutor(12) as pool:
        steady = [pool.submit(talk, number) for number in range(4)]
        for future in [pool.submit(reopen, number) for number in range(8)]:
            future.result(60)
        stop.set()
        assert all(future.result(60) > 0 for future in steady)
    wait_until(lambda: len(server.connections) == 0)


def test_inbox_limit_stops_reading_and_loses_nothing(tcp: Place) -> None:
    release = threading.Event()
    pending: list[tuple[Future[bytes], bytes]] = []

    def handler(connection: Connection, message: bytes) -> Any:
        if release.is_set():
            return message
        future: Future[bytes] = Future()
        pending.append((future, message))
        return future

    server = tcp.server(handler, inbox_limit=10, framing=FixedLength(1000))
    client = tcp.client(server, FixedLength(1000))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
    messages = [b"%1000d" % number for number in range(5000)]
    sender = threading.Thread(target=client.send, args=messages)
    sender.start()
    wait_until(lambda: bool(server.connections) and not next(iter(server.connections))._reading)
    assert len(pending) < 200  # one read of 64 KiB at most beyond the limit
    release.set()
    received = 0
    while received < len(messages):
        while pending:
            future, message = pending.pop(0)
            future.set_result(message)
        assert client.recv() == messages[received]
        received += 1
    sender.join()


# What users do wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["text", 7, bytearray(b"no"), ["list"]])
def test_a_reply_of_the_wrong_type_closes_the_connection_and_names_the_handler(
    tcp: Place, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def careless(connection: Connection, message: bytes) -> Any:
        return wrong

    client = tcp.client(tcp.server(careless))
    client.send(b"x")
    assert list(client) == []
    assert "careless returned" in caplog.text
    assert type(wrong).__name__ in caplog.text


@pytest.mark.parametrize("exception", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_handler_that_raises_ends_its_connection_and_the_server_goes_on(
    tcp: Place, exception: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        if message == b"raise":
            raise exception("on purpose")
        return message

    server = tcp.server(handler, threads=1)
    client = tcp.client(server)
    client.send(b"before", b"raise", b"after")
    assert list(client) == [b"before"]
    client.close()
    assert "on purpose" in caplog.text
    assert "handler" in caplog.text
    other = tcp.client(server)
    other.send(b"hello")
    assert other.recv() == b"hello"
    wait_until(lambda: server.stats().closed.get(CloseReason.HANDLER) == 1)


def test_a_handler_that_sends_to_a_connection_that_is_gone_is_no_error(
    tcp: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def handler(connection: Connection, message: bytes) -> None:
        connection.abort()  # as a peer may at any time
        connection.send(b"nobody hears")

    server = tcp.server(handler)
    client = tcp.client(server)
    client.send(b"x")
    with pytest.raises((ConnectionClosed, ConnectionResetError)):
        client.recv()
    wait_until(lambda: server.stats().closed.get(CloseReason.LOCAL) == 1)
    wait_until(lambda: "gave up" in caplog.text)
    assert all(record.levelno < logging.WARNING for record in caplog.records)


def test_a_handler_that_raises_frame_error_gets_one_line_and_no_traceback(
    tcp: Place, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        raise FrameError("not a reading")

    caplog.set_level(logging.INFO)
    server = tcp.server(handler)
    client = tcp.client(server)
    client.send(b"x")
    assert list(client) == []
    client.close()
    assert "refused a message: not a reading" in caplog.text
    assert "Traceback" not in caplog.text
    wait_until(lambda: server.stats().closed.get(CloseReason.FRAME) == 1)


@pytest.mark.parametrize("exception", [ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("where", ["__init__", "connected", "lost", "framing", "callback"])
def test_whatever_of_the_users_raises_ends_one_connection(
    tcp: Place, where: str, exception: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bad: set[int] = set()

    class Faulty(Lines):
        def split(self, data: bytes) -> Any:
            if where == "framing" and b"bad" in data:
                raise exception("framing")
            return super().split(data)

    class Handler(ConnectionHandler):
        def __init__(self, connection: Connection) -> None:
            super().__init__(connection)
            self.fail("__init__")

        def connected(self) -> None:
            self.fail("connected")

        def received(self, message: bytes) -> Any:
            if where == "callback" and message == b"bad":
                future: Future[bytes] = Future()
                future.set_exception(exception("callback"))
                return future
            return message

        def lost(self, reason: CloseReason) -> None:
            self.fail("lost")

        def fail(self, here: str) -> None:
            if here == where and not bad:
                bad.add(self.connection.id)
                raise exception(here)

    server = tcp.server(Handler, framing=Faulty())
    client = tcp.client(server)
    client.socket.sendall(b"bad\n")
    if where == "lost":
        client.close()
        wait_until(lambda: len(server.connections) == 0 and bool(bad))
    else:
        with pytest.raises((ConnectionClosed, ConnectionResetError)):
            client.recv()
    other = tcp.client(server)
    other.send(b"hello")
    assert other.recv() == b"hello"
    wait_until(lambda: f"{exception.__name__}: {where}" in caplog.text)


def test_bytes_that_are_no_frame_are_answered_by_malformed_after_the_good_ones(place: Place) -> None:
    class Handler(ConnectionHandler):
        def received(self, message: bytes) -> bytes:
            return message

        def malformed(self, error: FrameError) -> bytes:
            return b"error"

    client = place.client(place.server(Handler, framing=Lines(max_size=10)))
    client.socket.sendall(b"good\n" + b"x" * 100_000)
    assert list(client) == [b"good", b"error"]


# Stop and pause -------------------------------------------------------------------------------------------------------


def test_stop_serves_what_was_read_and_sends_every_reply(place: Place) -> None:
    futures: list[tuple[Future[bytes], bytes]] = []

    def handler(connection: Connection, message: bytes) -> Any:
        future: Future[bytes] = Future()
        futures.append((future, message))
        return future

    server = place.server(handler)
    client = place.client(server)
    client.send(*[b"%d" % number for number in range(50)])
    wait_until(lambda: len(futures) == 50)
    stopper = threading.Thread(target=server.stop, args=(10,))
    stopper.start()
    wait_until(lambda: server.state == "stopping")
    for future, message in futures:
        future.set_result(message)
    assert list(client) == [b"%d" % number for number in range(50)]
    client.close()  # else the server waits for that as long as it lingers
    stopper.join(10)
    assert server.state == "stopped"


def test_stop_while_many_are_busy_ends_everybody(place: Place) -> None:
    server = place.server(echo)
    started = threading.Semaphore(0)

    def talk() -> None:
        try:
            with place.connect(server) as client:
                first = True
                while True:
                    client.send(*[b"x" * 100] * 20)
                    for _ in range(20):
                        assert client.recv() == b"x" * 100
                    if first:
                        started.release()
                        first = False
        except (ConnectionClosed, OSError):
            pass

    talkers = [threading.Thread(target=talk) for _ in range(10)]
    for talker in talkers:
        talker.start()
    for _ in talkers:
        assert started.acquire(timeout=20)
    server.stop(10)
    for talker in talkers:
        talker.join(10)
        assert not talker.is_alive()
    assert len(server.connections) == 0
    assert server.stats().closed.get(CloseReason.STOP, 0) > 0


def test_stop_in_a_handler_begins_the_drain_and_the_reply_leaves(place: Place) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        connection.server.stop()
        return b"stopping"

    server = place.server(handler)
    client = place.client(server)
    client.send(b"stop")
    assert list(client) == [b"stopping"]
    client.close()
    server.wait_stopped()


@pytest.mark.parametrize("model", ["hybrid", "threads"])  # in "epoll" a handler that waits stops the only thread
def test_stop_reports_a_stuck_handler_with_its_stack_and_ends(tcp: Place, caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    begun = threading.Event()

    def stuck_in_here(connection: Connection, message: bytes) -> bytes:
        begun.set()
        release.wait(30)
        return message

    server = tcp.server(stuck_in_here)
    client = tcp.client(server)
    client.send(b"x")
    assert begun.wait(10)
    with caplog.at_level(logging.WARNING):
        server.stop(0.2)
    assert server.state == "stopped"
    assert "stuck_in_here" in caplog.text
    release.set()  # the thread closes what it held: the leak check sees to that


@pytest.mark.parametrize("blocking", [None, False])
def test_while_the_pool_is_paused_no_handler_starts(tcp: Place, blocking: bool | None) -> None:
    started = []

    def handler(connection: Connection, message: bytes) -> bytes:
        started.append(message)
        return message

    server = tcp.server(handler, blocking=blocking)
    if tcp.model != "hybrid":
        with pytest.raises(RuntimeError, match="hybrid"):
            server.threads.pause()
        with pytest.raises(RuntimeError, match="hybrid"):
            server.threads.resize(3)
        return
    client = tcp.client(server)
    client.send(b"before")
    assert client.recv() == b"before"
    server.threads.pause()
    client.send(*[b"paused"] * 1000)
    other = tcp.client(server)  # accepting goes on
    other.send(b"paused")
    wait_until(lambda: len(server.connections) == 2 and server.stats().messages > 100)
    assert b"paused" not in started
    server.threads.resume()
    assert other.recv() == b"paused"
    assert [client.recv() for _ in range(1000)] == [b"paused"] * 1000


@pytest.mark.parametrize("model", ["hybrid"])  # which alone has a pool to pause
def test_stop_of_a_paused_server_serves_what_waits(tcp: Place) -> None:
    server = tcp.server(echo)
    client = tcp.client(server)
    server.threads.pause()
    client.send(b"waits")
    wait_until(lambda: server.stats().messages == 1)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert list(client) == [b"waits"]
    client.close()
    stopper.join(10)


# Sending from outside -------------------------------------------------------------------------------------------------


def test_broadcast_reaches_everybody(place: Place) -> None:
    server = place.server(echo)
    clients = [place.client(server) for _ in range(20)]
    for client in clients:
        client.send(b"here")
        client.recv()
    assert server.connections.broadcast(b"news") == 20
    assert [client.recv() for client in clients] == [b"news"] * 20


def test_replies_and_messages_sent_by_threads_never_mix(place: Place) -> None:
    framing = LengthPrefixed(2)
    server = place.server(echo, framing=framing, outbox_limit=1 << 24)
    client = place.client(server, framing)
    client.send(b"hello")
    client.recv()
    (connection,) = server.connections
    count = 300

    def push(letter: bytes) -> None:
        for _ in range(count):
            connection.send(letter * 3000)

    threads = [threading.Thread(target=push, args=(letter,)) for letter in (b"a", b"b", b"c")]
    threads.append(threading.Thread(target=lambda: client.send(*[b"r" * 3000] * count)))
    for thread in threads:
        thread.start()
    seen: dict[bytes, int] = defaultdict(int)
    for _ in range(4 * count):
        message = client.recv()
        assert message == message[:1] * 3000
        seen[message[:1]] += 1
    assert set(seen.values()) == {count}
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("overflow", ["close", "drop", "block"])
def test_overflow_does_what_was_chosen(tcp: Place, overflow: str) -> None:
    if overflow == "block" and tcp.model == "epoll":
        with pytest.raises(ValueError, match="block"):
            tcp.server(echo, overflow="block")
        return
    server = tcp.server(echo, framing=Raw(), outbox_limit=100_000, overflow=overflow)
    client = tcp.client(server, Raw())
    client.send(b"hello")
    client.recv()
    (connection,) = server.connections
    piece = b"z" * 50_000
    if overflow == "close":
        with pytest.raises(ConnectionClosed, match="outbox_limit"):
            for _ in range(1000):
                connection.send(piece)
        wait_until(lambda: len(server.connections) == 0)
        wait_until(lambda: server.stats().closed.get(CloseReason.OVERFLOW) == 1)
    elif overflow == "drop":
        for _ in range(400):
            connection.send(piece)
        assert server.stats().dropped > 0
    else:
        sender = threading.Thread(target=lambda: [connection.send(piece) for _ in range(400)])
        sender.start()
        received = 0
        while received < 400 * len(piece):
            received += len(client.recv())
        sender.join(10)
        assert not sender.is_alive()
        assert server.stats().dropped == 0


def test_identify_makes_the_newer_connection_the_one_of_that_name(place: Place) -> None:
    def handler(connection: Connection, message: bytes) -> bytes:
        older = connection.identify(message.decode())
        return b"replaced" if older is not None else b"new"

    server = place.server(handler)
    first, second = place.client(server), place.client(server)
    first.send(b"meter-7")
    assert first.recv() == b"new"
    second.send(b"meter-7")
    assert second.recv() == b"replaced"
    assert list(first) == []
    first.close()
    assert "meter-7" in server.connections
    server.connections["meter-7"].send(b"hello")
    assert second.recv() == b"hello"
    second.close()
    wait_until(lambda: "meter-7" not in server.connections)
    wait_until(lambda: server.stats().closed.get(CloseReason.REPLACED) == 1)


def test_a_router_serves_each_message_by_its_route(place: Place) -> None:
    router = Router(lambda message: message.split(b" ")[0])
    threads: dict[str, set[str]] = defaultdict(set)

    @router.on(b"quick", blocking=False)
    def quick(connection: Connection, message: bytes) -> bytes:
        threads["quick"].add(threading.current_thread().name)
        return message

    @router.on(b"slow", blocking=True)
    def slow(connection: Connection, message: bytes) -> bytes:
        threads["slow"].add(threading.current_thread().name)
        return message

    @router.bad_message
    def bad(connection: Connection, raw: bytes, exc: Exception) -> bytes:
        return b"bad"

    @router.default
    def default(connection: Connection, message: bytes) -> bytes:
        return b"default"

    server = place.server(router)
    client = place.client(server)
    messages = [b"quick 1", b"quick 2", b"slow 3", b"quick 4", b"other", b"slow 5"] * 50
    client.send(*messages)
    expected = [b"default" if message == b"other" else message for message in messages]
    assert [client.recv() for _ in messages] == expected
    if place.model == "hybrid":

        def runs_on_the_loop() -> bool:
            client.send(b"quick alone")
            client.recv()
            return any("loop" in name for name in threads["quick"])

        wait_until(runs_on_the_loop)  # which needs a spare thread that is parked
        assert all("worker" in name for name in threads["slow"])


def test_a_server_of_any_model_ends_without_a_trace(model: str) -> None:
    before = threading.active_count()
    for _ in range(5):
        with Server(echo, bind="tcp://127.0.0.1:0", model=model) as server, Client(server.addresses[0]) as client:
            client.send(b"x")
            assert client.recv() == b"x"
    wait_until(lambda: threading.active_count() <= before)
