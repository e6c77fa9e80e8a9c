"""The GT06 example: its framing against published frames, its server with a real tracker's side of the talk."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from types import ModuleType

import pytest

from mooring import Client, CloseReason, ConnectionClosed, FrameError, Server
from mooring.testing import check_framing

IMEI = "123456789012345"
LOGIN = bytes.fromhex("01 01 23 45 67 89 01 23 45 00 01")
POSITION = bytes.fromhex("12 0B 08 1D 11 2E 10 CF 02 7A C7 EB 0C 46 58 49 00 14 8F 01 CC 00 28 7D 00 1F B8 00 03")
HEARTBEAT = bytes.fromhex("13 44 06 03 0B 02 00 1F")
# Information transmission (94) of the SIM card's numbers: the frame with the wide length, made after its field table.
INFORMATION = bytes.fromhex("94 0A 01 23 45 67 89 01 23 45 04 60 01 23 45 67 89 01 89 86 01 23 45 67 89 01 23 45 00 04")

PUBLISHED = {
    "78 78 0D 01 01 23 45 67 89 01 23 45 00 01 8C DD 0D 0A": LOGIN,
    "78 78 05 01 00 01 D9 DC 0D 0A": b"\x01\x00\x01",
    f"78 78 1F {POSITION.hex(' ')} 80 81 0D 0A": POSITION,
    "78 78 0A 13 44 06 03 0B 02 00 1F B4 E2 0D 0A": HEARTBEAT,
}


@pytest.fixture(scope="module")
def gt06() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "examples" / "gt06.py"
    spec = importlib.util.spec_from_file_location("gt06_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def server(gt06: ModuleType) -> Iterator[Server]:
    with Server(gt06.Tracker, framing=gt06.Gt06(), bind="tcp://127.0.0.1:0") as server:
        yield server


@pytest.fixture
def tracker(gt06: ModuleType, server: Server) -> Iterator[Client]:
    with Client(f"tcp://127.0.0.1:{server.port}", framing=gt06.Gt06()) as client:
        yield client


@pytest.mark.parametrize(("frame", "message"), PUBLISHED.items())
def test_a_published_frame_is_split_and_joined_as_published(gt06: ModuleType, frame: str, message: bytes) -> None:
    assert gt06.Gt06().split(bytes.fromhex(frame))[0] == [message]
    assert gt06.Gt06().join(message) == bytes.fromhex(frame)


def test_the_framing_keeps_its_promises(gt06: ModuleType) -> None:
    framing = gt06.Gt06()
    messages = [LOGIN, b"\x94" + bytes(range(255)) * 2, INFORMATION, HEARTBEAT]
    stream = b"".join(map(framing.join, messages))
    assert stream[18:20] == b"\x79\x79"
    check_framing(framing, stream + stream[:10], messages)
    check_framing(framing, stream[:-3] + b"\x00\x0d\x0a", messages[:-1])


def test_a_short_message_may_come_with_the_wide_length(gt06: ModuleType) -> None:
    body = len(INFORMATION + b"..").to_bytes(2, "big") + INFORMATION
    frame = b"\x79\x79" + body + gt06.CRC16_X25(body).to_bytes(2, "big") + b"\r\n"
    check_framing(gt06.Gt06(), frame * 2 + frame[:-1], [INFORMATION] * 2)


@pytest.mark.parametrize("noise", ["47 45 54 20", "78 79 05 01", "78 78 04 01", "78 78 05 01 00 01 D9 DD 0D 0A"])
def test_what_is_no_frame_is_refused(gt06: ModuleType, noise: str) -> None:
    with pytest.raises(FrameError) as caught:
        gt06.Gt06().split(gt06.Gt06().join(LOGIN) + bytes.fromhex(noise))
    assert caught.value.messages == (LOGIN,)


@pytest.mark.parametrize("message", [b"", b"\x01\x00", bytes(70_000)])
def test_a_message_without_serial_number_or_too_long_is_refused(gt06: ModuleType, message: bytes) -> None:
    with pytest.raises(FrameError):
        gt06.Gt06().join(message)


def test_a_published_position_is_where_the_maker_was(gt06: ModuleType) -> None:
    position = gt06.Position.from_content(POSITION[1:-2])
    assert position.at == datetime(2011, 8, 29, 17, 46, 16, tzinfo=UTC)
    assert (round(position.latitude, 4), round(position.longitude, 4)) == (23.1117, 114.4093)
    assert (position.speed, position.course, position.located) == (0, 143, True)


def test_south_and_west_are_negative(gt06: ModuleType) -> None:
    content = bytearray(POSITION[1:-2])
    content[16:18] = (0x0800).to_bytes(2, "big")
    position = gt06.Position.from_content(bytes(content))
    assert position.latitude < 0
    assert position.longitude < 0
    assert not position.located


def test_login_and_heartbeat_are_answered_and_positions_kept(server: Server, tracker: Client) -> None:
    tracker.send(LOGIN, POSITION, HEARTBEAT)
    assert [tracker.recv(), tracker.recv()] == [b"\x01\x00\x01", b"\x13\x00\x1f"]
    assert round(server.connections[IMEI].session.position.latitude, 4) == 23.1117


@pytest.mark.parametrize(
    "messages",
    [
        [POSITION],
        [b"\x01\x00\x01"],
        [LOGIN.replace(b"\x67", b"\x6a")],
        [LOGIN, b"\x12\x00\x01"],
        [LOGIN, b"\x12" + bytes(30)],
    ],
    ids=["position before login", "login without IMEI", "IMEI with a letter", "short position", "no date"],
)
def test_a_tracker_that_talks_nonsense_is_closed(tracker: Client, messages: list[bytes]) -> None:
    tracker.send(*messages)
    assert len(list(tracker)) == len(messages) - 1


def test_a_command_from_another_thread_gets_its_answer(gt06: ModuleType, server: Server, tracker: Client) -> None:
    tracker.send(LOGIN)
    tracker.recv()
    with ThreadPoolExecutor() as others:
        answer = others.submit(gt06.command, server, IMEI, "WHERE#")
        command = tracker.recv()
        assert (command[0], gt06.text_of(command)) == (0x80, "WHERE#")
        tracker.send(HEARTBEAT, gt06.text_message(0x15, b"late", "no"), gt06.text_message(0x15, command[2:6], "here"))
        assert answer.result(10) == "here"


def test_a_command_to_a_tracker_that_leaves_fails_at_once(gt06: ModuleType, server: Server, tracker: Client) -> None:
    tracker.send(LOGIN)
    tracker.recv()
    with ThreadPoolExecutor() as others:
        answer = others.submit(gt06.command, server, IMEI, "WHERE#")
        tracker.recv()
        tracker.close()
        with pytest.raises(ConnectionClosed, match=f"gone: {CloseReason.PEER}"):
            answer.result(10)


def test_a_command_to_a_tracker_that_is_not_there_says_so(gt06: ModuleType, server: Server) -> None:
    with pytest.raises(KeyError):
        gt06.command(server, IMEI, "WHERE#")


def test_the_client_plays_a_tracker(gt06: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in = Event()

    class Watched(gt06.Tracker):
        def login(self, content: bytes) -> None:
            super().login(content)
            logged_in.set()

    with Server(Watched, framing=gt06.Gt06(), bind="tcp://127.0.0.1:0") as server, ThreadPoolExecutor() as others:
        playing = others.submit(gt06.play, f"tcp://127.0.0.1:{server.port}", {"WHERE#": "in the harbour"})
        assert logged_in.wait(10)
        assert gt06.command(server, IMEI, "WHERE#") == "in the harbour"
        playing.result(10)
    assert "got  01 00 01\n" in capsys.readouterr().out


def test_the_server_of_the_example_is_there_for_mooring_serve(gt06: ModuleType) -> None:
    assert isinstance(gt06.server, Server)
