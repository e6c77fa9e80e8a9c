"""Whatever a peer sends, it gets an error or is closed, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from devices import Connect, Device
from waiting import wait_until

from mooring import CloseReason
from mooring.gateway import Gateway

HELLO = b'{"op":"hello","device":"bad"}'


@pytest.fixture(autouse=True)
def neighbour(gateway: Gateway, connect: Connect) -> Iterator[Device]:
    """Another device, on which everything works before and after, on one and the same connection."""
    device = connect(gateway)
    device.log_in("neighbour")
    assert device.ask(op="push", seq=1, data="before") == {"op": "ack", "seq": 1}
    yield device
    assert device.ask(op="push", seq=2, data="after") == {"op": "ack", "seq": 2}
    assert gateway.database is not None
    with gateway.database.connection() as lease:
        count = lease.execute(
            "SELECT COUNT(*) FROM pushes JOIN devices ON devices.id = device_id WHERE name <> 'neighbour'"
        ).fetchone()[0]
    assert count == 0, "something of the bad device was stored"


def drained(device: Device) -> list[bytes]:
    """All answers up to the end, which is then ours, too; a reset ends them, too, if the peer sent what nobody read."""
    answers: list[bytes] = []
    with contextlib.suppress(ConnectionResetError):
        for answer in device:
            answers.append(answer)
    device.close()
    return answers


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        b"\x00" + bytes(range(256)) + b"\n",
        b"\n",
        b"{'op':'hello'}\n",
        b'{"op":"hello","device":"\xff"}\n',
        b"[" * 10_000 + b"]" * 10_000 + b"\n",
        b'{"op":"hello","device":"bad","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n",
    ],
    ids=["http", "binary garbage", "empty line", "single quotes", "utf-8", "deep", "deep in a field"],
)
def test_a_first_message_that_is_no_json_is_answered_and_closed(
    gateway: Gateway, connect: Connect, line: bytes
) -> None:
    device = connect(gateway)
    device.socket.sendall(line)
    answers = drained(device)
    assert len(answers) == 1
    assert b'"code":"bad_json"' in answers[0]
    wait_until(lambda: gateway.stats().closed.get(CloseReason.LOCAL) == 1)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "bad_json"),
        (b"GET / HTTP/1.1", "bad_json"),
        (b"\xff\x00\x01", "bad_json"),
        (b'{"op":"push","seq":1,"data":"\xff\xfe"}', "bad_json"),
        (b'{"op":"push","seq":1,"data":1e999}', "bad_json"),
        (b'{"op":"push","seq":1,"data":NaN}', "bad_json"),
        (b'{"op":"push","seq":1,"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "bad_json"),
        (b'{"op":"push","seq":1,"data":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}", "bad_json"),
        (b'{"op":"push","seq":1,"batch":[{"data":1},{"data":1e999}]}', "bad_json"),
        (b'{"op":"push","seq":1,"batch":[{"data":1},{"data":"\xff"}]}', "bad_json"),
        (b'{"op":"push","seq":1,"batch":[{"data":1},{"at":1}]}', "bad_message"),
        (b'{"op":"push","seq":1,"batch":[]}', "bad_message"),
        (b'{"op":"push","seq":123456789012345678901234567890,"data":1}', "bad_message"),
        (b'{"op":"push","seq":1,"at":1e308,"data":1}', "bad_message"),
        (b'{"op":"done","id":1,"result":NaN}', "bad_json"),
        (b'{"op":"done","id":12345,"result":1}', "unknown_name"),
        (b'{"op":"pull","name":"../../etc/passwd","version":"1","offset":0,"length":99}', "unknown_name"),
        (b'{"op":"pull","name":"a","version":"1","offset":-1}', "bad_message"),
        (b'{"op":"pull","name":"a","version":"1","length":0}', "bad_message"),
        (b'{"op":"version"}', "bad_message"),
        (b'{"op":"upload","name":"a","sha256":"xyz","total":1,"offset":0,"data":"YQ=="}', "bad_message"),
        (b"[]", "bad_message"),
        (b"null", "bad_message"),
        (b'{"op":"push","seq":"1","data":1}', "bad_message"),
        (b'{"op":"push","seq":1}', "bad_message"),
        (b'{"op":"push","seq":0,"data":1}', "bad_message"),
        (b'{"op":"push","seq":1,"at":"now","data":1}', "bad_message"),
        (b'{"op":"hello","device":"' + b"x" * 10_000 + b'"}', "bad_message"),
        (b'{"op":"hello","device":7}', "bad_message"),
        (b'{"op":"explode","seq":1}', "unknown_op"),
        (b'{"op":"command","id":1}', "unknown_op"),
    ],
)
def test_a_bad_message_is_answered_and_the_connection_stays(
    gateway: Gateway, connect: Connect, line: bytes, code: str
) -> None:
    device = connect(gateway)
    device.log_in("bad")
    device.send(line)
    answer = device.hear()
    assert (answer["op"], answer["code"], answer["retry"]) == ("error", code, False)
    assert len(answer["detail"]) < 300
    assert device.ask(op="ping") == {"op": "pong"}


def test_a_browser_that_is_made_to_post_lines_of_json_stores_nothing(gateway: Gateway, connect: Connect) -> None:
    # A page may have a browser send any text to any port; the head of the request comes first, and ends it.
    body = HELLO + b'\n{"op":"push","seq":1,"data":1}\n'
    request = b"POST / HTTP/1.1\r\nHost: localhost:7000\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
    for begin in (b"", b"\r\n", b"\n"):
        device = connect(gateway)
        device.socket.sendall(begin + request % (len(body), body))
        answers = drained(device)
        assert len(answers) == 1
        assert b'"code":"bad_json"' in answers[0]
    assert gateway.store.devices.find("bad") is None


def test_errors_keep_their_place_among_the_answers(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    device.send(HELLO, b"{", b'{"op":"ping"}', b'{"op":"nonsense"}', b'{"op":"ping"}')
    assert [device.hear()["op"] for _ in range(5)] == ["welcome", "error", "pong", "error", "pong"]


@pytest.mark.parametrize("size", [65_537, 1 << 20])
def test_a_line_over_the_limit_is_answered_and_closed(gateway: Gateway, connect: Connect, size: int) -> None:
    device = connect(gateway)
    device.log_in("bad")
    with contextlib.suppress(ConnectionError):
        device.socket.sendall(b'{"op":"ping","x":"' + b"x" * (size - 20) + b'"}\n')
    answers = drained(device)
    # A peer that goes on sending after the end is reset, and a reset may cost it the answer.
    assert len(answers) == 1 or (size > 100_000 and not answers)
    assert all(b'"code":"too_large"' in answer for answer in answers)
    wait_until(lambda: gateway.stats().closed.get(CloseReason.FRAME) == 1)


def test_a_line_at_the_limit_is_taken(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    line = b'{"op":"ping","x":"%b"}'
    device.send(line % (b"x" * (65_536 - len(line) + 2)))
    assert device.hear() == {"op": "pong"}


def test_what_came_before_a_line_that_is_too_long_is_served(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    with contextlib.suppress(ConnectionError):
        device.socket.sendall(HELLO + b'\n{"op":"ping"}\n' + b"x" * 70_000)
    answers = drained(device)
    assert [b"welcome" in answers[0], *answers[1:2]] == [True, b'{"op":"pong"}']
    assert b"too_large" in answers[2]


def test_64_mib_without_a_newline_cost_no_memory(gateway: Gateway, connect: Connect) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    device = connect(gateway)
    block = b"x" * (1 << 20)
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            device.socket.sendall(block)
    drained(device)
    wait_until(lambda: gateway.stats().closed.get(CloseReason.FRAME) == 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB


def test_binary_garbage_without_an_end_is_closed(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    garbage = os.urandom(100_000).replace(b"\n", b"").replace(b"{", b"")
    with contextlib.suppress(ConnectionError):
        device.socket.sendall(garbage)
    for answer in drained(device):
        assert b'"code":"too_large"' in answer
    wait_until(lambda: gateway.stats().closed.get(CloseReason.FRAME) == 1)


def test_a_port_scan_is_no_matter(gateway: Gateway) -> None:
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", gateway.port)):
            pass
    wait_until(lambda: len(gateway.connections) == 1)


def test_a_flood_of_bad_lines_is_answered_and_the_log_stays_short(
    gateway: Gateway, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    device = connect(gateway)
    device.log_in("bad")
    for _ in range(20):
        device.send(*[b"{"] * 50)
        assert all(device.hear()["code"] == "bad_json" for _ in range(50))
    assert gateway.counters["bad_json"] == 1000
    assert sum("bad_json" in record.getMessage() for record in caplog.records) < 50
