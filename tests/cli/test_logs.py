"""Log lines: text for people, JSON for machines, the journal's priorities; repeats, hostile names, no payload."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devices import Device
from processes import PythonProcess

from mooring import Connection, Server
from mooring.cli import logs
from mooring.cli.repeats import WINDOW, RepeatFilter

SERVE = ("-m", "mooring", "serve", "--bind", "tcp://127.0.0.1:0")

APP = """
import logging
from mooring import Server

def handle(connection, message):
    connection.identify("100%s")
    if message == b"raise":
        raise LookupError("my sensors")
    connection.log.warning("bad value %d", 7, extra={"meter": 3})
    logging.getLogger("app").info("plain")
    return message

server = Server(handle, bind="tcp://127.0.0.1:0", name="app")
"""


def address_of(process: PythonProcess) -> str:
    found = re.search(r"tcp://127\.0\.0\.1:\d+", process.wait_for_line("listening"))
    assert found
    return found[0]


def test_json_is_an_object_a_line_and_nothing_else(folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    with PythonProcess(*SERVE[:-2], "app", "--log-format", "json", cwd=folder) as process:
        with Device(address_of(process)) as device:
            device.send(b"value")
            assert device.recv() == b"value"
        with Device(address_of(process)) as device:
            device.send(b"raise")
            assert list(device) == []
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    lines = [json.loads(line) for line in process.output.splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
        assert {"level", "event", "logger"} <= set(line)
    started = lines[0]
    assert (started["event"], started["listening"]) == ("started", [address_of(process)])
    (bad,) = [line for line in lines if line["event"] == "bad value 7"]
    assert (bad["level"], bad["logger"], bad["name"], bad["meter"]) == ("warning", "mooring", "100%s", 3)
    assert bad["peer"].startswith("tcp://127.0.0.1:")
    (plain,) = [line for line in lines if line["event"] == "plain"]
    assert (plain["logger"], plain.get("connection")) == ("app", None)
    (raised,) = [line for line in lines if line["level"] == "error"]
    assert raised["connection"] == bad["connection"] + 1
    assert raised["err"].endswith("LookupError: my sensors")
    assert {line["event"] for line in lines} >= {"stopped"}


def test_text_names_the_connection_before_its_lines(folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    with PythonProcess(*SERVE[:-2], "app", cwd=folder) as process, Device(address_of(process)) as device:
        device.send(b"value")
        device.recv()
        line = process.wait_for_line("bad value")
    assert re.search(r"Z WARNING \[\d+ tcp://127\.0\.0\.1:\d+ '100%s'\] bad value 7$", line)


def test_no_payload_is_in_the_log_even_at_level_debug(folder: Path) -> None:
    with PythonProcess(*SERVE, "--log-level", "debug", cwd=folder) as process:
        address = address_of(process)
        for payload in (b"no json: SECRET", b'{"op":"SECRET"}', b'{"op":"push","seq":"SECRET"}', b"SECRET" * 20_000):
            with Device(address) as device:
                device.socket.sendall(payload + b"\n")
                for _ in device:
                    break
        with Device(address) as device:
            device.log_in("a")
            device.send(b'{"op":"push","seq":1,"data":"SECRET"}')
            device.recv()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert "SECRET" not in process.output


def test_payload_is_logged_if_that_is_asked_for(folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    arguments = (*SERVE[:-2], "app", "--log-format", "json", "--set", "log.payload=true")
    with PythonProcess(*arguments, cwd=folder) as process:
        with Device(address_of(process)) as device:
            device.send(b"value\x01")
            device.recv()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    lines = [json.loads(line) for line in process.output.splitlines()]
    said = [(line["event"], line["hex"], line["size"]) for line in lines if line["logger"] == "mooring.payload"]
    expected = (r"value\x01\n", "76 61 6c 75 65 01 0a", 7)
    assert said == [(f"in {expected[0]}", *expected[1:]), (f"out {expected[0]}", *expected[1:])]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, without what a test has added to it."""
    logger = logging.getLogger()
    before, level = list(logger.handlers), logger.level
    yield logger
    for handler in set(logger.handlers) - set(before):
        handler.close()
    logger.handlers[:] = before
    logger.setLevel(level)
    logging.captureWarnings(False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def become_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Have stderr be a terminal, inside the test: pytest has its own before."""
    for name in ("NO_COLOR", "FORCE_COLOR", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


@pytest.mark.parametrize(
    ("variables", "log_format", "coloured"),
    [({}, "auto", True), ({"NO_COLOR": "1"}, "auto", False), ({"TERM": "dumb"}, "auto", False), ({}, "text", False)],
)
def test_colours_are_for_terminals_that_want_them(
    root: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    log_format: str,
    coloured: bool,
) -> None:
    terminal = become_terminal(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    logs.set_up_logging("info", log_format)
    root.warning("look")
    root.handlers[-1].flush()
    assert ("\x1b[" in terminal.getvalue()) is coloured


def test_what_a_device_says_can_neither_forge_a_line_nor_steer_the_terminal(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = become_terminal(monkeypatch)
    logs.set_up_logging("info", "text")
    root.info("device %s", "a\n2026-01-01T00:00:00.000Z ERROR   all is lost\x1b[2J\r\x9b31m")
    root.handlers[-1].flush()
    first, second = terminal.getvalue().splitlines()
    assert first.endswith("device a")
    assert second.startswith("    2026")
    assert second.endswith(r"all is lost\x1b[2J\x0d\x9b31m")


def test_under_systemd_a_line_begins_with_its_priority(folder: Path) -> None:
    code = (
        "import os, logging\n"
        "status = os.fstat(2)\n"
        "os.environ['JOURNAL_STREAM'] = f'{status.st_dev}:{status.st_ino}'\n"
        "from mooring.cli.logs import set_up_logging\n"
        "set_up_logging('debug')\n"
        "logging.debug('d'); logging.info('i'); logging.warning('two\\nlines'); logging.error('e')\n"
    )
    with PythonProcess("-c", code, cwd=folder) as process:
        assert process.wait() == 0
        assert process.output.splitlines() == ["<7>d", "<6>i", "<4>two", "<4>    lines", "<3>e"]


def record(text: str, *args: Any, prefix: str = "") -> logging.LogRecord:
    made = logging.LogRecord("app", logging.WARNING, "app.py", 1, prefix + text, args, None)
    made.prefix = prefix
    return made


def test_repeats_are_counted_and_the_next_minute_tells_how_many() -> None:
    now = 0.0
    repeats = RepeatFilter(3, clock=lambda: now)
    passed = [one for one in (record("no %s", "luck") for _ in range(10)) if repeats.filter(one)]
    assert [one.getMessage() for one in passed] == [
        "no luck",
        "no luck",
        "no luck (further ones are left out for up to 60 s)",
    ]
    assert repeats.filter(record("something else"))
    now = WINDOW
    (again,) = [one for one in (record("no luck"),) if repeats.filter(one)]
    assert again.getMessage() == "no luck (7 more of these were left out before)"


def test_the_same_trouble_of_many_connections_is_one_line() -> None:
    repeats = RepeatFilter(2)
    assert sum(repeats.filter(record("bad", prefix=f"[{number} tcp://a:1] ")) for number in range(100)) == 2


def test_a_line_that_cannot_be_formatted_does_not_harm_its_caller() -> None:
    assert RepeatFilter(1).filter(record("%d", "no number"))


def test_what_is_remembered_of_lines_is_bounded() -> None:
    repeats = RepeatFilter(1)
    assert all(repeats.filter(record(f"line {number}")) for number in range(5000))
    assert len(repeats._seen) <= 1000


def test_the_line_of_a_connection_names_the_place_that_logged_it(caplog: pytest.LogCaptureFixture) -> None:
    def handle(connection: Connection, message: bytes) -> bytes:
        connection.log.error("here")
        return message

    with Server(handle, bind="tcp://127.0.0.1:0") as server, Device(server.addresses[0]) as device:
        device.send(b"x")
        device.recv()
    (line,) = [one for one in caplog.records if one.getMessage().endswith("here")]
    assert (line.funcName, line.filename) == ("handle", "test_logs.py")
