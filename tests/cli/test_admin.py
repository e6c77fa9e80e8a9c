"""The dashboard beside ``mooring serve``, and the commands that use its API, as processes of their own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from devices import Device
from processes import PythonProcess
from waiting import wait_until

from mooring import Client, Connection, Server
from mooring.cli import group
from mooring.cli.admin_parts import tap_of
from mooring.cli.runtime import (
    Running,
    UnsafeFolderError,
    find_running,
    kept_token,
    leave_word,
)
from mooring.cli.runtime import (
    folder as runtime_folder,
)

SERVE = ("-m", "mooring", "serve", "--bind", "tcp://127.0.0.1:0")


def mooring(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run a command; what it said. Only those that set up logging need a process of their own."""
    if arguments[0] == "database":
        with PythonProcess("-m", "mooring", *arguments, cwd=folder, env={"XDG_RUNTIME_DIR": str(folder)}) as process:
            assert process.wait() == code
            return process.output
    result = CliRunner().invoke(group, arguments, env={"XDG_RUNTIME_DIR": str(folder)}, prog_name="mooring")
    assert result.exit_code == code, result.output
    return result.output


def serving(folder: Path, *options: str) -> PythonProcess:
    return PythonProcess(*SERVE, *options, cwd=folder, env={"XDG_RUNTIME_DIR": str(folder)})


def address_of(process: PythonProcess) -> str:
    return process.wait_for_line("listening").split()[1]


def get(url: str, path: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_commands_find_the_server_and_do_what_the_page_does(folder: Path) -> None:
    with serving(folder, "--admin", "127.0.0.1:0") as process:
        url = process.wait_for_line("dashboard").split()[1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#t=[\w-]{43}", url)
        assert get(url, "/livez") == (200, b"ok\n")
        with Device(address_of(process)) as device:
            device.log_in("meter-7")
            listed = mooring(folder, "connections", "list", "--search", "meter")
            assert "meter-7" in listed
            row = json.loads(mooring(folder, "connections", "list", "--json").splitlines()[0])
            assert (row["name"], row["messages"]) == ("meter-7", 1)
            assert "3 to 9 threads" in mooring(folder, "threads", "resize", "3:9")
            assert "paused" in mooring(folder, "threads", "pause")
            assert "resumed" in mooring(folder, "threads", "resume")
            assert "1 to 4 connections" in mooring(folder, "database", "resize", "1:4")
            assert "closed" in mooring(folder, "database", "evict")
            assert "closes when" in mooring(folder, "connections", "close", str(row["id"]))
            assert list(device) == []
        with Device(address_of(process)) as device:
            device.log_in("meter-7")
            parts = urlsplit(url)
            asking = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)
            headers = {"Authorization": f"Bearer {parts.fragment[2:]}", "Content-Type": "application/json"}
            path = "/api/v1/servers/1/devices/meter-7/commands"
            asking.request("POST", path, json.dumps({"data": {"reboot": True}}), headers)
            assert json.loads(asking.getresponse().read())["detail"].startswith("command 1 is stored for meter-7")
            asking.close()
            command = device.hear()
            assert (command["op"], command["id"], command["data"]) == ("command", 1, {"reboot": True})
        gone = mooring(folder, "connections", "close", str(row["id"]), code=1)
        assert gone.startswith(f"mooring: there is no connection {row['id']}")
        assert "draining" in mooring(folder, "drain")
        assert process.wait() == 0
        assert "mooring.audit" not in process.output
        assert "resize_threads by operator at 127.0.0.1" in process.output
    assert "no server of this user runs" in mooring(folder, "drain", code=1)


def test_a_restart_keeps_the_token_and_the_admin_can_be_off(folder: Path) -> None:
    urls = []
    for _ in range(2):
        with serving(folder, "--admin", "127.0.0.1:0") as process:
            urls.append(process.wait_for_line("dashboard").split()[1])
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
    assert urls[0].partition("#")[2] == urls[1].partition("#")[2]
    with serving(folder, "--admin", "off") as process:
        process.wait_for_line("Ctrl-C")
        assert "dashboard" not in process.output


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            ["--admin", "0.0.0.0:0"],
            "--admin: 0.0.0.0:0 can be reached from elsewhere; give it a token",
        ),
        (["--admin", "7001"], "--admin: '7001': write HOST:PORT"),
        (["--admin", "127.0.0.1:0", "--admin-token-file", "/no/such/file"], "No such file"),
        (["--admin-token-file", "short"], "--admin-token-file: a token has at least 16 characters"),
        (["--admin-viewer-token-file", "short"], "--admin-viewer-token-file: a token has at least 16 characters"),
    ],
)
def test_what_is_unsafe_or_wrong_does_not_start_and_says_what_to_do_as_does_check(
    folder: Path, options: list[str], part: str
) -> None:
    (folder / "short").write_text("tiny")
    with serving(folder, *options) as process:
        assert process.wait() == 2
        assert part in process.output
        assert "Traceback" not in process.output
    assert not (folder / "mooring.db").exists()
    options = [str(folder / "short") if option == "short" else option for option in options]
    assert part in mooring(folder, "check", *options, code=78)


def test_a_taken_port_does_not_start_and_names_who_to_ask(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(folder, "--admin", f"127.0.0.1:{port}") as process:
            assert process.wait() == 3
            assert f"ss -ltnp 'sport = :{port}'" in process.output


def test_with_a_token_of_ones_own_it_may_be_reached(folder: Path) -> None:
    (folder / "token").write_text("s" * 40 + "\n")
    with serving(folder, "--admin", "0.0.0.0:0", "--admin-token-file", "token") as process:
        url = process.wait_for_line("dashboard").split()[1]
        assert url.endswith("#t=" + "s" * 40)
        assert get(url, "/metrics")[0] == 401
        assert get(url, "/readyz") == (200, b"ok\n")


def test_without_the_extra_the_banner_says_how_to_get_it(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    env = {"XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(folder)}
    with PythonProcess(*SERVE, cwd=folder, env=env) as process:
        assert "pip install 'mooring[admin]'" in process.wait_for_line("dashboard")
    with PythonProcess(*SERVE, "--admin", "127.0.0.1:0", cwd=folder, env=env) as process:
        assert process.wait() == 2
        assert "pip install 'mooring[admin]'" in process.output


def test_the_folder_for_words_is_the_users_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    assert kept_token("a" * 20) == kept_token("b" * 20) == "a" * 20
    word = leave_word(Running(2**22 + 1, "http://127.0.0.1:1", "t"))  # no process has this number
    assert stat.S_IMODE(word.stat().st_mode) == 0o600
    assert find_running() == []
    assert not word.exists()
    runtime_folder().chmod(0o755)
    with pytest.raises(UnsafeFolderError, match="this user alone"):
        runtime_folder()


def test_a_trace_listens_to_the_server_that_has_the_connection() -> None:
    def shout(connection: Connection, message: bytes) -> bytes:
        return message.upper()

    with ExitStack() as stack:
        servers = [stack.enter_context(Server(shout, bind="tcp://127.0.0.1:0")) for _ in range(2)]
        client = stack.enter_context(Client(str(servers[1].addresses[0])))
        client.send(b"first")
        assert client.recv() == b"FIRST"
        (connection,) = servers[1].connections
        tap = tap_of(servers)
        heard: list[dict[str, Any]] = []
        stop = tap(connection=connection.id, device=None, peer=None, put=heard.append)
        client.send(b"hello")
        assert client.recv() == b"HELLO"
        wait_until(lambda: {"in", "out"} <= {event["direction"] for event in heard})
        assert [event["text"] for event in heard if event["direction"] == "in"] == ["hello."]
        stop()
        with pytest.raises(KeyError):
            tap(connection=connection.id + 1_000_000, device=None, peer=None, put=heard.append)
