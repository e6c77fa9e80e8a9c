"""A restart that nobody notices: a new process takes over the listening socket, and the old one drains."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from click.testing import CliRunner
from devices import Device
from processes import PythonProcess
from waiting import wait_until

from mooring import Server
from mooring.admin.listening import Place
from mooring.admin.service import AdminSide
from mooring.cli import group
from mooring.cli.admin_client import find_client
from mooring.cli.runtime import Running, leave_word

SERVE = ("-m", "mooring", "serve")

COUNTED = """
import contextlib, sys
from mooring import Server
from mooring.framing import Lines
sys.path.insert(0, {examples!r})
from ping import ping

@contextlib.contextmanager
def lifespan(server):
    yield
    stats = server.stats()  # in one write: the log is written to the same place
    sys.stdout.write("served %d closed %r\\n" % (stats.messages, dict(stats.closed)))
    sys.stdout.flush()

server = Server(ping, framing=Lines(b"\\r\\n"), blocking=False, lifespan=lifespan)
"""


class Handshakes:
    """TLS clients, several at a time, each with a connection for each PING, until it is enough; each error is kept."""

    def __init__(self, port: int, authority: Authority, count: int) -> None:
        self._port, self._authority = port, authority
        self._enough = threading.Event()
        self.done = [0] * (count + 1)
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._repeat, args=(n, self._ask)) for n in range(count)]
        self._threads.append(threading.Thread(target=self._repeat, args=(count, self._run_openssl)))

    def __enter__(self) -> Handshakes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(30)

    def _repeat(self, number: int, once: Callable[[], None]) -> None:
        while not self._enough.is_set():
            try:
                once()
            except Exception as exc:
                self.errors.append(f"{type(exc).__name__}: {exc}")
                return
            self.done[number] += 1

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 20) as plain:
            with self._authority.believing.wrap_socket(
                plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            ) as sock:
                sock.sendall(b"PING\r\n")
                answer = sock.recv(100)
                assert answer == b"+PONG\r\n", f"it said {answer!r}"

    def _run_openssl(self) -> None:
        trust = ("-CAfile", str(self._authority.certificate), "-verify_return_error", "-verify_ip", "127.0.0.1")
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{self._port}", *trust, "-brief")
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr

    def wait_for_each(self, count: int) -> None:
        """Each of them has asked so many times from now on."""
        wanted = [done + count for done in self.done]
        wait_until(lambda: self.errors or all(a >= b for a, b in zip(self.done, wanted, strict=True)), timeout=30)


class Clients:
    """``redis-benchmark`` again and again, a connection for each PING, until it is enough; each error is kept."""

    def __init__(self, *where: str) -> None:
        benchmark = shutil.which("redis-benchmark")
        assert benchmark, "redis-benchmark is missing: script/test installs it (Debian: apt-get install redis-tools)"
        self._command = [benchmark, *where, "-t", "ping_inline", "-c", "10", "-k", "0", "-n", "200", "--csv"]
        self.rounds = 0
        self.errors: list[str] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._enough.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._enough.is_set():
            done = subprocess.run(self._command, capture_output=True, text=True, timeout=30, check=False)
            if done.returncode or "PING_INLINE" not in done.stdout:
                self.errors.append(done.stdout + done.stderr)
                return
            self.rounds += 1

    def wait_for_rounds(self, count: int) -> None:
        wanted = self.rounds + count
        wait_until(lambda: self.rounds >= wanted or self.errors, timeout=30)


@contextlib.contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[socket.socket, list[str]]]:
    """A listening socket, as a supervisor holds it, and how ``redis-benchmark`` finds it."""
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
            yield sock, ["-h", "127.0.0.1", "-p", str(sock.getsockname()[1])]
        return
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "s"))
        sock.listen(512)
        yield sock, ["-s", str(folder / "s")]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_redis_benchmark_runs_across_the_change_and_nobody_is_refused(kind: str, folder: Path) -> None:
    (folder / "counted.py").write_text(COUNTED.format(examples=str(Path(__file__).parents[2] / "examples")))
    with opened(kind, folder) as (sock, where), contextlib.ExitStack() as stack:
        number = sock.fileno()

        def serving() -> PythonProcess:
            arguments = (*SERVE, "counted", "--fd", str(number), "--admin", "off", "--drain-spread", "1s")
            process = stack.enter_context(PythonProcess(*arguments, cwd=folder, pass_fds=[number]))
            process.wait_for_line("Ctrl-C")
            return process

        old = serving()
        with Clients(*where) as clients:
            clients.wait_for_rounds(2)
            new = serving()
            clients.wait_for_rounds(1)
            old.signal(signal.SIGTERM)
            assert old.wait() == 0
            clients.wait_for_rounds(2)
        assert clients.errors == []
        new.signal(signal.SIGTERM)
        assert new.wait() == 0
        for process in (old, new):
            assert int(process.wait_for_line("served ").split()[1]) >= 200
            assert "refused" not in process.output


def test_tls_clients_connect_across_the_change_and_no_handshake_is_cut_off(authority: Authority, folder: Path) -> None:
    (folder / "counted.py").write_text(COUNTED.format(examples=str(Path(__file__).parents[2] / "examples")))
    pair = ("--tls-cert", str(authority.server.certificate), "--tls-key", str(authority.server.key))
    with opened("tcp", folder) as (sock, where), contextlib.ExitStack() as stack:
        bind = ("--bind", f"tls+fd://{sock.fileno()}")

        def serving() -> PythonProcess:
            arguments = (*SERVE, "counted", *bind, *pair, "--admin", "off", "--drain-spread", "1s")
            process = stack.enter_context(PythonProcess(*arguments, cwd=folder, pass_fds=[sock.fileno()]))
            process.wait_for_line("Ctrl-C")
            return process

        servers = [serving()]
        with Handshakes(int(where[-1]), authority, 6) as clients:
            clients.wait_for_each(2)
            for _ in range(2):
                servers.append(serving())
                clients.wait_for_each(1)
                servers[-2].signal(signal.SIGTERM)
                assert servers[-2].wait() == 0
            clients.wait_for_each(2)
        assert clients.errors == []
        servers[-1].signal(signal.SIGTERM)
        assert servers[-1].wait() == 0
        for process in servers:
            assert int(process.wait_for_line("served ").split()[1]) > 0


def test_the_holder_of_deploy_replaces_the_server_on_hup_and_keeps_the_old_one_if_the_new_one_fails(
    folder: Path,
) -> None:
    counted = COUNTED.format(examples=str(Path(__file__).parents[2] / "examples"))
    (folder / "counted.py").write_text(counted)
    holder = str(Path(__file__).parents[2] / "deploy" / "hold-socket.py")
    serve = (sys.executable, *SERVE, "counted", "--admin", "off", "--drain-spread", "500ms")
    with PythonProcess(holder, str(folder / "s"), *serve, cwd=folder) as process:
        first = process.wait_for_line("is ready")
        with Clients("-s", str(folder / "s")) as clients:
            clients.wait_for_rounds(1)
            (folder / "counted.py").write_text("raise SystemExit(1)")
            process.signal(signal.SIGHUP)
            process.wait_for_line("hold-socket: not ready, code 4")
            clients.wait_for_rounds(1)
            (folder / "counted.py").write_text(counted)
            process.signal(signal.SIGHUP)
            taken = process.wait_for_line("has taken over; the old one ended with 0", timeout=40)
            clients.wait_for_rounds(1)
        assert clients.errors == []
        assert first.split()[2] != taken.split()[2]
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.output.count("served ") == 2


# What the commands do -------------------------------------------------------------------------------------------------


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with an admin side that the commands find."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("MOORING_ADMIN_TOKEN", raising=False)
    binds = ["tcp://127.0.0.1:0", f"unix:{folder}/s"]
    with Server(lambda connection, message: message, bind=binds, name="meters") as server:
        with AdminSide([server], Place("127.0.0.1", 0)) as side:
            leave_word(Running(os.getpid(), side.url, side.token))
            yield server


def mooring(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_listeners_suspends_and_resumes_one_or_all(server: Server) -> None:
    tcp, local = map(str, server.addresses)
    assert mooring("listeners", "suspend", tcp) == f"new connections on {tcp} wait until accepting is resumed\n"
    expected = [[tcp, "suspended", "0", "accepted"], [local, "accepting", "0", "accepted"]]
    # The numbers are made once a second for all who look.
    wait_until(lambda: [line.split() for line in mooring("listeners", "list").splitlines()] == expected)
    mooring("listeners", "suspend")
    assert not server.accepting
    assert mooring("listeners", "resume", local) == f"new connections on {local} are accepted\n"
    assert [one.accepting for one in server.stats().listeners] == [False, True]
    mooring("listeners", "resume")
    assert all(one.accepting for one in server.stats().listeners)
    assert "it listens on tcp://" in mooring("listeners", "suspend", "tcp://127.0.0.1:1", code=1)


def test_the_command_drain_has_times_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[dict[str, float]] = []
    monkeypatch.setattr(server, "stop", lambda **times: stopped.append(times))
    mooring("drain", "--spread", "1m", "--timeout", "5", "--grace", "0")
    wait_until(lambda: stopped == [{"spread": 60.0, "timeout": 5.0, "grace": 0.0}])
    assert "write a time such as 30s or 5m, or 0" in mooring("drain", "--spread", "-1s", code=2)
    monkeypatch.undo()


def test_the_command_drain_waits_and_tells_how_many_are_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.delenv("MOORING_ADMIN_TOKEN", raising=False)
    (folder / "app.py").write_text("from mooring import Server\nserver = Server(lambda connection, message: message)\n")
    arguments = (*SERVE, "app", "--bind", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0")
    with PythonProcess(*arguments, cwd=folder) as process, contextlib.ExitStack() as stack:
        process.wait_for_line("Ctrl-C")
        address = process.wait_for_line("listening").split()[1]
        for _ in range(2):
            device = stack.enter_context(Device(address))
            device.send(b"hello")
            assert device.recv() == b"hello"
        client = find_client(None, None)
        # The numbers are made once a second for all who look.
        wait_until(lambda: client.get("/snapshot")["servers"][0]["connections"]["open"] == 2)
        lines = mooring("drain", "--spread", "1s", "--wait").splitlines()
        assert process.wait() == 0
        assert lines[0].startswith("draining")
        assert lines[1] == "2 connections left"
        assert lines[-1] == "drained"


def readyz(port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_readyz_fails_in_the_grace_of_a_drain_while_devices_are_served(folder: Path) -> None:
    (folder / "app.py").write_text("from mooring import Server\nserver = Server(lambda connection, message: message)\n")
    arguments = (*SERVE, "app", "--bind", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-grace", "1h")
    with PythonProcess(*arguments, cwd=folder) as process:
        process.wait_for_line("Ctrl-C")
        port = int(process.wait_for_line("dashboard").split("127.0.0.1:")[1].split("/")[0])
        address = process.wait_for_line("listening").split()[1]
        assert readyz(port)[0] == 200
        process.signal(signal.SIGTERM)
        process.wait_for_line("from 3600.0 s on")
        wait_until(lambda: readyz(port)[0] == 503)
        assert b"state failed: stopping" in readyz(port)[1]
        with Device(address) as device:
            device.send(b"hello")
            assert device.recv() == b"hello"
