"""The device library against real gateways: nothing it has taken is lost, and no command is run twice."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from devices import MakeGateway
from mariadb import free_port
from waiting import wait_until

from mooring import Connection, Server
from mooring.errors import QueueFull
from mooring.gateway import Device, Gateway, server
from mooring.gateway.device.disk import Disk, DiskJournal
from mooring.gateway.device.journal import FORGOTTEN, INTERRUPTED, KEPT, MemoryJournal
from mooring.gateway.device.link import Journal
from mooring.gateway.messages import Done

Script = Callable[[Connection, dict[str, Any]], bytes | None]


def address(gateway: Server) -> str:
    return f"tcp://127.0.0.1:{gateway.port}"


def stored(gateway: Gateway, name: str = "a") -> list[tuple[int, str]]:
    return [(row.seq, row.data) for row in gateway.store.pushes.of_device(name, 1, 1 << 53)]


def fake(script: Script) -> Server:
    """A server that answers what the script says."""
    return Server(lambda connection, line: script(connection, json.loads(line)), bind="tcp://127.0.0.1:0")


def welcome(**fields: Any) -> bytes:
    answer = {"op": "welcome", "device": "a", "v": 1, "time": time.time() + 100, "heartbeat": 30, "timeout": 90}
    return json.dumps({**answer, "last_seq": 0, "max_message": 65536, **fields}).encode()


def test_what_is_pushed_is_stored_with_the_time_of_the_push(gateway: Gateway) -> None:
    with Device(address(gateway), "a") as device:
        device.push({"v": 1}, at=5.5)
        device.push(msgspec.Raw(b'{"v" : 2}'))
        assert device.flush(10)
        assert abs(device.clock_offset or 1) < 1
        assert device.is_connected
    assert stored(gateway) == [(1, '{"v":1}'), (2, '{"v" : 2}')]
    assert next(gateway.store.pushes.of_device("a", 1, 1)).at == "1970-01-01 00:00:05.500"
    assert not device.is_connected


def test_what_is_pushed_without_a_network_outlives_the_program_and_is_sent_later(
    make_gateway: MakeGateway, sqlite_url: str, folder: Path
) -> None:
    port = free_port()
    with Device(f"tcp://127.0.0.1:{port}", "a", queue=folder / "q.db") as device:
        for n in range(150):
            device.push(n)
        assert not device.flush(0.01)
    with server(database=sqlite_url, bind=f"tcp://127.0.0.1:{port}") as gateway:
        with Device(f"tcp://127.0.0.1:{port}", "a", queue=folder / "q.db") as device:
            device.push(150)
            assert device.flush(20)
        assert stored(gateway) == [(n + 1, str(n)) for n in range(151)]


def test_a_device_with_a_new_queue_goes_on_above_what_is_stored(gateway: Gateway) -> None:
    for n in range(3):
        with Device(address(gateway), "a") as device:
            device.push(n)
            assert device.flush(10)
    assert stored(gateway) == [(1, "0"), (2, "1"), (3, "2")]
    assert gateway.counters["conflict"] == 0


def test_a_push_that_was_sent_keeps_its_seq_when_the_answer_is_lost(folder: Path) -> None:
    seen: list[tuple[int, object]] = []

    def script(connection: Connection, message: dict[str, Any]) -> bytes | None:
        if message["op"] == "hello":
            return welcome(last_seq=40)
        if message["op"] == "push":
            seen.append((message["seq"], message["data"]))
            if len(seen) == 1:
                connection.abort()
                return None
            return json.dumps({"op": "ack", "seq": message["seq"]}).encode()
        return None

    with fake(script) as gateway, Device(address(gateway), "a", queue=folder / "q.db") as device:
        device.push("x")
        assert device.flush(10)
    assert seen == [(41, "x"), (41, "x")]


def test_what_is_refused_for_good_is_put_aside_and_the_rest_goes_on(gateway: Gateway, folder: Path) -> None:
    with Device(address(gateway), "a", queue=folder / "q.db") as device:
        device.push(1)
        assert device.flush(10)
    with sqlite3.connect(folder / "q.db") as database:  # the counter begins again
        database.execute("UPDATE facts SET value = 0 WHERE name = 'highest_seq'")
        database.execute("INSERT INTO pushes (seq, at, data) VALUES (1, 5, '\"other\"')")
    database.close()
    with Device(address(gateway), "a", queue=folder / "q.db") as device:
        device.push(3)
        assert device.flush(10)
        refused = device.refused
        assert [(push.seq, push.data, push.code) for push in refused] == [(1, '"other"', "conflict")]
        device.forget_refused()
        assert device.refused == []
    assert stored(gateway) == [(1, "1"), (2, "3")]


def test_what_the_gateway_cannot_take_now_is_sent_again() -> None:
    asked: list[int] = []

    def script(connection: Connection, message: dict[str, Any]) -> bytes | None:
        if message["op"] == "hello":
            return welcome()
        if message["op"] == "bye":
            return None
        asked.append(message["seq"])
        if len(asked) < 3:
            error = {"op": "error", "of": "push", "seq": message["seq"], "code": "busy", "retry": True, "detail": ""}
            return json.dumps(error).encode()
        return json.dumps({"op": "ack", "seq": message["seq"]}).encode()

    with fake(script) as gateway, Device(address(gateway), "a") as device:
        device.push(1)
        assert device.flush(10)
        assert device.refused == []
    assert asked == [1, 1, 1]


def test_a_push_over_the_limit_is_refused_at_once(gateway: Gateway) -> None:
    with Device(address(gateway), "a") as device:
        with pytest.raises(ValueError, match="the gateway takes 65536"):
            device.push("x" * 65_500)
        for wrong in (float("inf"), object(), msgspec.Raw(b"{"), msgspec.Raw(b"[" * 65 + b"]" * 65)):
            with pytest.raises((ValueError, TypeError)):
                device.push(wrong)
        device.push("x" * 65_000)
        assert device.flush(10)
    assert len(stored(gateway)) == 1


def test_a_smaller_limit_of_the_gateway_puts_aside_what_is_over_it() -> None:
    def script(connection: Connection, message: dict[str, Any]) -> bytes | None:
        if message["op"] == "hello":
            return welcome(max_message=100)
        return json.dumps({"op": "ack", "seq": message["seq"]}).encode() if message["op"] == "push" else None

    with fake(script) as gateway:
        device = Device(address(gateway), "a")
        device.push("x" * 200)
        device.push(1)
        with device:
            assert device.flush(10)
            assert [push.code for push in device.refused] == ["too_large"]
            with pytest.raises(ValueError, match="takes 100"):
                device.push("x" * 200)


def test_a_device_comes_back_when_the_gateway_says() -> None:
    hellos: list[float] = []

    def script(connection: Connection, message: dict[str, Any]) -> bytes | None:
        hellos.append(time.monotonic())
        if len(hellos) == 1:
            connection.close()
            return b'{"op":"bye","reason":"restart","retry_after":1.25}'
        return welcome()

    with fake(script) as gateway, Device(address(gateway), "a") as device:
        assert device.wait_connected(10)
        assert device.clock_offset is not None
        assert 90 < device.clock_offset < 110
    assert hellos[1] - hellos[0] >= 1.2


def test_a_command_is_run_once_and_its_answer_is_sent_again(folder: Path) -> None:
    answers: list[dict[str, Any]] = []
    ran: list[object] = []

    def script(connection: Connection, message: dict[str, Any]) -> bytes | None:
        if message["op"] == "hello":
            threading.Timer(0.05, connection.send, (b'{"op":"command","id":7,"data":{"do":1}}',)).start()
            return welcome()
        if message["op"] == "done":
            answers.append(message)
            connection.abort()
        return None

    def commands(data: object) -> object:
        ran.append(data)
        return ["did", data]

    with fake(script) as gateway:
        for count in (2, 3):
            with Device(address(gateway), "a", queue=folder / "q.db", commands=commands):
                wait_until(lambda count=count: len(answers) >= count)  # type: ignore[misc]
    assert ran == [{"do": 1}]
    assert all(answer["result"] == ["did", {"do": 1}] for answer in answers)


def test_a_command_that_raises_is_answered_with_the_error(gateway: Gateway) -> None:
    def commands(data: object) -> object:
        raise LookupError("no such lamp")

    with Device(address(gateway), "a", commands=commands) as device, Device(address(gateway), "b") as other:
        assert device.wait_connected(10)
        assert other.wait_connected(10)
        numbers = []
        for name in ("a", "b"):
            found = gateway.store.devices.find(name)
            assert found is not None
            numbers.append(gateway.store.commands.add(found, "1", time.time(), None))

        def errors() -> list[str | None]:
            return [getattr(gateway.store.commands.find(number), "error", None) for number in numbers]

        wait_until(lambda: all(errors()))
        assert errors() == ["no such lamp", "this device takes no commands"]


@pytest.fixture(params=["memory", "disk"])
def journal(request: pytest.FixtureRequest) -> Iterator[Journal]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    with closing(Disk(None, "a", 10)) as disk:
        yield DiskJournal(disk)


def test_a_command_that_was_begun_is_never_run_again(journal: Journal) -> None:
    assert journal.earlier(7) is None
    journal.begin(7)
    assert journal.earlier(7) == Done(7, error=INTERRUPTED)
    journal.finish(Done(7, result=msgspec.Raw(b"1")))
    done = journal.earlier(7)
    assert done is not None
    assert bytes(done.result) == b"1"
    for id in range(8, 8 + KEPT):
        journal.begin(id)
    assert journal.earlier(7) == Done(7, error=FORGOTTEN)
    assert journal.earlier(8 + KEPT) is None


def test_a_full_queue_and_a_queue_of_another_device_are_refused(folder: Path) -> None:
    device = Device("tcp://127.0.0.1:1", "a", queue=folder / "q.db", limit=2)
    device.push(1)
    device.push(2)
    with pytest.raises(QueueFull):
        device.push(3)
    device.close()
    device.close()
    with pytest.raises(ValueError, match="belongs to the device 'a'"):
        Device("tcp://127.0.0.1:1", "b", queue=folder / "q.db")
    with pytest.raises(ValueError, match="no blanks"):
        Device("tcp://127.0.0.1:1", " b")


def test_a_device_that_is_not_let_in_says_why_and_gets_in_when_it_may(
    make_gateway: MakeGateway, sqlite_url: str
) -> None:
    from mooring.gateway.tokens import hash_of

    gateway = make_gateway(sqlite_url, auth="token")
    with Device(address(gateway), "a", token="secret") as device:
        wait_until(lambda: "unauthorized" in device.last_error)
        gateway.store.devices.add("a", hash_of("secret"), time.time())
        assert device.wait_connected(20)


def test_a_disk_that_is_full_for_a_while_holds_up_a_device_no_longer_than_that(
    gateway: Gateway, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(address(gateway), "a", queue=folder / "q.db")
    unacknowledged, failures = device._disk.unacknowledged, []

    def full() -> list[int]:
        if len(failures) < 2:
            failures.append(1)
            raise sqlite3.OperationalError("database or disk is full")
        return unacknowledged()

    monkeypatch.setattr(device._disk, "unacknowledged", full)
    with device:
        wait_until(lambda: len(failures) == 2)
        device.push(1)
        assert device.flush(20)
    assert stored(gateway) == [(1, "1")]
