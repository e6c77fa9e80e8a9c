"""Processes of a measurement: what they used, and that they end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from mooring.bench.contenders import Contender, mooring
from mooring.bench.process import Process, ProcessFailed, ServerProcess, free_port, on_core
from mooring.bench.resources import cpu_seconds, descendants, resources, run_time

BURN = "import time, threading\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True); input()"
PARENT = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "import time; time.sleep(60)"
)


def python(code: str, core: int | None = None) -> Process:
    return Process([sys.executable, "-c", code], core, piped=True)


def exists(pid: int) -> bool:
    """Whether it runs; one that has ended and was not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_cpu_is_user_and_system_time_of_the_process() -> None:
    with python(BURN) as process:
        assert process.read_line(20) == "done"
        assert 0.28 <= cpu_seconds(process.pid) <= 5


def test_run_time_is_that_of_all_threads() -> None:
    code = (
        "import threading, time\n"
        "done = threading.Event()\n"
        "def burn():\n"
        "    while time.thread_time() < 0.2: pass\n"
        "    done.set(); threading.Event().wait()\n"
        "threading.Thread(target=burn, daemon=True).start()\n"
    )
    with python(code + "done.wait(); print(flush=True); input()") as process:
        process.read_line(20)
        assert 0.19 <= run_time(process.pid) <= 5


def test_threads_memory_and_switches_are_those_of_all_threads() -> None:
    code = "import threading\nfor _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    with python(code + "data = bytearray(30 << 20)\nprint(flush=True); input()") as process:
        process.read_line(20)
        used = resources(process.pid)
        assert used.threads == 4
        assert used.memory > 30 << 20
        assert used.switches > 0


def test_children_count_and_end_with_their_parent() -> None:
    with python(PARENT) as process:
        child = int(process.read_line(20))
        assert descendants(process.pid) == [child]
    wait_until(lambda: not exists(child))


def test_a_process_runs_on_the_core_it_is_given_and_we_stay_where_we_were() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with python("import os; print(os.sched_getaffinity(0), flush=True)", core) as process:
        assert process.read_line(20) == str({core})
    assert os.sched_getaffinity(0) == before
    with on_core(None):
        assert os.sched_getaffinity(0) == before


def test_a_process_that_takes_no_notice_of_a_polite_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.bench.process.STOP_TIMEOUT", 0.05)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with python(deaf) as process:
        process.read_line(20)
    assert not exists(process.pid)


def test_a_server_that_does_not_start_is_reported_with_what_it_wrote() -> None:
    with pytest.raises(ProcessFailed, match=r"ended before it listened(.|\n)*no port for you"):
        ServerProcess([sys.executable, "-c", "raise SystemExit('no port for you')"], free_port())


def test_a_server_that_never_listens_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.bench.process.START_TIMEOUT", 0.1)
    begin = time.monotonic()
    with pytest.raises(ProcessFailed, match="does not listen"):
        ServerProcess([sys.executable, "-c", "import time; time.sleep(60)"], free_port())
    assert time.monotonic() - begin < 30


def test_a_load_that_says_nothing_is_given_up() -> None:
    with python("input()") as process, pytest.raises(ProcessFailed, match=r"wrote nothing for 0\.1 s"):
        process.read_line(0.1)


def test_a_load_that_ends_instead_of_speaking_is_reported_with_its_error() -> None:
    with python("raise SystemExit('out of breath')") as process, pytest.raises(ProcessFailed, match="out of breath"):
        process.read_line(20)


def test_a_server_whose_port_was_taken_in_between_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def start(command: list[str], port: int, core: int | None) -> int:
        tried.append(port)
        if len(tried) == 1:
            raise ProcessFailed("address already in use")
        return port

    monkeypatch.setattr("mooring.bench.contenders.ServerProcess", start)
    assert mooring("Mooring", "ping").start(None) == tried[1]
    assert tried[0] != tried[1]


def test_redis_is_started_without_a_configuration_of_ours_but_for_its_files() -> None:
    command = Contender("redis-server").command(1234)
    assert command == ["redis-server", "--bind", "127.0.0.1", "--port", "1234", "--save", "", "--appendonly", "no"]
