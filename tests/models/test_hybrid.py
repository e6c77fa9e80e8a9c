"""The hybrid engine on real sockets: what a handler that waits costs the others, and where messages run."""

from __future__ import annotations

import contextlib
import logging
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from mooring import (
    Client,
    CloseReason,
    Connection,
    ConnectionClosed,
    ConnectionHandler,
    Heartbeat,
    Router,
    Server,
    blocking,
)
from mooring.handler import KEYS_KEPT, Handling
from mooring.models.hybrid import HybridModel
from mooring.models.pause import NeverPaused
from mooring.models.serving import MESSAGES_PER_SERVICE, Serving
from mooring.net.connection.items import LOST
from mooring.net.loop.loop import Loop

# A thread of ours may be descheduled in the middle of a quick call, which then counts as late and may cost it the
# loop. So what is said of where calls run is said of most of them.

Serve = Callable[..., Server]
Connect = Callable[..., Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers of the hybrid model, and stops them at the end of the test."""
    with contextlib.ExitStack() as stack:

        def serve(handler: Any, **options: Any) -> Server:
            server = Server(handler, bind="tcp://127.0.0.1:0", **options)
            stack.callback(server.stop, 5.0)
            server.start()
            if server._handover is not None:
                wait_until(lambda: server._handover is not None and server._handover.parked)
            return server

        yield serve


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects, and closes at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(Client(server.addresses[0]))


class Gate:
    """A handler that answers at once, but waits for the gate at ``wait`` and ``announce``."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = queue.SimpleQueue[str]()
        self.threads = Counter[str]()

    def __call__(self, connection: Connection, message: bytes) -> bytes:
        self.threads[threading.current_thread().name] += 1
        if message == b"wait":
            self.wait()
        elif message == b"announce":
            with blocking():
                self.wait()
        return message

    def wait(self) -> None:
        self.waiting.put(threading.current_thread().name)
        self.opened.wait(30)

    def close(self) -> None:
        """Nothing waits any more."""
        self.opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


def most(answers: list[bytes]) -> bytes:
    """What nearly all of them are."""
    answer, count = Counter(answers).most_common(1)[0]
    assert count > 0.7 * len(answers), answers
    return answer


def ask(client: Client, message: bytes) -> bytes:
    client.send(message)
    return client.recv()


def ask_anew(server: Server, client: Client, message: bytes) -> bytes:
    """Ask when the thread that served the message before has let go of the newest connection, not through it."""
    connection = max(server.connections, key=lambda connection: connection.id)
    wait_until(lambda: not connection._served)
    return ask(client, message)


# A handler that waits on the loop thread ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [b"wait", b"announce"])
def test_a_handler_that_waits_does_not_stop_the_others(gate: Gate, serve: Serve, connect: Connect, way: bytes) -> None:
    """Invariant 14: the watchdog takes the loop, or the handler gives it away."""
    server = serve(gate)
    slow, others = connect(server), [connect(server) for _ in range(50)]
    for client in (slow, *others):
        assert ask(client, b"quick") == b"quick"
    slow.send(way)
    assert "loop" in gate.waiting.get(timeout=30)
    for client in others:
        for _ in range(5):
            assert ask(client, b"quick") == b"quick"
    assert server.stats().late == 1
    assert server.stats().handovers >= 1
    gate.opened.set()
    assert slow.recv() == way
    wait_until(lambda: server.stats().late == 0)


def test_several_handlers_may_wait_at_once_each_on_a_thread_of_its_own(
    gate: Gate, serve: Serve, connect: Connect
) -> None:
    server = serve(gate, threads=(2, 4))
    slow, other = [connect(server) for _ in range(3)], connect(server)
    names = set()
    for client in slow:
        client.send(b"announce")
        names.add(gate.waiting.get(timeout=30))
        wait_until(lambda: server._handover is not None and server._handover.parked)
    assert len(names) == 3
    assert ask(other, b"quick") == b"quick"
    gate.opened.set()
    assert [client.recv() for client in slow] == [b"announce"] * 3


def test_replies_already_made_leave_before_an_announced_wait(gate: Gate, serve: Serve, connect: Connect) -> None:
    """Invariant 15."""
    client = connect(serve(gate))
    client.send(b"1", b"2", b"announce", b"3")
    assert gate.waiting.get(timeout=30)
    assert [client.recv(), client.recv()] == [b"1", b"2"]
    gate.opened.set()
    assert [client.recv(), client.recv()] == [b"announce", b"3"]


def test_replies_wait_for_a_handler_that_does_not_say_it_waits_but_only_on_its_connection(
    gate: Gate, serve: Serve, connect: Connect
) -> None:
    """Invariant 15."""
    server = serve(gate)
    client, other = connect(server), connect(server)
    client.send(b"1", b"wait", b"2")
    assert gate.waiting.get(timeout=30)
    assert ask(other, b"quick") == b"quick"
    gate.opened.set()
    assert [client.recv() for _ in range(3)] == [b"1", b"wait", b"2"]


@pytest.mark.parametrize("way", [b"wait", b"announce"])
def test_replies_of_others_in_the_same_turn_wait_at_most_for_the_hand_over(
    gate: Gate, serve: Serve, connect: Connect, way: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 15: the new leader sends them before anything else."""
    monkeypatch.setattr("mooring.models.handover.LOOK_INTERVAL", 60.0)  # the watchdog's part is done below

    def handle(connection: Connection, message: bytes) -> bytes:
        if message == b"look":
            readable, _, _ = select.select([first.socket], [], [], 0)
            return b"it has come" if readable else b"it has not come"
        return gate(connection, message)

    server = serve(handle, blocking=False)
    handover = server._handover
    assert handover is not None
    first, slow, looking = (connect(server) for _ in range(3))
    for client in (slow, looking, first):  # epoll may tell of the last one before those that are ready earlier
        assert ask(client, b"quick") == b"quick"
    begun, all_sent = threading.Event(), threading.Event()
    server._loop.post(lambda: (begun.set(), all_sent.wait(30)))  # the next poll brings all three
    assert begun.wait(30)
    first.send(b"quick")
    slow.send(way)
    looking.send(b"look")
    all_sent.set()
    assert gate.waiting.get(timeout=30)
    if way == b"wait":
        assert handover.leader is not None
        assert handover.take_role(handover.leader, announced=False)
    assert looking.recv() == b"it has come"
    assert first.recv() == b"quick"
    gate.opened.set()
    assert slow.recv() == way


def test_calls_that_wait_begin_to_wait_before_the_quick_ones_of_the_turn_are_run(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.models.handover.LOOK_INTERVAL", 60.0)  # nobody takes the loop from the quick one
    waiting = threading.Semaphore(0)
    router = Router(key=bytes)

    @router.on(b"slow", blocking=True)
    def slow(connection: Connection, message: bytes) -> bytes:
        waiting.release()
        return b"slow"

    @router.on(b"quick", blocking=False)
    def quick(connection: Connection, message: bytes) -> bytes:
        return b"behind it" if waiting.acquire(timeout=30) else b"before it"

    server = serve(router)
    waits, is_quick = connect(server), connect(server)
    assert ask(waits, b"slow") == b"slow"
    assert ask(is_quick, b"quick") == b"behind it"
    begun, both_sent = threading.Event(), threading.Event()
    server._loop.post(lambda: (begun.set(), both_sent.wait(30)))  # the next poll brings both
    assert begun.wait(30)
    is_quick.send(b"quick")
    waits.send(b"slow")
    both_sent.set()
    assert is_quick.recv() == b"behind it"
    assert waits.recv() == b"slow"


def test_what_comes_while_the_handler_waits_is_served_after_it_in_order(
    gate: Gate, serve: Serve, connect: Connect
) -> None:
    """Invariants 6 and 7: the new leader sees the mark."""
    server = serve(gate)
    client = connect(server)
    client.send(b"wait")
    assert gate.waiting.get(timeout=30)
    wait_until(lambda: server.stats().late == 1)
    messages = [b"%d" % number for number in range(100)]
    for message in messages:
        client.send(message)
    wait_until(lambda: server.stats().messages == 101)
    assert sum(gate.threads.values()) == 1
    gate.opened.set()
    assert [client.recv() for _ in range(101)] == [b"wait", *messages]


def test_late_handlers_and_other_threads_write_to_one_connection_without_mixing(serve: Serve, connect: Connect) -> None:
    """Invariant 8: one writer at a time; what the others have to say waits in the outbox, whole and in order."""

    def handle(connection: Connection, message: bytes) -> bytes:
        with blocking():
            time.sleep(0.0005)
        return message

    def send(number: int) -> None:
        for count in range(100):
            connection.send(b"%d %d " % (number, count) + b"x" * 5000)

    server = serve(handle, blocking=False, overflow="block")
    client = connect(server)
    client.send(b"first")
    assert client.recv() == b"first"
    (connection,) = server.connections
    asked = [b"reply %d" % number for number in range(100)]
    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=lambda: [client.send(message) for message in asked]))
    for thread in threads:
        thread.start()
    said: dict[bytes, list[bytes]] = {}
    for _ in range(500):
        who, rest = client.recv().split(b" ", 1)
        said.setdefault(who, []).append(rest)
    for thread in threads:
        thread.join()
    assert said.pop(b"reply") == [message.split()[1] for message in asked]
    assert set(said) == {b"0", b"1", b"2", b"3"}
    for lines in said.values():
        assert lines == [b"%d " % count + b"x" * 5000 for count in range(100)]


def test_a_lease_of_a_database_pool_announces(serve: Serve, connect: Connect, folder: Path) -> None:
    def handle(connection: Connection, message: bytes) -> bytes:
        if message == b"quick":
            return message
        with connection.server.database.connection() as lease:
            return str(lease.execute("SELECT 7").fetchone()[0]).encode()

    server = serve(handle, database=f"sqlite:///{folder}/lease.db")
    client = connect(server)
    assert ask(client, b"quick") == b"quick"
    assert ask(client, b"store") == b"7"
    assert server._handover is not None
    assert (server._handover.announced, server._handover.taken) == (1, 0)


def test_blocking_is_free_of_effect_off_the_loop_thread(serve: Serve, connect: Connect) -> None:
    def handle(connection: Connection, message: bytes) -> bytes:
        with blocking():
            return threading.current_thread().name.encode()

    server = serve(handle, blocking=True)
    assert b"worker" in ask(connect(server), b"x")
    assert server.stats().handovers == 0
    with blocking():
        pass


def test_a_connection_that_is_gone_keeps_its_descriptor_while_its_handler_runs(
    gate: Gate, serve: Serve, connect: Connect
) -> None:
    """Invariant 9: its number may not be given to the next client before."""
    server = serve(gate)
    client = connect(server)
    assert ask(client, b"quick") == b"quick"
    (connection,) = server.connections
    number = connection._socket.fileno()
    client.send(b"wait")
    assert gate.waiting.get(timeout=30)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    connection.abort()
    wait_until(lambda: len(server.connections) == 0)
    others = [connect(server) for _ in range(10)]
    assert [ask(other, b"quick") for other in others] == [b"quick"] * 10
    assert connection._socket.fileno() == number
    assert number not in [other._socket.fileno() for other in server.connections]
    gate.opened.set()
    wait_until(lambda: connection._socket.fileno() < 0)


def test_stop_asked_for_while_the_loop_moves_is_not_forgotten(gate: Gate, serve: Serve, connect: Connect) -> None:
    """Invariant 17: requests to stop are state of the role."""
    server = serve(gate)
    client = connect(server)
    client.send(b"wait")
    assert gate.waiting.get(timeout=30)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    wait_until(lambda: server._loop is not None and server._loop._stopping)
    gate.opened.set()
    assert client.recv() == b"wait"
    with pytest.raises(ConnectionClosed):
        client.recv()
    stopping.join(10)
    assert server.state == "stopped"


def test_an_exception_after_the_loop_moved_ends_one_connection(serve: Serve, connect: Connect) -> None:
    """Invariant 17."""

    def handle(connection: Connection, message: bytes) -> bytes:
        if message == b"fail":
            with blocking():
                raise ValueError("after the wait")
        return message

    server = serve(handle)
    failing, other = connect(server), connect(server)
    failing.send(b"fail")
    with pytest.raises(ConnectionClosed):
        failing.recv()
    assert ask(other, b"quick") == b"quick"
    wait_until(lambda: server.stats().closed.get(CloseReason.HANDLER) == 1)


def test_a_new_leader_polls_at_once_before_it_judges(
    gate: Gate, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 16."""
    waits: dict[str, list[float]] = {}
    real = Loop._poll_time

    def poll_time(loop: Loop) -> float:
        seconds = real(loop)
        waits.setdefault(threading.current_thread().name, []).append(seconds)
        return seconds

    monkeypatch.setattr(Loop, "_poll_time", poll_time)
    server = serve(gate, heartbeat=Heartbeat(60.0))
    client, other = connect(server), connect(server)
    client.send(b"announce")
    assert gate.waiting.get(timeout=30)
    assert ask(other, b"quick") == b"quick"
    gate.opened.set()
    assert client.recv() == b"announce"
    assert len(waits) >= 2, "or more, where a busy machine held up a quick call"
    assert all(seconds[0] == 0.0 for seconds in waits.values())


# Shortages ------------------------------------------------------------------------------------------------------------


def test_without_a_spare_everything_goes_to_the_pool(
    gate: Gate, serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant 11, and its name in the log and in stats()."""
    with caplog.at_level(logging.WARNING, "mooring"):
        server = serve(gate, threads=1)
        slow, other = connect(server), connect(server)
        slow.send(b"wait")
        assert gate.waiting.get(timeout=30)
        wait_until(lambda: "no spare thread for the loop: 1 of its threads are late" in caplog.text)
    assert server.stats().late == 1
    assert server.stats().spares == 0
    gate.threads.clear()
    for _ in range(20):
        assert ask(other, b"quick") == b"quick"
    assert all("worker" in name for name in gate.threads)
    gate.opened.set()
    assert slow.recv() == b"wait"
    wait_until(lambda: server.stats().spares == 1)


def test_when_every_worker_is_busy_the_loop_still_accepts_reads_and_beats(
    gate: Gate, serve: Serve, connect: Connect
) -> None:
    server = serve(gate, blocking=True, threads=2, heartbeat=Heartbeat(60.0, interval=0.05, message=b"beat"))
    busy = [connect(server) for _ in range(2)]
    for client in busy:
        client.send(b"wait")
        assert gate.waiting.get(timeout=30)
    late = [connect(server) for _ in range(5)]  # accepted
    for client in late:
        client.send(b"queued")
    for client in late:
        assert client.recv() == b"beat"
    wait_until(lambda: server.stats().messages == 7)  # read
    wait_until(lambda: server.threads.stats().queued == 5)
    gate.opened.set()
    for client in late:
        while (message := client.recv()) == b"beat":
            pass
        assert message == b"queued"


def test_messages_in_the_hands_of_the_pool_count_for_inbox_limit_when_their_replies_are_pending(
    gate: Gate, serve: Serve, connect: Connect
) -> None:
    pending = [Future[bytes]() for _ in range(3)]

    def handler(connection: Connection, message: bytes) -> Future[bytes]:
        gate(connection, message)
        return pending[0 if message == b"wait" else int(message)]

    server = serve(handler, blocking=True, inbox_limit=2)
    client = connect(server)
    client.send(b"wait")
    assert gate.waiting.get(timeout=30)
    [connection] = server.connections
    client.send(b"1", b"2")
    wait_until(lambda: connection._inbox is not None and len(connection._inbox) == 2)
    assert connection._reading, "as many wait as may"
    gate.opened.set()
    wait_until(lambda: not connection._reading)
    for number, future in enumerate(pending):
        future.set_result(b"%d" % number)
    assert [client.recv() for _ in pending] == [b"0", b"1", b"2"]


def test_the_pool_queue_holds_connections_and_not_messages(gate: Gate, serve: Serve, connect: Connect) -> None:
    """Invariant 12."""
    server = serve(gate, blocking=True, threads=1, inbox_limit=100)
    busy, other = connect(server), connect(server)
    busy.send(b"wait")
    assert gate.waiting.get(timeout=30)
    for _ in range(10):
        other.send(*[b"x"] * 10)
    wait_until(lambda: server.stats().messages == 101)
    assert server.threads.stats().queued == 1
    gate.opened.set()
    assert [other.recv() for _ in range(100)] == [b"x"] * 100


def test_a_service_on_the_loop_ends_after_64_messages(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 13: the rest goes to the inbox and the connection behind the others."""
    stretches: list[int] = []
    real = Serving.run

    def run(serving: Serving, connection: Connection, items: list[Any], meter: Any) -> int:
        stretches.append(real(serving, connection, items, meter))
        return stretches[-1]

    monkeypatch.setattr(Serving, "run", run)
    client = connect(serve(lambda connection, message: message, blocking=False))
    client.send(*[b"%d" % number for number in range(1000)])
    assert [client.recv() for _ in range(1000)] == [b"%d" % number for number in range(1000)]
    assert max(stretches) <= MESSAGES_PER_SERVICE
    wait_until(lambda: sum(stretches) == 1000)


def test_a_handler_that_never_returns_costs_its_own_connection_only_and_is_reported_with_its_stack(
    gate: Gate, serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(gate)
    stuck, other = connect(server), connect(server)
    stuck.send(b"wait")
    assert gate.waiting.get(timeout=30)
    wait_until(lambda: server.stats().late == 1)
    for _ in range(20):
        assert ask(other, b"quick") == b"quick"
    with caplog.at_level(logging.WARNING, "mooring"):
        monkeypatch.setattr("mooring.models.handover.STUCK_AFTER", 0.01)
        wait_until(lambda: "has been running for 0 s on mooring-loop-" in caplog.text)
        assert "opened.wait(30)" in caplog.text, "the stack says where"
        caplog.clear()
        server.stop(0.1)
    assert "still runs in thread" in caplog.text
    assert "opened.wait(30)" in caplog.text, "the stack says where"


def test_when_the_pool_cannot_serve_the_connection_is_closed_and_not_left_waiting(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda connection, message: message, blocking=True)
    client = connect(server)
    assert ask(client, b"x") == b"x"

    def post(*args: Any) -> None:
        raise RuntimeError("no thread can be started")

    monkeypatch.setattr(server.threads, "post", post)
    client.send(b"y")
    with pytest.raises((ConnectionClosed, ConnectionResetError)):
        client.recv()
    wait_until(lambda: server.stats().closed.get(CloseReason.REFUSED) == 1)


# Where messages run ---------------------------------------------------------------------------------------------------


def where(connection: Connection, message: bytes) -> bytes:
    """Answers with the kind of thread; sleeps at ``slow``."""
    if message.startswith(b"slow"):
        with blocking():
            pass
    return b"loop" if "loop" in threading.current_thread().name else b"pool"


@pytest.mark.parametrize(("pinned", "place"), [(None, b"loop"), (False, b"loop"), (True, b"pool")])
def test_quick_calls_run_on_the_loop_unless_pinned(
    serve: Serve, connect: Connect, pinned: bool | None, place: bytes
) -> None:
    client = connect(serve(where, blocking=pinned))
    assert most([ask(client, b"x") for _ in range(100)]) == place


def test_a_connection_that_announces_goes_to_the_pool_and_comes_back(serve: Serve, connect: Connect) -> None:
    server = serve(where)
    slow, quick = connect(server), connect(server)
    assert ask(slow, b"slow") == b"loop"
    assert most([ask(slow, b"slow") for _ in range(10)]) == b"pool"
    assert most([ask(quick, b"x") for _ in range(100)]) == b"loop", "the others stay"
    assert most([ask(slow, b"x") for _ in range(100)]) == b"loop"
    assert server._handover is not None
    assert server._handover.announced == 1


def test_the_routes_of_a_router_are_judged_apart(serve: Serve, connect: Connect) -> None:
    router = Router(key=lambda message: message[:4])
    router.on(b"slow")(where)
    router.on(b"fast")(where)
    server = serve(router)
    clients = [connect(server) for _ in range(200)]
    for client in clients:
        ask(client, b"slow")
        if server._handover is not None and not server._handover.parked:
            wait_until(lambda: server._handover is not None and server._handover.parked)
    client = clients[-1]
    assert ask(client, b"slow") == b"pool"
    assert server._handover is not None
    handovers = server._handover.announced
    assert handovers < 200
    places = []
    for _ in range(100):  # the slow route's calls do not keep the connection's quick ones in the pool
        places.append(ask_anew(server, client, b"fast"))
        ask(client, b"slow")
    assert most(places) == b"loop"
    assert server._handover.announced == handovers


def test_a_slow_route_of_one_connection_goes_to_the_pool_and_the_quick_calls_between_do_not(
    serve: Serve, connect: Connect
) -> None:
    router = Router(key=lambda message: message[:4])
    router.on(b"slow")(where)
    router.on(b"fast")(where)
    server = serve(router)
    client = connect(server)
    for _ in range(500):
        for message in (b"slow", b"fast", b"fast"):
            ask(client, message)
    places = []
    for _ in range(50):
        places.append(ask_anew(server, client, b"fast"))
        ask(client, b"slow")
    assert most(places) == b"loop"


def test_route_splits_a_function_into_routes(serve: Serve, connect: Connect) -> None:
    server = serve(where, route=lambda message: message[:4])
    client = connect(server)
    assert ask(client, b"slow") == b"loop"
    assert ask(client, b"fast 0") == b"pool", "its connection was slow just now"
    assert most([ask(client, b"fast") for _ in range(100)]) == b"loop"


def test_at_most_256_keys_get_a_route_of_their_own() -> None:
    """What comes on the wire must not fill the memory."""
    handling = Handling(where, None, lambda message: message)
    assert handling.find is not None
    routes = {id(handling.find(b"%d" % number)[0]) for number in range(1000)}
    assert len(routes) == KEYS_KEPT + 1
    first, again = handling.find(b"0")[0], handling.find(b"0")[0]
    assert first is again
    assert handling.find(b"999")[0] is handling.find(b"never seen")[0]


def test_more_keys_than_are_kept_are_served_all_the_same(serve: Serve, connect: Connect) -> None:
    client = connect(serve(lambda connection, message: message, route=lambda message: message))
    messages = [b"%d" % number for number in range(600)]
    client.send(*messages)
    assert [client.recv() for _ in messages] == messages


@pytest.mark.parametrize("key", [lambda message: [], lambda message: 1 / 0])
def test_a_route_function_that_fails_closes_its_connection(
    serve: Serve, connect: Connect, key: Callable[[bytes], Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(where, route=key)
    client = connect(server)
    client.send(b"x")
    with caplog.at_level(logging.ERROR, "mooring"), pytest.raises(ConnectionClosed):
        client.recv()


def test_a_router_without_default_closes_at_an_unknown_key_and_says_which(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    router = Router(key=lambda message: message)
    router.on(b"known")(lambda connection, message: message)
    server = serve(router)
    client, other = connect(server), connect(server)
    with caplog.at_level(logging.INFO, "mooring"):
        client.send(b"known", b"unknown")
        assert client.recv() == b"known"
        with pytest.raises(ConnectionClosed):
            client.recv()
    assert "no route for the key of this message, and no default" in caplog.text
    assert ask(other, b"known") == b"known"


def test_a_router_with_default_serves_unknown_keys(serve: Serve, connect: Connect) -> None:
    router = Router(key=lambda message: message)
    router.on(b"known")(lambda connection, message: message)
    router.default(lambda connection, message: b"default")
    assert ask(connect(serve(router)), b"unknown") == b"default"


def test_events_in_the_pool_say_nothing_of_the_route(serve: Serve, connect: Connect) -> None:
    """Many quick ``connected`` do not bring a slow route back to the loop."""

    class Handler(ConnectionHandler):
        def connected(self) -> bytes:
            return b"welcome"

        def received(self, message: bytes) -> bytes:
            return where(self.connection, message)

    server = serve(Handler)
    assert isinstance(server._loop, Loop)
    model = server._loop.state.model
    assert isinstance(model, HybridModel)
    assert model._experience is not None
    model._experience.on_loop = False
    for _ in range(100):
        with Client(server.addresses[0]) as client:
            assert client.recv() == b"welcome"
    assert model._experience.quick == 0
    assert not model._experience.on_loop


# What is put back -----------------------------------------------------------------------------------------------------


def test_after_a_close_the_end_is_still_told_though_messages_before_it_are_dropped() -> None:
    serving = Serving(
        Handling(lambda connection, message: None, None),
        join=bytes,
        attend=lambda connection: None,
        pause=NeverPaused(),
        rare=None,  # type: ignore[arg-type]
    )
    connection = Connection(None, None, "", 1, threading.Lock(), 0.0)  # type: ignore[arg-type]
    connection._served = connection._dropping = True
    assert serving.finish(connection, [b"run", b"not run", LOST], 1)
    assert connection._served
    assert serving.take_inbox(connection) == [LOST]


# What a library must leave alone ------------------------------------------------------------------------------------


def test_start_leaves_signals_the_switch_interval_and_the_main_thread_alone(gate: Gate, serve: Serve) -> None:
    before = (sys.getswitchinterval(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    server = serve(gate)
    assert (sys.getswitchinterval(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert server._loop is not None
    assert server._loop.state.leader != threading.main_thread().ident


def test_an_idle_engine_sleeps(gate: Gate, serve: Serve, connect: Connect) -> None:
    """The watchdog parks, and looks 20 times a second all the same."""
    server = serve(gate)
    client = connect(server)
    assert ask(client, b"quick") == b"quick"
    wait_until(lambda: server._handover is not None and server._handover.watchdog_parked)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25
