"""Files that devices pull: the newest version, in pieces that fit together, and nothing outside of the directory."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from devices import Connect, Device, MakeGateway

from mooring.gateway.files import Files, UnknownFile, Unsettled

OLD, NEW = os.urandom(50_000), os.urandom(60_000)


def write(path: Path, data: bytes) -> None:
    """Put a file in place that has not changed for a while."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("mooring.gateway.files.SETTLED_AFTER", 0.0)
    path = folder / "files"
    path.mkdir()
    return path


@pytest.fixture
def device(make_gateway: MakeGateway, connect: Connect, sqlite_url: str, directory: Path) -> Device:
    device = connect(make_gateway(sqlite_url, files=directory))
    device.log_in("a")
    return device


def pull(device: Device, name: str) -> bytes:
    version = device.ask(op="version", name=name)
    data = b""
    while len(data) < version["size"]:
        answer = device.ask(op="pull", name=name, version=version["version"], offset=len(data), length=20_000)
        assert (answer["op"], answer["offset"], answer["total"]) == ("block", len(data), version["size"])
        data += base64.b64decode(answer["data"])
    assert hashlib.sha256(data).hexdigest() == version["sha256"]
    return data


def test_a_file_is_pulled_in_pieces(device: Device, directory: Path) -> None:
    write(directory / "firmware", OLD)
    assert pull(device, "firmware") == OLD
    version = device.ask(op="version", name="firmware")
    digest = hashlib.sha256(OLD).hexdigest()
    assert version == {"op": "version", "name": "firmware", "version": digest[:12], "size": 50_000, "sha256": digest}
    whole = device.ask(op="pull", name="firmware", version=digest[:12], offset=0, length=1 << 20)
    assert len(base64.b64decode(whole["data"])) == 32 * 1024
    end = device.ask(op="pull", name="firmware", version=digest[:12], offset=50_000)
    assert (end["op"], end["data"]) == ("block", "")
    assert device.ask(op="pull", name="firmware", version=digest[:12], offset=50_001)["code"] == "bad_offset"


def test_the_highest_version_of_a_folder_is_offered_and_older_ones_are_there_still(
    device: Device, directory: Path
) -> None:
    write(directory / "firmware" / "1.9.0", OLD)
    old = device.ask(op="version", name="firmware")
    assert old["version"] == f"1.9.0+{hashlib.sha256(OLD).hexdigest()[:12]}"
    write(directory / "firmware" / "1.10.0", NEW)
    write(directory / "firmware" / ".1.11.part", b"")
    assert pull(device, "firmware") == NEW
    assert device.ask(op="version", name="firmware")["version"].startswith("1.10.0+")
    block = device.ask(op="pull", name="firmware", version=old["version"], offset=0, length=9)
    assert base64.b64decode(block["data"]) == OLD[:9]


@pytest.mark.parametrize("way", ["renamed over", "written over"])
def test_a_replaced_file_never_mixes_with_the_old_one(device: Device, directory: Path, way: str) -> None:
    path = directory / "firmware"
    write(path, OLD)
    version = device.ask(op="version", name="firmware")["version"]
    assert device.ask(op="pull", name="firmware", version=version, offset=0)["op"] == "block"
    if way == "renamed over":
        write(directory / "new", NEW)
        (directory / "new").rename(path)
    else:
        write(path, NEW)
    answer = device.ask(op="pull", name="firmware", version=version, offset=32_768)
    assert (answer["op"], answer["of"], answer["name"]) == ("error", "pull", "firmware")
    assert (answer["code"], answer["retry"]) == ("unknown_name", False)
    assert pull(device, "firmware") == NEW


def test_a_file_that_has_just_changed_is_not_offered_yet(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.gateway.files.SETTLED_AFTER", 60.0)
    write(directory / "firmware", OLD)
    files = Files(directory)
    with pytest.raises(Unsettled):
        files.info("firmware")
    with pytest.raises(Unsettled):
        files.read("firmware", "0" * 12, 0, 9)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "\u0000",
        "firmware\n",
        ".hidden",
        "x" * 10_000,
        "%2e%2e",
    ],
)
def test_no_name_leaves_the_directory(device: Device, directory: Path, name: str) -> None:
    write(directory / ".hidden", OLD)
    write(directory / "a" / "b", OLD)
    for message in (
        {"op": "version", "name": name},
        {"op": "pull", "name": name, "version": "1"},
        {"op": "pull", "name": "a", "version": f"{name}+1"},
    ):
        answer = device.ask(**message)
        assert (answer["op"], answer["code"]) == ("error", "unknown_name")
        assert len(answer["detail"]) < 300


def test_no_link_leaves_the_directory_and_a_fifo_holds_nobody_up(device: Device, directory: Path, folder: Path) -> None:
    write(folder / "secret", OLD)
    (directory / "link").symlink_to(folder / "secret")
    (directory / "folder").symlink_to(folder)
    (directory / "real").mkdir()
    (directory / "real" / "1").symlink_to(folder / "secret")
    os.mkfifo(directory / "fifo")
    for name in ("link", "folder", "real", "fifo", "nothing"):
        assert device.ask(op="version", name=name)["code"] == "unknown_name"


def test_a_gateway_without_files_says_so(make_gateway: MakeGateway, connect: Connect, sqlite_url: str) -> None:
    device = connect(make_gateway(sqlite_url))
    assert device.ask(op="version", name="firmware")["code"] == "hello_first"
    device.log_in("a")
    for message in ({"op": "version", "name": "firmware"}, {"op": "pull", "name": "firmware", "version": "1"}):
        assert device.ask(**message)["code"] == "unknown_name"


def test_files_are_a_directory(folder: Path) -> None:
    for path in (folder / "none", __file__):
        with pytest.raises(ValueError, match="must be a directory"):
            Files(path)


def test_hashes_are_remembered_by_content_and_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.gateway.files.MOST_HASHES", 3)
    files: Any = Files(directory)
    for number in range(9):
        write(directory / str(number), bytes([number]))
        files.info(str(number))
    assert len(files._hashes) == 3
    with pytest.raises(UnknownFile):
        files.info("9")
