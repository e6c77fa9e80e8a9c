"""Real threads and sockets, random hand-overs, closes, aborts, resizes and pauses; clients verify every byte.

Meanwhile every function that only the leader may call asserts that its caller leads and is in no service (invariants
1 and 2), every stripe that nothing but fields change under it (invariant 10), and every handler that no other one of
its connection runs (invariants 6 and 7).
"""

from __future__ import annotations

import functools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waiting import wait_until

from mooring import Connection, ConnectionClosed, Server, blocking
from mooring.models.hybrid import HybridModel
from mooring.net.loop.arrivals import Arrivals
from mooring.net.loop.descriptors import Descriptors
from mooring.net.loop.ending import Endings
from mooring.net.loop.flow import Flow
from mooring.net.loop.input import Input
from mooring.net.loop.loop import Loop
from mooring.net.loop.mailbox import Mailbox
from mooring.net.loop.state import State
from mooring.net.loop.timekeeper import Timekeeper
from mooring.net.loop.timers import Timers
from mooring.net.rare import RareLog
from mooring.threads import ThreadPool

SECONDS = 2.0
LONGEST = 40.0
"""Seconds that a slow machine may take for what is to be seen at least."""

CLIENTS = 12
RESET = struct.pack("ii", 1, 0)
PARTS = (Loop, Arrivals, Input, Flow, Endings, Timekeeper, Timers, Descriptors)
"""Of the loop, where something belongs to the leader."""
LEADERS_OWN = ("deliver", "resume", "serve_ready", "_serve", "_leave", "_learn")
"""Of the model, what belongs to the leader."""


class Watch:
    """Collects what went wrong, in whatever thread."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.calls = 0
        self.here = threading.local()

    def fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(f"{threading.current_thread().name}: {text}")

    def of_leader(self, name: str, method: Callable[..., Any], state_of: Callable[[Any], State]) -> Callable[..., Any]:
        @functools.wraps(method)
        def check(self_: Any, *args: Any, **options: Any) -> Any:
            self.calls += 1
            state: Any = state_of(self_)
            if state.leader is not None:  # else it has not begun
                thread = state.model._handover.leader
                if not threading.get_ident() == state.leader == thread.ident:
                    self.fault(f"{name}: {thread.name} leads")
                elif thread.is_serving:
                    self.fault(f"{name}: called in the middle of a service")
            return method(self_, *args, **options)

        return check

    def outside_stripes(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def check(*args: Any, **options: Any) -> Any:
            if getattr(self.here, "held", False):
                self.fault(f"{name} called under a stripe")
            return method(*args, **options)

        return check


class Stripe:
    """A lock under which no other stripe may be taken."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._lock = threading.Lock()

    def acquire(self) -> None:
        if getattr(self._watch.here, "held", False):
            self._watch.fault("a second stripe")
        self._lock.acquire()
        self._watch.here.held = True

    def release(self) -> None:
        self._watch.here.held = False
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    for part in PARTS:
        for name, method in list(vars(part).items()):
            if getattr(method, "leader_only", False):
                monkeypatch.setattr(part, name, watch.of_leader(name, method, lambda part: part.state))
    for name in LEADERS_OWN:
        method = getattr(HybridModel, name)
        monkeypatch.setattr(HybridModel, name, watch.of_leader(name, method, lambda model: model._loop.state))
    for owner, name in ((RareLog, "log"), (Mailbox, "_wake"), (Connection, "_flush"), (ThreadPool, "post")):
        monkeypatch.setattr(owner, name, watch.outside_stripes(name, getattr(owner, name)))
    return watch


class Handler:
    """Does what the message says, and answers with it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._running: set[int] = set()
        self.served = 0

    def __call__(self, connection: Connection, message: bytes) -> bytes:
        if connection.id in self._running:
            self._watch.fault(f"two handlers of {connection!r} at once")
        if getattr(self._watch.here, "held", False):
            self._watch.fault("a handler called under a stripe")
        self._running.add(connection.id)
        try:
            self._do(connection, message.split()[-1])
        finally:
            self._running.discard(connection.id)
        self.served += 1
        return message

    @staticmethod
    def _do(connection: Connection, action: bytes) -> None:
        if action == b"announce":
            with blocking():
                time.sleep(0.002)
        elif action == b"sleep":
            time.sleep(0.008)
        elif action == b"late":  # about as long as the watchdog needs: server and taker meet at the token
            time.sleep(random.uniform(0.002, 0.006))
        elif action == b"send":
            connection.send(b"by the way")
        elif action == b"close":
            connection.close()


class ClientOfStress:
    """Connects, asks in bursts, verifies every byte, leaves in one of several ways, and connects again."""

    def __init__(self, server: Server, number: int, watch: Watch) -> None:
        self._port = server.port
        self._random = random.Random(number)
        self._watch = watch
        self._number = number
        self._count = 0
        self.answered = 0

    def run(self, goes_on: Callable[[], bool]) -> None:
        try:
            while goes_on():
                self._visit()
        except Exception as exc:
            self._watch.fault(f"client {self._number}: {exc!r}")

    def _visit(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as sock:
            lines = self._lines(sock)
            for _ in range(self._random.randrange(1, 6)):
                self._burst(sock, lines)
            self._leave(sock, lines)

    @staticmethod
    def _lines(sock: socket.socket) -> Iterator[bytes]:
        with sock.makefile("rb") as file:
            for line in file:
                if line != b"by the way\n":
                    yield line

    def _messages(self) -> list[bytes]:
        actions = [b"quick"] * 30 + [b"announce", b"sleep", b"late", b"send"]
        messages = []
        for _ in range(self._random.choice((1, 1, 5, 100))):
            self._count += 1
            padding = b"x" * self._random.choice((0, 0, 10, 3000))
            messages.append(b"%d-%d %s %s\n" % (self._number, self._count, padding, self._random.choice(actions)))
        return messages

    def _burst(self, sock: socket.socket, lines: Iterator[bytes]) -> None:
        messages = self._messages()
        data = b"".join(messages)
        cut = self._random.randrange(len(data))
        sock.sendall(data[:cut])
        sock.sendall(data[cut:])
        for message in messages:
            line = next(lines)
            assert line == message, f"expected {message[:40]!r}, got {line[:40]!r}"
            self.answered += 1

    def _leave(self, sock: socket.socket, lines: Iterator[bytes]) -> None:
        way = self._random.randrange(4)
        if way == 0:  # half-close: what was sent is answered
            messages = self._messages()
            sock.sendall(b"".join(messages))
            sock.shutdown(socket.SHUT_WR)
            assert list(lines) == messages
        elif way == 1:  # a reset in the middle
            sock.sendall(b"".join(self._messages()))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif way == 2:  # the server closes
            sock.sendall(b"last close\n")
            assert list(lines) == [b"last close\n"]


def disturb(server: Server, goes_on: Callable[[], bool]) -> None:
    """Resizes and pauses the pool, aborts connections, sends to all."""
    chance = random.Random(7)
    while goes_on():
        server.threads.resize(1, chance.randrange(1, 5))
        if chance.random() < 0.3:
            server.threads.pause()
            time.sleep(0.01)
            server.threads.resume()
        server.connections.broadcast(b"by the way")
        time.sleep(0.02)


@pytest.mark.parametrize("pinned", [False, None], ids=["pinned to the loop", "measured"])
def test_whatever_happens_one_thread_leads_and_every_byte_is_right(watch: Watch, pinned: bool | None) -> None:
    """Invariants 1, 2, 6, 7 and 10, by assertions wherever they could be broken."""
    handler = Handler(watch)
    server = Server(handler, bind="tcp://127.0.0.1:0", blocking=pinned, threads=(1, 4), inbox_limit=64)
    server.initialize()
    assert server._loop is not None
    arrivals = server._loop.arrivals
    arrivals.stripes = tuple(Stripe(watch) for _ in arrivals.stripes)  # type: ignore[assignment]
    with server:
        begun = time.monotonic()
        clients = [ClientOfStress(server, number, watch) for number in range(CLIENTS)]

        def has_seen_enough() -> bool:
            return server.stats().handovers > 5 and sum(client.answered for client in clients) > 500

        def goes_on() -> bool:
            seconds = time.monotonic() - begun
            return seconds < SECONDS or (seconds < LONGEST and not has_seen_enough())

        threads = [threading.Thread(target=client.run, args=(goes_on,)) for client in clients]
        threads.append(threading.Thread(target=disturb, args=(server, goes_on)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: not server.connections, what="every connection ends")
        wait_until(lambda: server.stats().late == 0, what="no thread stays late")
        wait_until(lambda: not server._loop or not server._loop.state.table.count, what="every descriptor is closed")
        assert has_seen_enough()
    assert watch.faults == []
    assert watch.calls > 1000


def test_aborts_from_other_threads_hit_nobody_else(watch: Watch) -> None:
    """Invariant 9: while descriptors are closed and given to others, late threads go on sending."""
    server = Server(Handler(watch), bind="tcp://127.0.0.1:0", blocking=False)
    stop = threading.Event()

    def abort() -> None:
        chance = random.Random(3)
        while not stop.is_set():
            for connection in server.connections:
                if chance.random() < 0.2:
                    connection.abort()
            time.sleep(0.003)

    def visit(number: int) -> None:
        chance = random.Random(number)
        for _ in range(40):
            try:
                with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
                    message = b"%d %s\n" % (number, chance.choice((b"quick", b"announce", b"late")))
                    sock.sendall(message * 3)
                    answer = sock.makefile("rb").read(len(message) * 3)
                if not (message * 3).startswith(answer):
                    watch.fault(f"{number} got {answer!r}")
            except (ConnectionClosed, OSError):
                pass  # aborted

    with server:
        threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
        aborting = threading.Thread(target=abort)
        for thread in (*threads, aborting):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        aborting.join()
        wait_until(lambda: server._loop is not None and not server._loop.state.table.count)
    assert watch.faults == []


def test_the_watch_itself_sees_a_second_leader(watch: Watch) -> None:
    """The assertions of this file can fail."""
    with Server(Handler(watch), bind="tcp://127.0.0.1:0") as server:
        loop = server._loop
        assert loop is not None
        wait_until(lambda: loop.state.leader is not None, what="a thread leads")
        loop._poll_time()  # by this thread, which does not lead
    assert any("_poll_time: mooring-loop" in fault for fault in watch.faults)
