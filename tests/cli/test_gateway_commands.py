"""``mooring devices``, ``send``, ``tail`` and ``database prune``, as their users type them."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from commands import run_command
from processes import PythonProcess

from mooring.cli.options import duration
from mooring.gateway import Device, Gateway, server
from mooring.gateway.messages import Push, Upload
from mooring.gateway.tables.pushes import rows_of


@pytest.fixture
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/x.db"


@pytest.fixture
def gateway(url: str) -> Iterator[Gateway]:
    with server(database=url, bind="tcp://127.0.0.1:0", auth="none") as gateway:
        yield gateway


def run(url: str, *arguments: str, returncode: int = 0) -> str:
    return run_command(*arguments, "--database", url, returncode=returncode)


def test_a_token_is_printed_once_lets_its_device_in_and_is_taken_away(url: str) -> None:
    token = run(url, "devices", "add", "meter-7").strip()
    assert len(token) == 43
    with server(database=url, bind="tcp://127.0.0.1:0", auth="token") as gateway:
        with Device(f"tcp://127.0.0.1:{gateway.port}", "meter-7", token=token) as device:
            assert device.wait_connected(10)
        assert "mooring devices remove meter-7" in run(url, "devices", "add", "meter-7", returncode=1)
        listed = run(url, "devices", "list").splitlines()
        assert listed[0].split() == ["NAME", "TOKEN", "CREATED", "CONNECTED", "LAST", "SEEN"]
        assert listed[1].startswith("meter-7  yes    20")
        row = json.loads(run(url, "devices", "list", "--json"))
        assert (row["name"], row["has_token"]) == ("meter-7", True)
        run(url, "devices", "remove", "meter-7")
        assert "meter-7" in run(url, "devices", "remove", "meter-7", returncode=1)
        with Device(f"tcp://127.0.0.1:{gateway.port}", "meter-7", token=token) as device:
            assert not device.wait_connected(0.5)


def test_several_devices_are_added_at_once_and_a_name_that_is_none_is_refused(url: str) -> None:
    lines = run(url, "devices", "add", "a", "b").splitlines()
    assert [line.split()[0] for line in lines] == ["a", "b"]
    assert json.loads(run(url, "devices", "add", "c", "--json"))["device"] == "c"
    assert "no blanks" in run(url, "devices", "add", " d", returncode=2)


def test_a_command_is_sent_and_its_answer_printed(url: str, gateway: Gateway) -> None:
    def commands(data: object) -> object:
        if data == "fail":
            raise LookupError("no such lamp")
        return {"did": data}

    with Device(f"tcp://127.0.0.1:{gateway.port}", "a", commands=commands) as device:
        assert device.wait_connected(10)
        assert run(url, "send", "a", '{"led":1}', "--wait", "10s") == '{"did":{"led":1}}\n'
        answer = json.loads(run(url, "send", "a", "[1]", "--wait", "10s", "--expires", "1h", "--json"))
        assert (answer["device"], answer["result"], answer["error"]) == ("a", {"did": [1]}, None)
        assert "mooring: a: no such lamp" in run(url, "send", "a", '"fail"', "--wait", "10s", returncode=1)
    assert run(url, "send", "a", "1").startswith("command ")
    assert "has not answered" in run(url, "send", "a", "1", "--wait", "100ms", returncode=1)


@pytest.mark.parametrize(
    ("arguments", "returncode", "part"),
    [
        (("nobody", "1"), 1, "there is no device 'nobody'"),
        (("a", "{"), 2, "not JSON"),
        (("a", "NaN"), 2, "not JSON"),
        (("a", "1e999"), 2, "larger than any double"),
        (("a", '"' + "x" * 60_001 + '"'), 2, "at most 60000 bytes"),
        (("a", "1", "--expires", "soon"), 2, "such as"),
    ],
)
def test_a_command_that_cannot_be_sent_says_why(
    url: str, arguments: tuple[str, ...], returncode: int, part: str
) -> None:
    assert part in run(url, "send", *arguments, returncode=returncode)


def test_tail_shows_what_was_there_and_follows_what_comes(url: str, gateway: Gateway) -> None:
    address = f"tcp://127.0.0.1:{gateway.port}"
    with Device(address, "a") as one, Device(address, "b") as other:
        for n in range(12):
            one.push({"n": n})
        assert one.flush(10)
        assert len(run(url, "tail", "--no-follow").splitlines()) == 10
        assert json.loads(run(url, "tail", "a", "-n", "1", "--no-follow", "--json"))["data"] == {"n": 11}
        with PythonProcess("-m", "mooring", "tail", "-n", "1", "--database", url) as process:
            assert process.wait_for_line('{"n":11}').split()[2:] == ["a", "12", '{"n":11}']
            other.push({"n": "new"})
            assert process.wait_for_line('{"n":"new"}').split()[2:4] == ["b", "1"]
            assert process.output.count("\n") == 2
            process.signal(signal.SIGINT)
            assert process.wait() == 0
    assert "no device 'nobody'" in run(url, "tail", "nobody", returncode=1)


def test_prune_deletes_what_is_old_and_keeps_the_last_push_of_each_device(url: str, gateway: Gateway) -> None:
    now = time.time()
    for name in ("a", "b"):
        device = gateway.store.devices.log_in(name, now).device
        for seq in range(1, 1203):
            at = now - 40 * 86400 if seq != 600 else now
            push = Push(seq, msgspec.Raw(b"1"), at)
            if seq == 1:
                batch: list[object] = []
            batch += rows_of(device, push, now)
        with gateway.store.database.transaction() as lease:
            lease.executemany(
                "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)", batch
            )
    pruned = json.loads(run(url, "database", "prune", "--older", "30d", "--json"))
    assert pruned == {"pushes": 2400, "commands": 0, "uploads": 0}
    assert [row.seq for row in gateway.store.pushes.of_device("a", 1, 9999)] == [600, 1202]
    assert gateway.store.devices.log_in("a", now).last_seq == 1202
    assert run(url, "database", "prune", "--older", "30d") == "deleted 0 pushes, 0 commands, 0 uploads\n"
    assert "such as 30d" in run(url, "database", "prune", "--older", "30", returncode=2).replace(
        "or 30d", "such as 30d"
    )


def test_durations_have_a_unit() -> None:
    assert [duration(text) for text in ("500ms", "10s", "1.5m", "1h", "30d")] == [0.5, 10, 90, 3600, 2_592_000]
    for wrong in ("10", "s", "-1s", "1w", "1e9s"):
        with pytest.raises(click.BadParameter):
            duration(wrong)


def test_uploads_are_listed_and_saved_if_their_sha256_is_right(url: str, gateway: Gateway, folder: Path) -> None:
    device = gateway.store.devices.log_in("meter-7", time.time()).device
    data = bytes(range(256)) * 10
    sha256 = hashlib.sha256(data).hexdigest()
    for offset in (0, 2000):
        block = Upload("raw", sha256, len(data), offset, data[offset : offset + 2000])
        gateway.store.uploads.add(device.id, block, time.time())
    gateway.store.uploads.add(device.id, Upload("half", sha256, 9000, 0, b"x" * 2000), time.time())
    listed = run(url, "uploads", "list").splitlines()
    assert listed[0].split() == ["DEVICE", "NAME", "BYTES", "RECEIVED", "BEGAN", "STORED", "SHA256"]
    assert [line.split()[:4] for line in listed[1:]] == [
        ["meter-7", "raw", "2560", "2560"],
        ["meter-7", "half", "9000", "2000"],
    ]
    rows = [json.loads(line) for line in run(url, "uploads", "list", "meter-7", "--json").splitlines()]
    assert [(row["name"], row["sha256"], row["stored_at"] is None) for row in rows] == [
        ("raw", sha256, False),
        ("half", sha256, True),
    ]
    path = folder / "saved"
    assert sha256 in run(url, "uploads", "save", "meter-7", "raw", "--output", str(path))
    assert path.read_bytes() == data
    assert "--force" in run(url, "uploads", "save", "meter-7", "raw", "--output", str(path), returncode=1)
    saved = run(url, "uploads", "save", "meter-7", "raw", "-o", str(path), "--force", "--json")
    assert json.loads(saved)["file"] == str(path)
    assert "no upload" in run(url, "uploads", "save", "meter-7", "half", "-o", str(folder / "h"), returncode=1)
    assert "there is no device" in run(url, "uploads", "list", "meter-8", returncode=1)
    assert "--output" in run(url, "uploads", "save", "meter-7", "../raw", returncode=2)


def test_an_upload_that_was_altered_in_the_database_is_not_saved(url: str, gateway: Gateway, folder: Path) -> None:
    device = gateway.store.devices.log_in("a", time.time()).device
    gateway.store.uploads.add(device.id, Upload("x", hashlib.sha256(b"1").hexdigest(), 1, 0, b"1"), time.time())
    with gateway.store.database.lease() as lease:
        lease.execute("UPDATE upload_blocks SET data = %s", (b"2",))
    assert "other bytes" in run(url, "uploads", "save", "a", "x", "-o", str(folder / "x"), returncode=1)
    assert not (folder / "x").exists()
    assert not list(folder.glob(".x*"))


def test_what_a_device_says_cannot_play_with_the_terminal(url: str, gateway: Gateway) -> None:
    evil = "\u009b2J\u202egood\u007f"
    store = gateway.store
    device = store.devices.log_in("a\u202eb", time.time()).device
    push = Push(1, msgspec.Raw(json.dumps(evil, ensure_ascii=False).encode()))
    store.pushes.add(rows_of(device, push, time.time()))
    outputs = [run(url, *words) for words in (("devices", "list"), ("tail", "--no-follow"))]
    outputs.append(run(url, "tail", "--no-follow", "--json"))
    assert json.loads(outputs[2])["data"] == evil
    for output in outputs:
        assert all(character.isprintable() for character in output.replace("\n", "")), repr(output)


def test_the_answer_to_a_command_cannot_play_with_the_terminal(url: str, gateway: Gateway) -> None:
    def commands(data: object) -> object:
        if data == "fail":
            raise LookupError("\x1b]0;title\x07")
        return "\u009b2J"

    with Device(f"tcp://127.0.0.1:{gateway.port}", "a", commands=commands) as device:
        assert device.wait_connected(10)
        assert run(url, "send", "a", "1", "--wait", "10s") == '"\\u009b2J"\n'
        failed = run(url, "send", "a", '"fail"', "--wait", "10s", returncode=1)
        assert "mooring: a: \\u001b]0;title\\u0007" in failed
