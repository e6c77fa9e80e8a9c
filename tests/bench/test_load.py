"""The load programs against servers of our own."""

from __future__ import annotations

import os
import socket
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mooring import Connection, Server
from mooring.bench.closed_loop import Caller, ClosedLoop, ServerClosed
from mooring.bench.holder import Holder
from mooring.bench.load import Episode, NoAnswer, ignore, measure, summary
from mooring.bench.loading import load
from mooring.bench.redis_benchmark import read_row
from mooring.bench.session import Session
from mooring.framing import Lines

CSV = '"test","rps","avg_latency_ms","p99_latency_ms"\n"PING_INLINE","86956.52","0.313","0.711"\n'


class Answers:
    """What the server answers."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def __call__(self, connection: Connection, message: bytes) -> bytes:
        self.messages.append(message)
        if message == b"close":
            connection.close()
        return b"+PONG"


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def server(answers: Answers) -> Iterator[Server]:
    with Server(answers, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0", model="threads") as server:
        yield server


def test_each_answer_is_counted_with_its_latency(server: Server, answers: Answers) -> None:
    latencies: list[int] = []
    with ClosedLoop() as loop:
        for _ in range(3):
            loop.add(Caller(server.port, b"PING\r\n", latencies.append))
        while len(latencies) < 30:
            loop.run(0.01)
        assert len(server.connections) == 3
    assert 0 < min(latencies) <= max(latencies) < 10**10
    # Each caller has one request on the way, not more.
    assert len(latencies) <= len(answers.messages) <= len(latencies) + 3


def test_a_window_lasts_until_somebody_of_each_group_was_answered(session: Session) -> None:
    def answer(connection: Connection, message: bytes) -> bytes:
        if message == b"SLOW":
            threading.Event().wait(3 * session.settings.window)
        return b"+OK"

    with Server(answer, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0", model="threads") as server:
        process: Any = SimpleNamespace(port=server.port, pid=os.getpid())
        groups = load(session, process, {"quick": (1, "PING\r\n"), "slow": (1, "SLOW\r\n")}).groups
    assert groups["slow"]["count"] >= 1
    assert groups["slow"]["p50"] >= 3 * session.settings.window


def test_a_server_that_stops_answering_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.bench.load.LONGEST_SILENCE", 0.05)
    with Server(lambda connection, message: None, bind="tcp://127.0.0.1:0", model="threads") as server:
        groups = {"quick": {"count": 1, "request": "PING\n"}}
        with pytest.raises(NoAnswer, match="none of the quick callers"):
            measure({"port": server.port, "warm_up": 0.01, "window": 0.01, "groups": groups})


def test_a_server_that_closes_a_connection_is_reported(server: Server) -> None:
    with ClosedLoop() as loop:
        loop.add(Caller(server.port, b"close\r\n", ignore))
        with pytest.raises(ServerClosed):
            loop.run(10)


def test_an_answer_in_two_parts_is_one_answer() -> None:
    latencies: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ClosedLoop() as loop:
        loop.add(Caller(listener.getsockname()[1], b"PING\r\n", latencies.append))
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"+PO")
            loop.run(0.02)
            assert latencies == []
            connection.sendall(b"NG\r\n")
            while not latencies:
                loop.run(0.01)
            assert len(latencies) == 1
            assert connection.recv(100) == b"PING\r\n" * 2


def test_a_surprise_is_the_longest_wait_of_the_others_not_of_the_surprised() -> None:
    """A server with one thread for all: who waits behind the surprise waits as long."""
    assert surprise(blocks_others=True) >= 0.05e9


def test_a_surprise_that_holds_up_nobody_is_short() -> None:
    assert surprise(blocks_others=False) < 0.05e9 * 0.9


def surprise(blocks_others: bool) -> int:
    def answer(connection: Connection, message: bytes) -> bytes:
        if message == b"surprise":
            time.sleep(0.05)
        return b"+PONG"

    model = "epoll" if blocks_others else "threads"
    with Server(answer, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0", model=model) as server:
        with ClosedLoop() as loop:
            callers = [Caller(server.port, b"PING\r\n", ignore) for _ in range(3)]
            for caller in callers:
                loop.add(caller)
            return Episode(callers, 1).run(loop, b"surprise\r\n")


def test_a_summary_is_in_seconds() -> None:
    assert summary(array("Q", [1_000_000_000])) == {"count": 1, "p50": 1.0, "p99": 1.0, "p99.9": 1.0, "max": 1.0}


@pytest.fixture
def holder(server: Server) -> Iterator[Holder]:
    holder = Holder(server.port, 0, b"PING\r\n", b"BEAT\r\n", b"OK\r\n")
    yield holder
    holder.close()


def turn_until(holder: Holder, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        holder._turn(0.05)


def test_held_connections_have_spoken_once_and_come_from_other_addresses(server: Server, holder: Holder) -> None:
    assert holder.open(20) > 0
    assert len(server.connections) == 20
    assert {connection.peer.host for connection in server.connections} == {"127.0.0.2"}


def test_many_connections_are_spread_over_source_addresses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.bench.holder.PER_ADDRESS", 5)
    holder = Holder(server.port, 10, b"PING\r\n", b"BEAT\r\n", b"OK\r\n")
    try:
        holder.open(10)
        assert {connection.peer.host for connection in server.connections} == {"127.0.0.4", "127.0.0.5"}
    finally:
        holder.close()


def test_heartbeats_are_answered_also_when_they_come_together(server: Server, holder: Holder, answers: Answers) -> None:
    holder.open(1)
    [connection] = server.connections
    for _ in range(2):
        connection.send(b"BEAT")
    turn_until(holder, lambda: answers.messages.count(b"OK") == 2)
    assert holder.beats == 2


def test_connections_that_the_server_closes_are_counted_as_lost(server: Server, holder: Holder) -> None:
    holder.open(3)
    for connection in server.connections:
        connection.close()
    turn_until(holder, lambda: holder.lost == 3)


def test_what_redis_benchmark_writes_is_read() -> None:
    assert read_row("WARNING: something\n" + CSV) == {"rps": 86956.52, "avg_latency_ms": 0.313, "p99_latency_ms": 0.711}


@pytest.mark.parametrize(
    "output", ["", "PING_INLINE: 86956.52 requests per second", '"PING_INLINE","86956.52"', CSV.replace("0.313", "")]
)
def test_what_it_wrote_before_it_could_that_is_refused(output: str) -> None:
    assert read_row(output) == {}
