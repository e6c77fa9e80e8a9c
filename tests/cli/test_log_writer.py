"""Log lines are written in a thread of their own."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from devices import Device
from processes import run_python
from waiting import wait_until

from mooring.cli.log_writer import BackgroundHandler

APP = """
import logging
from mooring import Server

def handle(connection, message):
    logging.getLogger("app").info("line %s %s", message.decode(), "x" * 4000)
    return message

server = Server(handle, bind="unix:s", blocking=False)
"""


def test_a_reader_of_the_log_that_stops_reading_stops_no_device(folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    command = [sys.executable, "-m", "mooring", "serve", "app", "--admin", "off"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        while b"Ctrl-C" not in process.stderr.readline():
            pass
        with Device(f"unix:{folder}/s") as device:
            for number in range(100):  # 400 KB: a pipe holds 64
                device.send(b"%d" % number)
                assert device.recv() == b"%d" % number
        process.send_signal(signal.SIGTERM)
        lines = [line for line in process.stderr.read().splitlines() if b" line " in line]
        assert process.wait(10) == 0
        assert [line.split(b" line ")[1].split()[0] for line in lines] == [b"%d" % number for number in range(100)]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("streams", ["1>/dev/full 2>/dev/full", "0<&- 1>&- 2>&-"], ids=["full disk", "closed"])
def test_a_server_that_can_tell_nobody_serves_nevertheless(folder: Path, streams: str) -> None:
    (folder / "app.py").write_text(APP)
    command = f"exec {sys.executable} -m mooring serve app --admin off {streams}"
    process = subprocess.Popen(["sh", "-c", command], cwd=folder)
    try:
        wait_until(lambda: is_listening(folder / "s"), timeout=30)
        with Device(f"unix:{folder}/s") as device:
            device.send(b"hello")
            assert device.recv() == b"hello"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@pytest.fixture
def pipe() -> Iterator[tuple[IO[str], IO[str]]]:
    reading, writing = os.pipe()
    with open(reading) as reader, open(writing, "w") as writer:
        yield reader, writer


def test_lines_that_nobody_takes_are_counted(pipe: tuple[IO[str], IO[str]]) -> None:
    reader, writer = pipe
    handler = BackgroundHandler(writer, limit=10)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(100):
        handler.emit(logging.makeLogRecord({"msg": f"{number} " + "x" * 5000}))
    written = lost = 0
    while written + lost < 100:
        line = reader.readline()
        told = re.fullmatch(r"(\d+) log lines were lost: whoever reads this log did not keep up\n", line)
        lost += int(told[1]) if told else 0
        written += not told
    handler.close()
    assert written + lost == 100
    assert lost >= 50, "a pipe holds 64 KB, and ten lines and another ten may wait"


def test_a_line_that_cannot_be_formatted_is_told_and_the_next_one_is_written(
    pipe: tuple[IO[str], IO[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = pipe
    handler = BackgroundHandler(writer)
    handler.emit(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    handler.emit(logging.makeLogRecord({"msg": "fine"}))
    assert reader.readline() == "fine\n"
    assert "Logging error" in capsys.readouterr().err
    handler.close()


def test_the_end_of_the_process_and_a_forked_child_write_their_lines() -> None:
    code = (
        "import logging, os\n"
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        "from mooring.cli.logs import set_up_logging\n"
        "set_up_logging('info', 'text')\n"
        "logging.info('parent')\n"
        "pid = os.fork()\n"
        "logging.info('child' if not pid else 'parent again')\n"
        "if pid: os.waitpid(pid, 0)\n"
        "logging.info('last of %s', 'child' if not pid else 'parent')\n"
    )
    output = run_python(code)
    for text in ("parent", "child", "parent again", "last of child", "last of parent"):
        assert output.count(f"INFO    {text}\n") == 1
