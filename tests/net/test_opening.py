"""What a socket goes through before it is a connection: stages, deadlines, the limit, and that nobody else waits."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from drains import stopping
from forks import in_child
from waiting import wait_until

from mooring import Client, Connection, Limits, Server
from mooring.net.accepting import opening as module
from mooring.net.accepting.opening import IN, OUT, OpeningFailed, Openings, Stage
from mooring.net.rare import RareLog


def echo(connection: Connection, message: bytes) -> bytes:
    return message


class Word:
    """A stage in which the peer says a word, byte by byte; what follows it is left in the kernel."""

    name = "word"
    setting = "word_timeout"

    def __init__(self, word: bytes, timeout: float = 10.0) -> None:
        self.word = word
        self.timeout = timeout

    def begin(self, sock: Any) -> WordStep:
        return WordStep(sock, self.word)


class WordStep:
    def __init__(self, sock: Any, word: bytes) -> None:
        self.socket = sock
        self._missing = word

    def advance(self) -> int:
        while self._missing:
            try:
                byte = self.socket.recv(1)
            except BlockingIOError:
                return IN
            if not byte:
                raise module.OpeningFailed("gone", "the peer went away")
            if byte == b"!":
                raise ZeroDivisionError("a fault of the stage")
            if byte != self._missing[:1]:
                raise module.OpeningFailed("wrong", f"it said {byte!r}")
            self._missing = self._missing[1:]
        return 0


class StagedServer(Server):
    """A server whose listeners have stages."""

    stages: tuple[Stage, ...] = ()

    def initialize(self) -> None:
        super().initialize()
        for listener in self._listeners:
            listener.stages = self.stages


Serve = Callable[..., Server]


@pytest.fixture(params=["hybrid", "epoll", "threads"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def serve(*stages: Stage, model: str = "hybrid", **options: Any) -> Server:
            server = StagedServer(echo, bind="tcp://127.0.0.1:0", model=model, **options)
            server.stages = stages
            return stack.enter_context(server)

        yield serve


def test_a_socket_is_a_connection_when_it_has_gone_through_all_stages_in_their_order(serve: Serve, model: str) -> None:
    server = serve(Word(b"open"), Word(b"sesame"), model=model)
    with Client(server.addresses[0]) as client:
        for byte in b"opensesam":
            client.socket.sendall(bytes([byte]))
            assert len(server.connections) == 0
        client.socket.sendall(b"efirst\nsecond\n")
        assert client.recv() == b"first"
        assert client.recv() == b"second"
    assert server.stats().opened == 1
    assert server.stats().opening == 0


def test_who_fails_a_stage_is_closed_counted_by_reason_and_named_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(Word(b"open"), Word(b"sesame"))
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"opensesX")
        assert list(client) == []
        peer = f"tcp://127.0.0.1:{client.socket.getsockname()[1]}"
    assert server.stats().not_opened == {"word_wrong": 1}
    assert f"{peer} was closed before it was a connection (word_wrong): it said b'X'" in caplog.text


def test_a_fault_in_a_stage_costs_one_client_and_not_the_loop(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(Word(b"open"))
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"op!")
        assert list(client) == []
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"openhello\n")
        assert client.recv() == b"hello"
    assert server.stats().not_opened == {"word_fault": 1}
    assert "ZeroDivisionError" in caplog.text


def test_a_stage_that_takes_too_long_ends_and_the_line_names_the_setting(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(Word(b"open", timeout=0.15), Word(b"sesame", timeout=60))
    with Client(server.addresses[0]) as silent, Client(server.addresses[0]) as quick:
        quick.socket.sendall(b"opensesam")  # it has all the time of the second stage
        assert list(silent) == []
        quick.socket.sendall(b"ehello\n")
        assert quick.recv() == b"hello"
    assert server.stats().not_opened == {"word_timeout": 1}
    assert "not done within 0.15 s (word_timeout)" in caplog.text


def test_a_reset_on_the_way_is_counted_and_leaves_nothing(serve: Serve) -> None:
    server = serve(Word(b"open"))
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"op")
        wait_until(lambda: server.stats().opening == 1)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: server.stats().not_opened == {"word_reset": 1})
    assert server.stats().opening == 0


def test_sockets_on_the_way_count_as_connections(serve: Serve) -> None:
    server = serve(Word(b"open"), max_connections=2)
    with Client(server.addresses[0]), Client(server.addresses[0]):
        wait_until(lambda: server.stats().opening == 2)
        with Client(server.addresses[0]) as third:
            assert list(third) == []
    assert server.stats().refused == 1


def test_stop_lets_those_on_the_way_arrive_and_serves_their_first_messages(serve: Serve, model: str) -> None:
    server = serve(Word(b"open"), Word(b"sesame"), model=model)
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"o")
        wait_until(lambda: server.stats().opening == 1)
        with stopping(server, spread=1.0):
            wait_until(lambda: server._loop._stopping)  # type: ignore[union-attr]
            client.socket.sendall(b"pensesamehello\n")
            assert client.recv() == b"hello"
            assert list(client) == []
    assert server.stats().not_opened == {}
    assert server.stats().closed == {"stop": 1}


def test_stop_without_a_spread_closes_in_order_who_has_arrived_meanwhile(serve: Serve, model: str) -> None:
    server = serve(Word(b"open"), model=model)
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"ope")
        wait_until(lambda: server.stats().opening == 1)
        with stopping(server):
            wait_until(lambda: server._loop._stopping)  # type: ignore[union-attr]
            client.socket.sendall(b"n")
            assert list(client) == []
    assert server.stats().not_opened == {}
    assert server.stats().closed == {"stop": 1}


def test_who_says_nothing_does_not_hold_up_a_stop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    server = serve(Word(b"open", timeout=3600))
    with Client(server.addresses[0]) as client:
        wait_until(lambda: server.stats().opening == 1)
        server.stop(None)
        assert list(client) == []
    assert server.stats().not_opened == {"word_stop": 1}


def test_who_never_comes_to_the_end_of_a_stage_has_the_time_of_the_stop(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(Word(b"open", timeout=3600))
    with Client(server.addresses[0]) as client:
        client.socket.sendall(b"ope")
        wait_until(lambda: server.stats().opening == 1)
        server.stop(0.1)
        assert list(client) == []
    assert server.stats().not_opened == {"word_stop": 1}
    assert "stop: 1 connections did not end within 0.1 s" in caplog.text


def test_a_forked_child_closes_those_on_the_way_without_a_word(serve: Serve) -> None:
    server = serve(Word(b"open"))
    with Client(server.addresses[0]) as client:
        wait_until(lambda: server.stats().opening == 1)
        in_child(lambda: None)
        client.socket.sendall(b"openhello\n")
        assert client.recv() == b"hello"


def test_when_all_places_are_taken_clients_wait_and_those_who_hold_them_too_long_give_way(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    server = serve(Word(b"open"), limits=Limits(handshakes=4))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(Client(server.addresses[0]))
        client = stack.enter_context(Client(server.addresses[0]))
        client.socket.sendall(b"openhello\n")
        assert client.recv() == b"hello"
        assert server.stats().opening <= 4
    assert server.stats().refused == 0
    assert server.stats().not_opened["word_crowded"] >= 16


# The turn's time, on a loop that is turned by hand --------------------------------------------------------------------


class SlowStep:
    """A step that needs so many looks, each of which takes a while."""

    def __init__(self, sock: Any, looks: int) -> None:
        self.socket = sock
        self.looks = looks

    def advance(self) -> int:
        time.sleep(module.TIME_PER_TURN)
        self.looks -= 1
        return IN if self.looks else 0


class SlowStage:
    name, timeout, setting = "slow", 10.0, "slow_timeout"

    def begin(self, sock: Any) -> SlowStep:
        return SlowStep(sock, 2)


class Turns:
    """Openings, and the loop's part in the hands of the test."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.watchers: dict[int, Callable[[], None]] = {}
        self.timers: list[Callable[[], None]] = []
        self.turn = 1.0
        self.openings = Openings(
            limit=4,
            done=lambda sock, peer: self.done.append(sock),
            turn=lambda: self.turn,
            watch=lambda fd, watcher, events: self.watchers.__setitem__(fd, watcher),
            rewatch=lambda fd, events: None,
            unwatch=self.watchers.__delitem__,
            call_later=lambda delay, function: self.timers.append(function),
            rare=RareLog(logging.getLogger("mooring")),
        )

    def all_are_ready(self) -> None:
        self.turn += 1
        for watcher in list(self.watchers.values()):
            watcher()


def test_in_one_turn_of_the_loop_openings_take_their_share_of_time_and_the_others_go_on_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SHARE_OF_TIME", 0.0)  # however long a busy machine takes between the turns
    turns = Turns()
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        for ours, _ in pairs:
            turns.openings.begin(ours, "", [SlowStage()])
        for done in (0, 1, 1, 2, 2, 3):
            turns.all_are_ready()
            assert len(turns.done) == done
    finally:
        for sock in (sock for pair in pairs for sock in pair):
            sock.close()


def test_where_turns_are_long_openings_have_more_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PER_TURN", 60.0)
    turns = Turns()
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        for ours, _ in pairs:
            turns.openings.begin(ours, "", [SlowStage()])
        for done in (0, 3):
            turns.openings._turn_began -= 600.0  # a minute is a tenth of it
            turns.all_are_ready()
            assert len(turns.done) == done
    finally:
        for sock in (sock for pair in pairs for sock in pair):
            sock.close()


def test_who_waits_for_us_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE_OF_TIME", 0.0)
    monkeypatch.setattr(module, "PATIENCE", 10.0)
    turns = Turns()
    pairs = [socket.socketpair() for _ in range(4)]
    try:
        for ours, _ in pairs:
            turns.openings.begin(ours, "", [SlowStage()])
        for opening in turns.openings._all:
            opening.since -= 3600  # more than a busy machine can be late, which is given back
        turns.all_are_ready()
        turns.timers.pop()()
        # One was advanced, and has had its time; the others were ready and had to wait for us.
        assert turns.openings.failed == {"slow_crowded": 1}
        assert len(turns.openings) == 3
    finally:
        turns.openings.close()
        for sock in (sock for pair in pairs for sock in pair):
            sock.close()


def test_time_in_which_the_loop_did_not_come_round_is_not_theirs() -> None:
    turns = Turns()
    pairs = [socket.socketpair() for _ in range(4)]
    try:
        for ours, _ in pairs:
            turns.openings.begin(ours, "", [SlowStage()])
        in_time = next(iter(turns.openings._all))
        late = 3600.0  # far beyond the stage's time, and the time for which a place may be kept
        turns.openings._next_sweep -= late
        for opening in turns.openings._all:
            opening.deadline -= late
            opening.since -= late
        in_time.deadline -= late
        turns.timers.pop()()
        assert turns.openings.failed == {"slow_timeout": 1}
        assert len(turns.openings) == 3
    finally:
        turns.openings.close()
        for sock in (sock for pair in pairs for sock in pair):
            sock.close()


def test_a_step_is_watched_for_what_it_waits_for() -> None:
    wanted = iter([OUT, IN, 0])
    seen: list[int] = []

    class Step:
        socket: Any

        def advance(self) -> int:
            return next(wanted)

    class Changing(SlowStage):
        def begin(self, sock: Any) -> Any:
            step = Step()
            step.socket = sock
            return step

    turns = Turns()
    turns.openings._rewatch = lambda fd, events: seen.append(events)
    ours, theirs = socket.socketpair()
    try:
        turns.openings.begin(ours, "", [Changing()])
        for _ in range(3):
            turns.all_are_ready()
        assert seen == [OUT, IN]
        assert turns.done == [ours]
    finally:
        ours.close()
        theirs.close()


def test_failures_are_told_with_the_socket_still_open() -> None:
    told: list[tuple[int, str]] = []
    turns = Turns()
    turns.openings.when_failed = lambda sock, reason: told.append((sock.fileno(), reason))

    class Failing(SlowStage):
        def begin(self, sock: Any) -> Any:
            raise_it = type("Step", (), {"socket": sock, "advance": fail})
            return raise_it()

    def fail(step: Any) -> int:
        raise OpeningFailed("no", "never")

    ours, theirs = socket.socketpair()
    number = ours.fileno()
    turns.openings.begin(ours, "", [Failing()])
    turns.all_are_ready()
    assert told == [(number, "slow_no")]
    assert ours.fileno() == -1
    theirs.close()
