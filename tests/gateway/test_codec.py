"""Other protocols in front of the same tables: the GT06 example beside JSON lines, and codecs that make mistakes."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from devices import Connect, MakeGateway
from waiting import wait_until

from mooring import Client, CloseReason
from mooring.framing import Lines
from mooring.gateway import Gateway, server
from mooring.gateway.messages import Ack, Command, Done, Error, Hello, Ping, Pong, Push, Welcome

IMEI = "123456789012345"
LOGIN = bytes.fromhex("01 01 23 45 67 89 01 23 45 00 01")
POSITION = bytes.fromhex("12 0B 08 1D 11 2E 10 CF 02 7A C7 EB 0C 46 58 49 00 14 8F 01 CC 00 28 7D 00 1F B8 00 03")
HEARTBEAT = bytes.fromhex("13 44 06 03 0B 02 00 1F")
AT = 1314639976  # 2011-08-29 17:46:16 UTC


@pytest.fixture(scope="module")
def gt06() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "examples" / "gt06.py"
    spec = importlib.util.spec_from_file_location("gt06_as_codec", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def trackers(
    make_gateway: MakeGateway, database_url: str, gt06: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Gateway:
    monkeypatch.setattr("mooring.gateway.services.DISPATCH_INTERVAL", 0.02)
    return make_gateway(database_url, codec=gt06.Gt06Codec(), auth="none")


def test_a_tracker_logs_in_pushes_by_its_own_time_and_answers_a_command(
    trackers: Gateway, gt06: ModuleType, connect: Connect, make_gateway: MakeGateway, database_url: str
) -> None:
    meters = make_gateway(database_url)
    meter = connect(meters)
    meter.log_in("meter-7")
    assert meter.ask(op="push", seq=1, data={"v": 1}) == {"op": "ack", "seq": 1}
    with Client(f"tcp://127.0.0.1:{trackers.port}", framing=gt06.Gt06()) as tracker:
        tracker.send(LOGIN)
        assert tracker.recv() == b"\x01\x00\x01"
        tracker.send(POSITION, POSITION, HEARTBEAT)
        assert tracker.recv() == b"\x13\x00\x1f"
        wait_until(lambda: trackers.counters["repeated"] == 1)
        row = next(trackers.store.pushes.of_device(IMEI, 1, 1 << 53))
        assert (row.seq, row.at) == (AT << 16 | 3, "2011-08-29 17:46:16.000")
        assert json.loads(row.data)["latitude"] == pytest.approx(23.1117, abs=1e-4)
        number = trackers.store.devices.find(IMEI)
        assert number is not None
        id = trackers.store.commands.add(number, '"WHERE#"', time.time(), None)
        command = tracker.recv()
        assert (command[0], gt06.text_of(command)) == (gt06.COMMAND, "WHERE#")
        tracker.send(gt06.text_message(gt06.ANSWER, command[2:6], "in the harbour"))
        wait_until(lambda: getattr(trackers.store.commands.find(id), "result", None) == '"in the harbour"')
        wrong = trackers.store.commands.add(number, '{"no":"text"}', time.time(), None)
        wait_until(lambda: "short text" in (getattr(trackers.store.commands.find(wrong), "error", None) or ""))
    assert meter.ask(op="ping") == {"op": "pong"}
    names = {row.name for row in meters.store.devices.rows()}
    assert names == {"meter-7", IMEI}


def test_a_tracker_that_pushes_before_its_login_is_closed(
    gt06: ModuleType, make_gateway: MakeGateway, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url, codec=gt06.Gt06Codec(), auth="none")
    with Client(f"tcp://127.0.0.1:{gateway.port}", framing=gt06.Gt06()) as tracker:
        tracker.send(POSITION)
        assert list(tracker) == []
    assert gateway.counters["hello_first"] == 1


def test_a_tracker_whose_push_cannot_be_stored_is_made_to_come_again(
    gt06: ModuleType, make_gateway: MakeGateway, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url, codec=gt06.Gt06Codec(), auth="none", group_commit=False)
    with Client(f"tcp://127.0.0.1:{gateway.port}", framing=gt06.Gt06()) as tracker:
        tracker.send(LOGIN)
        tracker.recv()
        with gateway.store.database.lease() as lease:
            lease.execute("DROP TABLE pushes")
        tracker.send(POSITION)
        assert list(tracker) == []
    wait_until(lambda: gateway.stats().closed.get(CloseReason.LOCAL) == 1)


def test_the_example_serves_both_protocols_in_one_process(gt06: ModuleType) -> None:
    assert gt06.gateway.description == "trackers, gateway (GT06)"
    assert gt06.meters.description == "meters, gateway (JSON lines)"


class Careless:
    """A codec whose lines are Python: it makes of them whatever it is told."""

    framing = Lines()
    heartbeat = None

    def decode(self, message: bytes, session: Any) -> Any:
        return eval(message, {"Hello": Hello, "Push": Push, "Done": Done, "Ping": Ping, "Raw": msgspec.Raw})

    def encode(self, answer: Any, session: Any) -> bytes | None:
        if isinstance(answer, Error):
            return answer.code.encode()
        return {Welcome: b"welcome", Ack: b"ack", Pong: b"pong", Command: b"command"}.get(type(answer))


@pytest.mark.parametrize(
    "line",
    [
        "Push(0, Raw(b'1'))",
        "Push(1 << 60, Raw(b'1'))",
        "Push('1', Raw(b'1'))",
        "Push(1, Raw(b'1'), at=-5.0)",
        "Push(1, Raw(b'1'), at=float('nan'))",
        "Push(1, Raw(b'1'), at=1e12)",
        "Push(1, Raw(b''))",
        "Push(1, Raw(b'{'))",
        "Push(1, Raw(b'NaN'))",
        "Push(1, Raw(b'1e999'))",
        "Push(1, Raw(b'\"\\xff\"'))",
        "Push(1, Raw(b'[' * 70 + b']' * 70))",
        "Push(1, batch=())",
        "Done(-1)",
        "Done(1, error='x' * 5000)",
    ],
)
def test_what_a_codec_makes_is_checked_before_it_reaches_the_database(
    make_gateway: MakeGateway, sqlite_url: str, line: str
) -> None:
    gateway = make_gateway(sqlite_url, codec=Careless())
    with Client(f"tcp://127.0.0.1:{gateway.port}") as client:
        client.send(b"Hello('a')")
        assert client.recv() == b"welcome"
        client.send(line.encode())
        assert client.recv() in (b"bad_message", b"bad_json")
        client.send(b"Push(1, Raw(b'1'))")
        assert client.recv() == b"ack"
    assert [row.data for row in gateway.store.pushes.of_device("a", 1, 99)] == ["1"]


@pytest.mark.parametrize("name", ["Hello('x' * 65)", "Hello('\\ud800')", "Hello(7)", "Hello(' a')"])
def test_a_name_that_a_codec_makes_is_checked(make_gateway: MakeGateway, sqlite_url: str, name: str) -> None:
    gateway = make_gateway(sqlite_url, codec=Careless())
    with Client(f"tcp://127.0.0.1:{gateway.port}") as client:
        client.send(name.encode())
        assert client.recv() == b"bad_message"
    assert list(gateway.store.devices.rows()) == []


def test_a_codec_that_raises_ends_one_connection(make_gateway: MakeGateway, sqlite_url: str) -> None:
    gateway = make_gateway(sqlite_url, codec=Careless())
    with Client(f"tcp://127.0.0.1:{gateway.port}") as broken, Client(f"tcp://127.0.0.1:{gateway.port}") as other:
        broken.send(b"1/0")
        assert list(broken) == []
        other.send(b"Ping()")
        assert other.recv() == b"pong"


@pytest.mark.parametrize(
    ("codec", "part"),
    [
        (Careless, "is the class Careless"),
        (object(), "with framing, heartbeat, decode and encode"),
        (SimpleNamespace(decode=print, encode=print, framing=1, heartbeat=None), "split and join"),
        (SimpleNamespace(decode=print, encode=print, framing=Lines(), heartbeat=30), "Heartbeat or None"),
    ],
)
def test_what_is_no_codec_is_refused(codec: Any, part: str) -> None:
    with pytest.raises(TypeError, match=part):
        server(codec=codec, database="sqlite:///:memory:")
