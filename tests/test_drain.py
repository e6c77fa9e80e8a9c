"""A drain: who is told, who goes when, who is served meanwhile. Over real sockets."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from devices import Device
from drains import stopping
from waiting import wait_until

from mooring import Client, Connection, Heartbeat, Server
from mooring.gateway import Codec, Gateway, server
from mooring.gateway import Device as RealDevice
from mooring.gateway.json_lines import JSON_LINES
from mooring.gateway.messages import Bye
from mooring.server import ServerState

HERE = "tcp://127.0.0.1:0"


def echo(connection: Connection, message: bytes) -> bytes:
    return message


# Who goes when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_who_has_not_said_a_word_yet_is_the_last_to_go_and_is_answered(model: str) -> None:
    turns: list[int] = []

    class Watched(Server):
        def _bid_farewell(self, connection: Connection) -> None:
            turns.append(connection.id)

    with Watched(echo, bind=HERE, model=model) as server, contextlib.ExitStack() as stack:
        newcomer, *talkers = (stack.enter_context(Client(server.addresses[0])) for _ in range(4))
        wait_until(lambda: len(server.connections) == 4)
        numbers = sorted(connection.id for connection in server.connections)
        for talker in talkers:
            talker.send(b"hello")
            talker.recv()
        with stopping(server, spread=2.0):
            wait_until(lambda: server._loop._stopping)  # type: ignore[union-attr]
            newcomer.send(b"first word")
            assert newcomer.recv() == b"first word"
            assert list(newcomer) == []
        assert turns == [*numbers[1:], numbers[0]]


def test_who_was_accepted_in_the_very_turn_in_which_the_drain_began_is_answered() -> None:
    ours, theirs = socket.socketpair()
    with ours, Server(echo, bind=HERE) as server:
        loop = server._loop
        assert loop is not None
        loop.post(lambda: (loop.adopt(theirs), loop._stop(1.0, lambda connection: None)))  # type: ignore[arg-type, return-value]
        ours.sendall(b"hello\n")
        ours.settimeout(10)
        assert ours.recv(100) == b"hello\n"


def test_the_hearts_of_those_who_wait_for_their_turn_go_on_beating() -> None:
    heartbeat = Heartbeat(timeout=5.0, interval=0.1, message=b"beat", always=True)
    with Server(echo, bind=HERE, heartbeat=heartbeat) as server, Client(server.addresses[0]) as client:
        client.send(b"hello")
        while client.recv() == b"beat":
            pass
        with stopping(server, spread=1.5):
            wait_until(lambda: server.state is ServerState.STOPPING)
            heard = []
            for message in client:
                heard.append(message)
                client.send(b"alive")
        assert heard.count(b"beat") >= 3
        assert heard.count(b"alive") >= 3  # served until its turn
        assert server.stats().closed == {"stop": 1}


class PatientEvent(threading.Event):
    """Stands for ``Server._loop_ended`` and notes for how long it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.patience: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.patience.append(timeout)
        return super().wait(timeout)


@pytest.mark.parametrize(
    ("timeout", "spread", "patience"),
    [(15.0, 0.2, 15.2), (15.0, 0.0, 15.0), (15.0, None, 15.0), (None, 0.2, None)],
)
def test_the_timeout_counts_from_the_last_turn_on(
    timeout: float | None, spread: float | None, patience: float | None
) -> None:
    server = Server(echo, bind=HERE)
    server._loop_ended = ended = PatientEvent()
    with server, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Client(server.addresses[0])).send(b"x")
        wait_until(lambda: server.stats().messages == 3)
        server.stop(timeout, spread=spread)
        assert ended.patience == [patience]
        assert server.stats().closed == {"stop": 3}


class Gate(threading.Event):
    """Stands for ``Server._loop_ended``; a wait of 60 s, the grace, lasts until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        return not self.opened.wait(15) if timeout == 60.0 else super().wait(timeout)


def test_in_the_grace_everything_goes_on_and_the_state_says_stopping() -> None:
    server = Server(echo, bind=HERE)
    server._loop_ended = gate = Gate()
    with server, Client(server.addresses[0]) as old:
        with stopping(server, grace=60.0):
            wait_until(lambda: server.state is ServerState.STOPPING)
            with Client(server.addresses[0]) as new:
                for client in (old, new):
                    client.send(b"hello")
                    assert client.recv() == b"hello"
                gate.opened.set()
                assert list(old) == list(new) == []
        with pytest.raises(OSError, match="refused"):
            Client(server.addresses[0])


@pytest.mark.parametrize("how", [{"spread": -1.0}, {"spread": float("inf")}, {"grace": float("nan")}, {"grace": -0.1}])
def test_times_that_are_none_are_refused(how: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"stop\(\): (spread|grace) is .*; it must be 0 or more seconds"):
        Server(echo, bind=HERE).stop(**how)


# The gateway's devices ------------------------------------------------------------------------------------------------


@pytest.fixture
def make_gateway(folder: Path) -> Iterator[Callable[..., Gateway]]:
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Gateway:
            gateway = server(database=f"sqlite:///{folder / 'gateway.db'}", **{"bind": HERE, **options})
            stack.callback(gateway.stop, 5.0)
            gateway.start()
            return gateway

        yield make


def test_devices_hear_bye_when_their_turn_comes_and_are_served_until_then(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(Device(gateway.addresses[0])) for _ in range(8)]
        for number, device in enumerate(devices):
            device.log_in(str(number))
        heard: dict[Device, float] = {}
        served = 0
        with stopping(gateway, spread=1.6):
            wait_until(lambda: gateway.state is ServerState.STOPPING)
            while len(heard) < len(devices):
                for device in [one for one in devices if one not in heard]:
                    with contextlib.suppress(OSError):
                        device.say(op="ping")
                    message = device.hear()
                    if message["op"] == "bye":
                        assert message["reason"] == "restart"
                        assert 1.0 <= message["retry_after"] <= 2.0
                        heard[device] = time.monotonic()
                    else:
                        served += message["op"] == "pong"
        assert served > len(devices)
        assert max(heard.values()) - min(heard.values()) > 0.8  # of 1.6 s: not all at the same moment


def test_a_fleet_moves_to_a_successor_on_the_same_socket_spread_and_without_a_loss(
    make_gateway: Callable[..., Gateway],
) -> None:
    old = make_gateway()
    listening = old._listeners[0].socket
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(RealDevice(str(old.addresses[0]), f"meter-{n}")) for n in range(12)]
        for device in devices:
            device.push({"before": 1})
            assert device.flush(10)
        new = make_gateway(bind=f"fd://{listening.fileno()}")
        arrived: dict[str, float] = {}
        with stopping(old, spread=1.0):
            for device in devices:
                device.push({"during": 1})
            while len(arrived) < len(devices):
                for device in devices:
                    if device.name in new.connections:
                        arrived.setdefault(device.name, time.monotonic())
                time.sleep(0.005)
        for device in devices:
            device.push({"after": 1})
            assert device.flush(10)
        times = sorted(arrived.values())
        assert times[-1] - times[0] > 0.3
        for device in devices:
            stored = [row.data for row in new.store.pushes.of_device(device.name, 1, 10)]
            assert stored == ['{"before":1}', '{"during":1}', '{"after":1}']


class Speechless:
    """JSON lines without a word for goodbye, as most protocols of devices are."""

    name = "speechless"
    framing, heartbeat, decode = JSON_LINES.framing, JSON_LINES.heartbeat, JSON_LINES.decode

    def encode(self, answer: Any, session: Any) -> bytes | None:
        return None if isinstance(answer, Bye) else JSON_LINES.encode(answer, session)


class Broken(Speechless):
    def encode(self, answer: Any, session: Any) -> bytes | None:
        if isinstance(answer, Bye):
            raise ZeroDivisionError("injected")
        return JSON_LINES.encode(answer, session)


@pytest.mark.parametrize("codec", [Speechless(), Broken()], ids=["has no word", "its codec raises"])
@pytest.mark.parametrize("spread", [None, 0.4])
def test_devices_that_cannot_be_told_to_come_back_later_are_closed_one_after_the_other(
    make_gateway: Callable[..., Gateway],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    codec: Codec,
    spread: float | None,
) -> None:
    monkeypatch.setattr("mooring.server.drain.SPREAD_PER_CONNECTION", 0.1)
    gateway = make_gateway(codec=codec)
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(Device(gateway.addresses[0])) for _ in range(4)]
        for number, device in enumerate(devices):
            device.log_in(str(number))
        with stopping(gateway, spread=spread):
            ends = []
            for device in sorted(devices, key=lambda one: one.socket.fileno()):
                assert list(device) == []
                ends.append(time.monotonic())
        assert max(ends) - min(ends) > 0.15
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert bool(failures) == isinstance(codec, Broken)
