"""The life of `mooring serve`: drain, reload, dump, systemd. Each in a process of its own, with real signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from devices import Device
from processes import PythonProcess
from waiting import wait_until

from mooring import ConnectionClosed
from mooring.cli.admin_client import find_client

MOORING = ("-m", "mooring")
SERVE = (*MOORING, "serve")
FREE = ("--bind", "tcp://127.0.0.1:0")

ECHO = """
import logging, time
from mooring import Server

def echo(connection, message):
    if message == b"slow":
        print("it is slow", flush=True)
        time.sleep(60)
    logging.getLogger("app").debug("debug %s", len(message))
    return message

server = Server(echo, bind="tcp://127.0.0.1:0", name="echo", blocking=True)
other = Server(echo, bind="tcp://127.0.0.1:0", name="other")
"""


def address_of(process: PythonProcess, number: int = 0) -> str:
    process.wait_for_line("Ctrl-C")
    return [line for line in process.output.splitlines() if line.startswith("listening")][number].split()[1]


@pytest.fixture
def app(folder: Path) -> Path:
    (folder / "app.py").write_text(ECHO)
    return folder


# Drain ----------------------------------------------------------------------------------------------------------------


def test_a_drain_closes_connections_one_after_the_other_and_serves_them_until_then(app: Path) -> None:
    with PythonProcess(*SERVE, "app", "--set", "drain_spread=2s", cwd=app) as process, contextlib.ExitStack() as stack:
        address = address_of(process)
        devices = [stack.enter_context(Device(address)) for _ in range(20)]
        for device in devices:
            device.send(b"hello")
            assert device.recv() == b"hello"
        process.signal(signal.SIGTERM)
        assert "(20 connections, closed over 2.0 s)" in process.wait_for_line("draining")
        ends: list[float] = []
        served = 0
        open_ones = dict.fromkeys(devices)
        while open_ones:
            for device in list(open_ones):
                try:
                    device.send(b"still there?")
                    assert device.recv() == b"still there?"
                    served += 1
                except (OSError, ConnectionClosed):
                    ends.append(time.monotonic())
                    del open_ones[device]
        assert process.wait() == 0
        assert served > 20  # those whose turn had not come were served meanwhile
        assert len({round(end, 2) for end in ends}) > 5  # not all at the same moment


def test_the_command_drain_is_the_same_as_term_and_twice_is_harmless(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(app))
    monkeypatch.delenv("MOORING_ADMIN_TOKEN", raising=False)
    with PythonProcess(*SERVE, "app", "--admin", "127.0.0.1:0", cwd=app) as process:
        with Device(address_of(process)) as device:
            device.send(b"slow")
            process.wait_for_line("it is slow")
            client = find_client(None, None)
            for _ in range(2):
                client.post("/drain", timeout=2)
            assert process.wait() == 0
    assert process.output.count("SIGTERM: draining") == 1
    assert "stopped at once" not in process.output
    assert "did not end within 2 s" in process.output


def test_the_drain_ends_after_its_timeout_whatever_runs(app: Path) -> None:
    with PythonProcess(*SERVE, "app", "--drain-timeout", "300ms", cwd=app) as process:
        with Device(address_of(process)) as device:
            device.send(b"slow")
            device.send(b"x")
            process.wait_for_line("it is slow")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        assert "did not end within 0.3 s" in process.output
        assert "time.sleep(60)" in process.output  # where the handler is


def test_several_targets_have_one_banner_and_one_drain(app: Path) -> None:
    with PythonProcess(*SERVE, "app", "app:other", cwd=app) as process:
        with Device(address_of(process, 0)) as first, Device(address_of(process, 1)) as second:
            for device in (first, second):
                device.send(b"hello")
                assert device.recv() == b"hello"
            process.signal(signal.SIGINT)
            assert list(first) == list(second) == []
        assert process.wait() == 0
        assert process.output.count("Ctrl-C drains") == process.output.count("SIGINT: draining") == 1


# Reload ---------------------------------------------------------------------------------------------------------------


def test_hup_takes_over_what_can_be_changed_and_names_the_rest(app: Path) -> None:
    settings = app / "mooring.toml"
    settings.write_text('threads = "1:2"\nmodel = "hybrid"\n')
    with PythonProcess(*SERVE, "app", cwd=app) as process, Device(address_of(process)) as device:
        device.send(b"12345")
        device.recv()
        settings.write_text('threads = "3:4"\nmodel = "epoll"\nmax_connections = 1\n[log]\nlevel = "debug"\n')
        process.signal(signal.SIGHUP)
        line = process.wait_for_line("taken over")
        assert line.endswith("threads = 3:4, max_connections = 1, log.level = debug")
        assert process.wait_for_line("from the next start on").endswith("on: model")
        assert "debug 5" not in process.output
        device.send(b"123456")
        device.recv()
        process.wait_for_line("debug 6")
        with Device(address_of(process)) as refused:
            assert list(refused) == []
        process.signal(signal.SIGUSR2)
        assert re.search(r"thread pool: .*min_size 3, max_size 4", process.wait_for_line("thread pool: "))
        process.signal(signal.SIGHUP)
        process.wait_for_line("nothing has changed")


def is_let_in(address: str) -> bool:
    with Device(address) as taken:
        try:
            taken.send(b"12345")
            return bool(taken.recv())
        except (OSError, ConnectionClosed):
            return False


def test_hup_gives_a_limit_that_was_taken_out_its_default_again(app: Path) -> None:
    settings = app / "mooring.toml"
    settings.write_text("[limits]\nper_address = 1\nstrikes = 9\n")
    with PythonProcess(*SERVE, "app", cwd=app) as process, Device(address_of(process)) as device:
        device.send(b"12345")
        device.recv()
        with Device(address_of(process)) as refused:
            assert list(refused) == []
        settings.write_text("[limits]\nstrikes = 9\n")
        process.signal(signal.SIGHUP)
        assert process.wait_for_line("taken over").endswith("limits.per_address = its default")
        wait_until(lambda: is_let_in(address_of(process)))  # the loop hears of it in its next turn


def test_hup_takes_over_limits_and_a_network_that_is_none_changes_nothing(app: Path) -> None:
    settings = app / "mooring.toml"
    settings.write_text("[limits]\nper_address = 7\n")
    with PythonProcess(*SERVE, "app", cwd=app) as process, Device(address_of(process)) as device:
        device.send(b"12345")
        device.recv()
        settings.write_text('[limits]\ndeny = ["127.0.0.1/8"]\n')
        process.signal(signal.SIGHUP)
        process.wait_for_line("'127.0.0.1/8' has bits behind its prefix; write 127.0.0.0/8 for the network")
        settings.write_text('[limits]\nper_address = 7\ndeny = ["127.0.0.0/8"]\n')
        process.signal(signal.SIGHUP)
        process.wait_for_line("taken over: limits.deny")
        device.send(b"123456")
        assert device.recv() == b"123456"  # who is in stays in
        with Device(address_of(process)) as refused:
            assert list(refused) == []
        process.wait_for_line("refused a connection from 127.0.0.1: denied")


def test_hup_with_wrong_settings_changes_nothing(app: Path) -> None:
    settings = app / "mooring.toml"
    settings.write_text('threads = "1:2"\n')
    with PythonProcess(*SERVE, "app", cwd=app) as process, Device(address_of(process)) as device:
        settings.write_text('threads = "3:4"\nthraeds = 1\n[log]\nlevel = "debug"\n')
        process.signal(signal.SIGHUP)
        process.wait_for_line("the settings stay as they were")
        assert "reload: mooring.toml:2: there is no setting thraeds; did you mean threads?" in process.output
        device.send(b"12345")
        assert device.recv() == b"12345"
        process.signal(signal.SIGUSR2)
        assert "min_size 1, max_size 2" in process.wait_for_line("thread pool: ")
        assert "debug 5" not in process.output


def test_hup_that_a_pool_refuses_is_taken_back_as_a_whole(app: Path) -> None:
    settings = app / "mooring.toml"
    settings.write_text('threads = "1:2"\ndatabase = "sqlite:///x.db"\n')
    with PythonProcess(*SERVE, "app", cwd=app) as process:
        address_of(process)
        settings.write_text('threads = "3:4"\n[database]\nurl = "sqlite:///x.db"\nmin_size = 9\nmax_size = 3\n')
        process.signal(signal.SIGHUP)
        assert "min_size 9 is more than max_size 3" in process.wait_for_line("the settings stay as they were")
        process.signal(signal.SIGUSR2)
        assert "min_size 1, max_size 2" in process.wait_for_line("thread pool: ")


# Dump -----------------------------------------------------------------------------------------------------------------


def test_usr2_logs_counters_pools_and_stacks_and_nobody_notices(app: Path) -> None:
    arguments = ("app", "app:other", "--database", "sqlite:///x.db")
    with PythonProcess(*SERVE, *arguments, cwd=app) as process, Device(address_of(process)) as device:
        device.send(b"hello")
        device.recv()
        device.send(b"slow")
        process.signal(signal.SIGUSR2)
        process.wait_for_line("dump of the threads")
        process.wait_for_line("threading.py")
        dump = process.output
        assert re.search(r"dump of <Server echo on tcp://127\.0\.0\.1:\d+, running>", dump)
        assert re.search(r"dump of <Server other on ", dump)
        assert re.search(r"connections 1, ", dump)
        assert "database: " in dump
        with Device(address_of(process, 1)) as other:
            other.send(b"hello")
            assert other.recv() == b"hello"


def test_usr2_works_without_the_command_as_well() -> None:
    code = (
        "from mooring import Server\n"
        "import logging; logging.basicConfig()\n"
        "Server(lambda connection, message: message, bind='tcp://127.0.0.1:0').run()\n"
    )
    with PythonProcess("-c", code) as process:
        address_of(process)
        process.signal(signal.SIGUSR2)
        process.wait_for_line("dump of the threads")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


# systemd --------------------------------------------------------------------------------------------------------------


class Manager:
    """Hears what a service tells: one end of $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(40)
        self.socket.bind(address)
        self.heard: list[str] = []

    def wait_for(self, part: str) -> str:
        while True:
            text = self.socket.recv(4096).decode()
            self.heard.append(text)
            if part in text:
                return text


@pytest.fixture
def manager(folder: Path) -> Iterator[Manager]:
    made = Manager(str(folder / "notify"))
    try:
        yield made
    finally:
        made.socket.close()


def test_systemd_is_told_when_it_is_ready_reloads_lives_and_stops(app: Path, manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": str(app / "notify"), "WATCHDOG_USEC": "1000000"}
    with PythonProcess(*SERVE, "app", "--drain-timeout", "5s", cwd=app, env=env) as process:
        ready = manager.wait_for("READY=1")
        assert ready.splitlines()[1] == f"STATUS=0 connections on {address_of(process)}"
        manager.wait_for("WATCHDOG=1")
        manager.wait_for("WATCHDOG=1")
        process.signal(signal.SIGHUP)
        reloading = manager.wait_for("RELOADING=1").splitlines()
        assert re.fullmatch(r"MONOTONIC_USEC=\d+", reloading[1])
        manager.wait_for("READY=1")
        process.signal(signal.SIGTERM)
        assert manager.wait_for("STOPPING=1").splitlines()[1:] == ["STATUS=draining", "EXTEND_TIMEOUT_USEC=15000000"]
        assert process.wait() == 0


def test_the_watchdog_is_not_fed_while_the_loop_is_stuck(app: Path, manager: Manager) -> None:
    (app / "stuck.py").write_text(
        "import time\nfrom mooring import Server\nfrom mooring.cli import systemd\n"
        "systemd.OLDEST_LOOP = 1.5\n"
        "def stuck(connection, message):\n"
        "    print('stuck', flush=True)\n"
        "    time.sleep(1000)\n"
        "server = Server(stuck, bind='tcp://127.0.0.1:0', model='epoll')\n"
    )
    env = {"NOTIFY_SOCKET": str(app / "notify"), "WATCHDOG_USEC": "200000"}
    with PythonProcess(*SERVE, "stuck", cwd=app, env=env) as process, Device(address_of(process)) as device:
        manager.wait_for("WATCHDOG=1")
        device.send(b"x")
        process.wait_for_line("stuck")
        manager.socket.settimeout(3)
        with pytest.raises(TimeoutError):
            while True:
                manager.socket.recv(4096)


def test_an_abstract_socket_is_told_too_and_one_that_is_gone_costs_a_line(app: Path) -> None:
    name = f"mooring-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    try:
        with PythonProcess(*SERVE, "app", cwd=app, env={"NOTIFY_SOCKET": f"@{name}"}) as process:
            manager.wait_for("READY=1")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
    finally:
        manager.socket.close()
    with PythonProcess(*SERVE, "app", cwd=app, env={"NOTIFY_SOCKET": "/no/such/socket"}) as process:
        process.wait_for_line("the service manager was not told READY=1")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


ACTIVATE = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
for number in range(int(os.environ["LISTEN_FDS"])):
    os.dup2(100 + number, 3 + number)
os.execv(sys.executable, [sys.executable, "-W", "error", *sys.argv[1:]])
"""


@contextlib.contextmanager
def activated(sockets: list[socket.socket], *arguments: str, names: str = "", cwd: Path) -> Iterator[PythonProcess]:
    """A process that inherits these sockets from 3 on, as systemd hands them over."""
    copies = []
    try:
        for number, sock in enumerate(sockets):
            os.dup2(sock.fileno(), 100 + number, inheritable=True)
            copies.append(100 + number)
        env = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
        with PythonProcess("-c", ACTIVATE, *arguments, cwd=cwd, env=env, pass_fds=copies) as process:
            yield process
    finally:
        for copy in copies:
            os.close(copy)


def test_sockets_that_systemd_opened_are_listened_on_and_outlive_the_server(app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(app / "s"))
        local.listen()
        address = f"tcp://127.0.0.1:{opened.getsockname()[1]}"
        for _ in range(2):  # the second one stands for a restart
            with activated([opened, local], *SERVE, "app", cwd=app) as process:
                assert [address_of(process, 0), address_of(process, 1)] == [address, f"unix:{app}/s"]
                for one in (address, f"unix:{app}/s"):
                    with Device(one) as device:
                        device.send(b"hello")
                        assert device.recv() == b"hello"
                process.signal(signal.SIGTERM)
                assert process.wait() == 0
            assert (app / "s").exists()
            Device(address).close()  # waits in the socket for the next one


def test_of_several_servers_each_gets_the_socket_of_its_name(app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [sock.getsockname()[1] for sock in (second, first)]
        with activated([first, second], *SERVE, "app", "app:other", names="other:echo", cwd=app) as process:
            assert [address_of(process, 0), address_of(process, 1)] == [f"tcp://127.0.0.1:{port}" for port in ports]
        with activated([first], *SERVE, "app", "app:other", names="nobody", cwd=app) as process:
            assert process.wait() == 3
            assert "fd://3 is called 'nobody', and the servers are 'echo', 'other'" in process.output


def test_a_descriptor_that_is_no_listening_socket_is_refused(app: Path) -> None:
    for bind, part in (
        ("fd://99", "bad file descriptor; was it inherited?"),
        ("fd://0", "socket operation"),
    ):
        with PythonProcess(*SERVE, "app", "--bind", bind, cwd=app) as process:
            assert process.wait() == 3
            assert re.search(f"listen on {bind}: .*({part})", process.output)
    with PythonProcess(*SERVE, "app", "--bind", "fd://x", cwd=app) as process:
        assert process.wait() == 2
        assert "write the number of an inherited descriptor" in process.output


def test_the_unit_names_what_the_command_knows() -> None:
    unit = (Path(__file__).parents[2] / "deploy" / "mooring.service").read_text()
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    assert settings["Type"] == "notify"
    assert "mooring serve --config /etc/mooring/mooring.toml" in settings["ExecStart"]
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert settings["RestartPreventExitStatus"].split() == ["2", "4", "78"]
