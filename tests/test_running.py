"""A server as the main work of a process: signals, exit codes, forks. Each in a process of its own."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from processes import PythonProcess

from mooring import Client, ConnectionClosed
from mooring.running import run_until_signal

BEGIN = """
import logging, os, signal, sys, threading, time
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from mooring import Client, ConnectionHandler, Server, run
from mooring.running import run_until_signal
from mooring.threads import ThreadPool

def echo(connection, message):
    return message

def started(*servers):
    def say():
        for server in servers:
            print("port", server.port, flush=True)
    return say
"""


def program(code: str) -> PythonProcess:
    return PythonProcess("-c", BEGIN + code)


def port_of(process: PythonProcess) -> int:
    return int(process.wait_for_line("port ").split()[1])


def connect(port: int) -> Client:
    return Client(f"tcp://127.0.0.1:{port}", timeout=15)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_exit_code_is_0(number: signal.Signals) -> None:
    code = """
def handler(connection, message):
    print("begun", flush=True)
    time.sleep(0.3)
    return message
Server(handler, bind="tcp://127.0.0.1:0").run()
print("after run", flush=True)
"""
    with program(code) as process:
        port = int(process.wait_for_line("listening").split(":")[2].split()[0])
        assert "stop" in process.wait_for_line("stop ")
        with connect(port) as client:
            client.send(b"served to the end")
            process.wait_for_line("begun")
            process.signal(number)
            assert list(client) == [b"served to the end"]
        assert process.wait() == 0
        assert "draining; a second one stops at once" in process.output
        assert process.output.endswith("after run\n")


STUCK = """
def handler(connection, message):
    print("begun", flush=True)
    time.sleep(1000)
"""


def test_a_second_signal_ends_the_process_at_once() -> None:
    with program(STUCK + 'Server(handler, bind="tcp://127.0.0.1:0").run()') as process:
        port = int(process.wait_for_line("listening").split(":")[2].split()[0])
        with connect(port) as client:
            client.send(b"x")
            process.wait_for_line("begun")
            process.signal(signal.SIGTERM)
            process.wait_for_line("draining")
            process.signal(signal.SIGTERM)
            assert process.wait(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "options",
    [
        "",
        "blocking=True",
        "blocking=True, threads=1",
        "model='epoll'",
        "model='threads'",
    ],
)
def test_a_stuck_handler_cannot_keep_the_process_alive(options: str) -> None:
    code = f"""
import mooring.server.drain
mooring.server.drain.FORCED_END = 0.3
server = Server(handler, bind="tcp://127.0.0.1:0", {options})
run_until_signal([server], started(server), stop_timeout=0.3)
"""
    with program(STUCK + code) as process, connect(port_of(process)) as client, connect(port_of(process)) as other:
        client.send(b"x")
        process.wait_for_line("begun")
        other.send(b"waits behind it, or is stuck, too")
        process.signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert "in handler" in process.output  # its stack


def test_a_signal_while_the_server_starts_ends_it() -> None:
    code = """
import contextlib
@contextlib.contextmanager
def lifespan(server):
    print("entered", flush=True)
    time.sleep(1000)
    yield
Server(echo, bind="tcp://127.0.0.1:0", lifespan=lifespan).run()
"""
    with program(code) as process:
        process.wait_for_line("entered")
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "SIGTERM: ended while it was starting" in process.output


def test_an_error_of_the_loop_ends_the_process_with_code_1_and_a_message() -> None:
    code = """
def handler(connection, message):
    def fail():
        raise ZeroDivisionError("injected")
    connection.server._loop.post(fail)
server = Server(handler, bind="tcp://127.0.0.1:0")
run_until_signal([server], started(server))
"""
    with program(code) as process:
        with connect(port_of(process)) as client:
            client.send(b"x")
            with pytest.raises((ConnectionClosed, ConnectionResetError)):
                client.recv()
        assert process.wait() == 1
        assert "the loop failed; the server stops" in process.output
        assert "the server stopped because its loop failed: ZeroDivisionError('injected')" in process.output


def test_an_address_that_is_taken_ends_the_process_with_code_1_and_the_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with program(f'Server(echo, bind="tcp://127.0.0.1:{taken.getsockname()[1]}").run()') as process:
            assert process.wait() == 1
            assert "address already in use; choose another port with --bind" in process.output


def test_several_servers_share_one_banner_and_one_drain() -> None:
    code = """
first = Server(echo, bind="tcp://127.0.0.1:0", name="first")
second = Server(echo, bind="tcp://127.0.0.1:0", name="second", model="epoll")
run(first, second)
print(first.state, second.state)
"""
    with program(code) as process:
        process.wait_for_line("stop ")
        listening = [line for line in process.output.splitlines() if line.startswith("listening")]
        for line in listening:
            with connect(int(line.split(":")[2].split()[0])) as client:
                client.send(b"x")
                assert client.recv() == b"x"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert len(listening) == 2
        assert process.output.count("stop  ") == 1
        assert "stopped stopped" in process.output


def test_if_one_server_cannot_start_the_others_are_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = f"""
first = Server(echo, bind="tcp://127.0.0.1:0")
try:
    run(first, Server(echo, bind="tcp://127.0.0.1:{taken.getsockname()[1]}"))
except OSError as exc:
    print(first.state, exc)
"""
        with program(code) as process:
            assert process.wait() == 0
            assert "stopped listen on tcp://" in process.output


def test_a_server_that_is_stopped_otherwise_ends_run_and_the_signals_are_as_before() -> None:
    code = """
def handler(connection, message):
    connection.server.stop()
    return b"bye"
server = Server(handler, bind="tcp://127.0.0.1:0")
run_until_signal([server], started(server))
print("restored", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""
    with program(code) as process:
        with connect(port_of(process)) as client:
            client.send(b"x")
            assert list(client) == [b"bye"]
        assert process.wait() == 0
        assert "restored True" in process.output


@pytest.mark.parametrize(("before", "after"), [("0.005", "0.0005"), ("0.02", "0.02")])
def test_run_lets_threads_that_compute_hand_over_sooner_unless_somebody_has_decided(before: str, after: str) -> None:
    code = f"""
sys.setswitchinterval({before})
server = Server(echo, bind="tcp://127.0.0.1:0")
run_until_signal([server], lambda: print("interval %.4f." % sys.getswitchinterval(), flush=True))
"""
    with program(code) as process:
        assert process.wait_for_line("interval ") == f"interval {float(after):.4f}."


@pytest.mark.parametrize(("before", "after"), [("700", "10000"), ("2000", "10000"), ("800", "800")])
def test_run_spares_the_collector_what_was_there_at_the_start_and_returns_it_at_the_end(
    before: str, after: str
) -> None:
    code = f"""
import gc
gc.set_threshold({before}, *gc.get_threshold()[1:])
def say():
    print("collects after", gc.get_threshold()[0], "spared", gc.get_freeze_count() > 10_000)
    os.kill(os.getpid(), signal.SIGTERM)
run_until_signal([Server(echo, bind="tcp://127.0.0.1:0")], say)
print("at the end", gc.get_freeze_count())
"""
    with program(code) as process:
        assert process.wait() == 0
        assert f"collects after {after} spared True" in process.output
        assert "at the end 0" in process.output


def test_run_leaves_a_collector_alone_that_was_switched_off() -> None:
    code = """
import gc
gc.disable()
before = gc.get_freeze_count()  # CPython 3.12 has some of its own
def say():
    print("spared", gc.get_freeze_count() - before, gc.isenabled())
    os.kill(os.getpid(), signal.SIGTERM)
run_until_signal([Server(echo, bind="tcp://127.0.0.1:0")], say)
"""
    with program(code) as process:
        assert process.wait() == 0
        assert "spared 0 False" in process.output


def test_run_raises_the_limit_of_descriptors_first() -> None:
    code = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
def say():
    print("limit", resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
    print("room", server._loop.arrivals.max_connections == int(hard * 0.8))
    os.kill(os.getpid(), signal.SIGTERM)
server = Server(echo, bind="tcp://127.0.0.1:0")
run_until_signal([server], say)
"""
    with program(code) as process:
        assert process.wait() == 0
        assert "limit True" in process.output
        assert "room True" in process.output


def test_elsewhere_than_in_the_main_thread_it_says_what_to_use() -> None:
    complaints: list[str] = []

    def call(servers: Sequence[Any] = ()) -> None:
        try:
            run_until_signal(servers, lambda: None)
        except RuntimeError as exc:
            complaints.append(str(exc))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "elsewhere use start() and stop()" in complaints[0]


# Forks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_a_forked_child_closes_the_descriptors_and_the_parents_clients_do_not_notice(model: str) -> None:
    code = f"""
server = Server(echo, bind="tcp://127.0.0.1:0", model="{model}")
server.start()
client = Client(server.addresses[0])
client.send(b"before")
client.recv()
(connection,) = server.connections
before = len(os.listdir("/proc/self/fd"))
pid = os.fork()
if not pid:
    client.socket.close()
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    left = [link for link in links if link.startswith(("socket", "anon_inode"))]
    complaints = []
    calls = [server.initialize, server.start, server.stop, server.serve_forever, server.wait_stopped,
             server.suspend_accepting, server.resume_accepting, lambda: server.handle_new_connection(None)]
    for call in calls:
        try:
            call()
        except RuntimeError as exc:
            complaints.append(str(exc))
    try:
        connection.send(b"from the child")
    except Exception as exc:
        complaints.append("send " + type(exc).__name__)
    os.write(1, f"left {{left}}\\ncomplaints {{len(complaints)}} of 9 {{set(complaints)}}\\n".encode())
    os._exit(0)
os.waitpid(pid, 0)
client.send(b"after")
print("parent", client.recv())
with Client(server.addresses[0]) as late:
    late.send(b"new")
    print("parent", late.recv())
client.close()
server.stop(5)
"""
    with program("import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + code) as process:
        assert process.wait() == 0
        output = process.output
        assert "left []" in output
        assert "complaints 9 of 9" in output
        assert "this server belongs to process" in output
        assert "send ConnectionClosed" in output
        assert "parent b'after'" in output
        assert "parent b'new'" in output


def test_a_child_that_was_forked_does_not_remove_the_socket_file(folder: Any) -> None:
    code = f"""
server = Server(echo, bind="unix:{folder}/x")
server.start()
pid = os.fork()
if not pid:
    sys.exit(0)
os.waitpid(pid, 0)
print("there", os.path.exists("{folder}/x"))
server.stop(5)
"""
    with program("import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + code) as process:
        assert process.wait() == 0
        assert "there True" in process.output
