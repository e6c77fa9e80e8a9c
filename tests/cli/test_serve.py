"""``mooring serve`` as a process of its own: banner, options, exit codes, its end."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest
from commands import run_command
from devices import Device
from processes import PythonProcess

SERVE = ("-m", "mooring", "serve")
FREE = ("--bind", "tcp://127.0.0.1:0")


ECHO = """
from mooring import Heartbeat, Server

def echo(connection, message):
    return message

server = Server(echo, bind="tcp://127.0.0.1:0", name="echo", heartbeat=Heartbeat(timeout=9, interval=3, message=b"?"))
other = Server(echo, bind="tcp://127.0.0.1:0", name="other")

def make():
    return Server(echo, bind="tcp://127.0.0.1:0", name="made", model="epoll")
"""


def address_of(process: PythonProcess) -> str:
    """Where it listens, as the banner says."""
    return process.wait_for_line("listening").split()[1]


def test_the_banner_is_in_the_form_that_is_promised(folder: Path) -> None:
    with PythonProcess(*SERVE, *FREE, cwd=folder) as process:
        process.wait_for_line("Ctrl-C")
        port = address_of(process).rpartition(":")[2]
        lines = [line for line in process.output.splitlines() if not line.startswith("20")]  # log lines begin with it
        assert re.fullmatch(
            r"mooring 0\.1\.0, Python 3\.\d+\.\d+, model hybrid, 2-64 threads, gateway \(JSON lines\)", lines[0]
        )
        assert lines[1].split(maxsplit=2) == [
            "listening",
            f"tcp://127.0.0.1:{port}",
            f"this machine only; --bind tcp://0.0.0.0:{port} lets the network in",
        ]
        assert re.fullmatch(r"storing    sqlite:///mooring\.db +table pushes; kept when the server ends", lines[2])
        assert lines[3] == "devices    any name may log in (--auth none)"
        assert lines[4].startswith("""try        printf '{"op":"hello","device":"a"}""")
        assert re.fullmatch(r"dashboard  http://127\.0\.0\.1:\d+/#t=[\w-]+", lines[5])
        assert lines[6:] == ["stop       Ctrl-C drains, a second one stops at once"]
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert (folder / "mooring.db").exists()


def test_hello_and_push_are_answered_after_a_half_close_on_both_ip_versions_and_stored(folder: Path) -> None:
    with PythonProcess(*SERVE, "--bind", "tcp://[::]:0", "--auth", "none", cwd=folder) as process:
        port = int(address_of(process).rpartition(":")[2])
        for number, host in enumerate(("127.0.0.1", "::1")):
            with socket.create_connection((host, port), 10) as sock:
                sock.sendall(b'{"op":"hello","device":"%d"}\n{"op":"push","seq":1,"data":{"v":1}}\n' % number)
                sock.shutdown(socket.SHUT_WR)
                with sock.makefile("rb") as answers:
                    welcome, ack = map(json.loads, answers)
            assert (welcome["op"], ack) == ("welcome", {"op": "ack", "seq": 1})
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    database = sqlite3.connect(folder / "mooring.db")
    assert database.execute("SELECT seq, data FROM pushes").fetchall() == [(1, '{"v":1}')] * 2
    database.close()


def test_the_printed_command_works_as_it_is(folder: Path) -> None:
    with PythonProcess(*SERVE, *FREE, cwd=folder) as process:
        command = process.wait_for_line("try ").removeprefix("try").strip()
        printf, _, netcat = command.partition(" | ")
        sent = subprocess.run(["sh", "-c", printf], check=True, capture_output=True, text=True).stdout
        assert shutil.which("nc"), "nc is missing: script/test installs it (Debian: apt-get install netcat-openbsd)"
        answers = subprocess.run(netcat.split(), input=sent, capture_output=True, text=True, timeout=10).stdout
    assert [json.loads(line)["op"] for line in answers.splitlines()] == ["welcome", "ack"]


def test_the_options_reach_the_gateway(folder: Path) -> None:
    options = ("--model", "threads", "--heartbeat", "0.2:5", "--max-connections", "1", "--auth", "none")
    options += ("--log-level", "debug", "--database", f"sqlite:///{folder}/other.db")
    with PythonProcess(*SERVE, *FREE, "--bind", f"unix:{folder}/s", *options, cwd=folder) as process:
        process.wait_for_line("Ctrl-C")
        assert "model threads, gateway" in process.output
        assert f"listening  unix:{folder}/s" in process.output
        with Device(address_of(process)) as device, Device(f"unix:{folder}/s") as second:
            welcome = device.log_in("a")
            assert (welcome["heartbeat"], welcome["timeout"]) == (0.2, 5)
            assert device.hear() == {"op": "ping"}
            assert list(second) == []  # over --max-connections
        process.wait_for_line(" DEBUG ")
    assert (folder / "other.db").exists()
    assert not (folder / "mooring.db").exists()


def test_a_log_line_has_time_level_and_text(folder: Path) -> None:
    with PythonProcess(*SERVE, *FREE, cwd=folder) as process:
        with Device(address_of(process)) as device:
            device.send(b"no json")
            assert len(list(device)) == 1
        line = process.wait_for_line("bad_json")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO +<Connection ", line)


def test_a_target_is_served_with_its_own_settings(folder: Path) -> None:
    (folder / "app.py").write_text(ECHO)
    with PythonProcess(*SERVE, "app", cwd=folder) as process:
        process.wait_for_line("Ctrl-C")
        assert "model hybrid, 2-64 threads, echo" in process.output
        with Device(address_of(process)) as client:
            client.send(b"hello")
            assert client.recv() == b"hello"


def test_options_replace_those_of_a_target(folder: Path) -> None:
    (folder / "app.py").write_text(ECHO)
    options = ("--threads", "3:5", "--bind", f"unix:{folder}/s", "--database", f"sqlite:///{folder}/x.db")
    options += ("--heartbeat", "0.1:5", "--app-dir", str(folder))
    with PythonProcess(*SERVE, "app", *options, cwd=Path("/")) as process:
        process.wait_for_line("Ctrl-C")
        assert "3-5 threads, echo" in process.output
        assert f"storing    sqlite:///{folder}/x.db" in process.output
        with Device(address_of(process)) as client:
            assert client.recv() == b"?"
            client.send(b"hello")
            while (message := client.recv()) == b"?":
                pass
            assert message == b"hello"


def test_several_targets_and_a_factory(folder: Path) -> None:
    (folder / "app.py").write_text(ECHO)
    with PythonProcess(*SERVE, "app", "app:other", cwd=folder) as process:
        process.wait_for_line("Ctrl-C")
        assert process.output.count("listening") == 2
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    with PythonProcess(*SERVE, "--factory", "app:make", "--model", "threads", cwd=folder) as process:
        process.wait_for_line("Ctrl-C")
        assert "model threads, made" in process.output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--threads", "5:1"], "MAX at least MIN"),
        (["--threads", "many"], "write MIN:MAX"),
        (["--heartbeat", "90:30"], "less than the time-out"),
        (["--bind", "127.0.0.1:7000"], "begins with tcp://"),
        (["--bind", "tls://127.0.0.1:7000"], "needs a certificate"),
        (["--database", "postgresql://x/y"], "unknown scheme"),
        (["--max-connections", "0"], "a whole number >= 1"),
        (["--app-dir", "."], "name one"),
        (["--files", "/no/such/folder"], "must be a directory"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(folder: Path, arguments: list[str], part: str) -> None:
    assert part in run_command("serve", *arguments, cwd=folder, returncode=2)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["app", "app"], "named twice"),
        (["app", "app:other", "--bind", "tcp://127.0.0.1:0"], "one address"),
        (["app", "--auth", "none"], "--auth is the gateway's"),
        (["app", "--codec", "app:server"], "--codec is the gateway's"),
        (["--codec", "app:server"], "object with framing, heartbeat, decode and encode"),
        (["app:other", "--heartbeat", "3"], "no message to send"),
    ],
)
def test_wrong_usage_of_a_target_ends_with_2_too(folder: Path, arguments: list[str], part: str) -> None:
    (folder / "app.py").write_text(ECHO)
    with PythonProcess(*SERVE, *arguments, cwd=folder) as process:
        assert process.wait() == 2
        assert part in process.output
        assert "Traceback" not in process.output


def test_what_cannot_start_ends_with_3_and_says_what_to_do(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with PythonProcess(*SERVE, "--bind", f"tcp://127.0.0.1:{port}", cwd=folder) as process:
            assert process.wait() == 3
            expected = (
                f"mooring: listen on tcp://127.0.0.1:{port}: address already in use; choose another port with --bind"
            )
            assert expected in process.output
            assert "Traceback" not in process.output
    with PythonProcess(*SERVE, *FREE, "--database", "sqlite:////no/such/folder/x.db", cwd=folder) as process:
        assert process.wait() == 3
        assert "create it first" in process.output
        assert "Traceback" not in process.output


def test_a_lifespan_that_raises_could_not_start_and_the_other_servers_are_stopped(folder: Path) -> None:
    (folder / "app.py").write_text(
        ECHO + "import contextlib\n"
        "@contextlib.contextmanager\n"
        "def lifespan(server):\n"
        "    raise LookupError('my sensors')\n"
        "    yield\n"
        "broken = Server(echo, bind='tcp://127.0.0.1:0', lifespan=lifespan)\n"
    )
    with PythonProcess(*SERVE, "app", "app:broken", cwd=folder) as process:
        assert process.wait() == 3
        assert "LookupError: my sensors" in process.output
        assert "listening" not in process.output


def test_a_loop_that_fails_ends_with_1(folder: Path) -> None:
    (folder / "app.py").write_text(
        ECHO + "import threading\n"
        "def fail():\n"
        "    raise RuntimeError('injected')\n"
        "threading.Timer(0.3, lambda: server._loop.post(fail)).start()\n"
    )
    with PythonProcess(*SERVE, "app", cwd=folder) as process:
        assert process.wait() == 1
        assert "injected" in process.output


def test_a_second_signal_stops_at_once(folder: Path) -> None:
    (folder / "app.py").write_text(
        "import time\nfrom mooring import Server\n"
        "def stuck(connection, message):\n"
        "    print('stuck', flush=True)\n"
        "    time.sleep(60)\n"
        "server = Server(stuck, bind='tcp://127.0.0.1:0', blocking=True)\n"
    )
    with PythonProcess(*SERVE, "app", cwd=folder) as process, Device(address_of(process)) as client:
        client.send(b"x")
        process.wait_for_line("stuck")
        process.signal(signal.SIGTERM)
        process.wait_for_line("draining")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
