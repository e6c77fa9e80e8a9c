"""``mooring trace`` against the stream that the admin side gives."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import run_command
from processes import PythonProcess

from mooring import Client, Connection, Server

TRACE = ("-m", "mooring", "trace")


class AdminSide(ThreadingHTTPServer):
    """Answers as the admin side does: the events of a real server, as server-sent events."""

    daemon_threads = False
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.refusal: tuple[int, bytes] | None = None
        self.breaks_off = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: AdminSide

    def do_GET(self) -> None:
        side = self.server
        side.asked.append(self.path)
        if side.refusal is not None or self.headers["Authorization"] != "Bearer sesame":
            status, body = side.refusal or (401, b'{"detail": "who are you?"}')
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b'event: begin\ndata: {"seconds":60}\n\n: still here\n\n')
        for event in side.events:
            self.wfile.write(b"event: frame\ndata: " + json.dumps(event).encode() + b"\n\n")
        if not side.breaks_off:
            self.wfile.write(b"event: end\ndata: {}\n\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def side() -> Iterator[AdminSide]:
    with AdminSide() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def token_file(folder: Path) -> str:
    (folder / "token").write_text("sesame\n")
    return str(folder / "token")


def traced(side: AdminSide, token_file: str, *arguments: str, returncode: int = 0) -> str:
    where = ("--url", side.url, "--token-file", token_file)
    env = {"XDG_RUNTIME_DIR": str(Path(token_file).parent)}
    return run_command("trace", *arguments, *where, env=env, returncode=returncode)


def echo(connection: Connection, message: bytes) -> bytes:
    return message


def events_of_a_conversation() -> list[dict[str, Any]]:
    with Server(echo, bind="tcp://127.0.0.1:0", model="epoll") as server, Client(server.addresses[0]) as client:
        client.send(b"before")
        client.recv()
        with server.trace("127.0.0.1") as trace:
            client.send(b"PING\x01")
            client.recv()
            events = iter(trace)
            return [next(events).as_dict() for _ in range(3)]


def test_a_trace_shows_time_bytes_text_route_thread_and_milliseconds(side: AdminSide, token_file: str) -> None:
    side.events = events_of_a_conversation()
    shown = traced(side, token_file, "meter-7", "--for", "5s").splitlines()
    number = side.events[0]["connection"]
    assert side.asked == ["/api/v1/trace?device=meter-7&seconds=5"]
    assert shown[0] == "listening to meter-7 for 5s; Ctrl-C ends it"
    assert shown[1].endswith(f"-> [{number}] in  6 bytes")
    assert shown[2].split() == ["50", "49", "4e", "47", "01", "0a", "PING.."]
    assert "test_trace.echo, loop, " in shown[3]
    assert shown[3].endswith(" ms: PING.")
    assert shown[4].endswith(f"<- [{number}] out 6 bytes")
    assert shown[-1] == "3 events"


def test_a_device_of_a_real_server_is_followed_through_its_admin_side(folder: Path) -> None:
    (folder / "app.py").write_text(
        "from mooring import Server\n"
        "def echo(connection, message):\n"
        "    connection.identify('meter-7')\n"
        "    return message\n"
        "first = Server(echo, bind='tcp://127.0.0.1:0', name='first')\n"
        "second = Server(echo, bind='tcp://127.0.0.1:0', name='second')\n"
    )
    env = {"XDG_RUNTIME_DIR": str(folder)}
    serve = ("-m", "mooring", "serve", "app:first", "app:second", "--admin", "127.0.0.1:0")
    with PythonProcess(*serve, cwd=folder, env=env) as process:
        process.wait_for_line("Ctrl-C")
        address = [line.split()[1] for line in process.output.splitlines() if line.startswith("listening")][1]
        with PythonProcess(*TRACE, "meter-7", "--for", "60s", env=env) as tracing:
            process.wait_for_line("trace by operator")  # the audit log: it listens
            with Client(address) as client:
                client.send(b"hello")
                assert client.recv() == b"hello"
            tracing.wait_for_line("closed peer")
            assert "route app.echo" in tracing.wait_for_line("route")
            assert "68 65 6c 6c 6f 0a" in tracing.output
            tracing.signal(signal.SIGINT)
            assert tracing.wait() == 0
            assert tracing.output.endswith(" events\n")


def test_json_is_an_event_a_line(side: AdminSide, token_file: str) -> None:
    side.events = events_of_a_conversation()
    shown = traced(side, token_file, "127.0.0.1", "--json").splitlines()
    assert [json.loads(line) for line in shown[1:-1]] == side.events
    assert side.asked == ["/api/v1/trace?peer=127.0.0.1&seconds=60"]


def test_a_number_is_a_connection_and_silence_is_said(side: AdminSide, token_file: str) -> None:
    assert traced(side, token_file, "17").endswith("nothing was heard of 17\n")
    assert side.asked == ["/api/v1/trace?connection=17&seconds=60"]


def test_what_was_left_out_is_said(side: AdminSide, token_file: str) -> None:
    side.events = [{**events_of_a_conversation()[0], "left_out": 12}]
    assert "... 12 events were left out here\n" in traced(side, token_file, "a")


@pytest.mark.parametrize(
    ("refusal", "part"),
    [
        ((404, b'{"detail": "there is no 17 to listen to"}'), "mooring: there is no 17 to listen to\n"),
        ((500, b"<html>"), "refuses (status 500)\n"),
        ((200 + 3, b"[]"), "refuses (status 203)\n"),
    ],
)
def test_a_refusal_is_one_line(side: AdminSide, token_file: str, refusal: tuple[int, bytes], part: str) -> None:
    side.refusal = refusal
    shown = traced(side, token_file, "17", returncode=1)
    assert part in shown
    assert "Traceback" not in shown


def test_a_wrong_token_and_a_stream_that_breaks_off_are_one_line_each(side: AdminSide, token_file: str) -> None:
    side.breaks_off = True
    assert "the stream broke off; has the server ended?" in traced(side, token_file, "a", returncode=1)
    Path(token_file).write_text("wrong")
    assert "who are you?" in traced(side, token_file, "a", returncode=1)


def test_a_time_that_is_none_is_wrong_usage(side: AdminSide, token_file: str) -> None:
    assert "such as 10s" in traced(side, token_file, "a", "--for", "soon", returncode=2)
