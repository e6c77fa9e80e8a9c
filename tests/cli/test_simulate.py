"""``mooring simulate`` against gateways that are killed, and against tables that lie."""

from __future__ import annotations

import re
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from mariadb import free_port
from processes import PythonProcess
from waiting import wait_until

from mooring import Heartbeat, Server
from mooring.gateway import server as make_gateway

WELCOME = b'{"op":"welcome","device":"x","v":1,"time":1,"heartbeat":30,"timeout":90,"last_seq":0,"max_message":65536}'


def serve(port: int, url: str) -> PythonProcess:
    return PythonProcess("-m", "mooring", "serve", "--bind", f"tcp://127.0.0.1:{port}", "--database", url)


def simulate(port: int, *arguments: str) -> PythonProcess:
    return PythonProcess("-m", "mooring", "simulate", "--server", f"tcp://127.0.0.1:{port}", *arguments)


def verified(output: str) -> dict[str, int]:
    """The counts of the last line."""
    line = next(line for line in output.splitlines() if line.startswith("verified: "))
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", line)}
    assert {"acknowledged", "stored", "missing", "altered", "doubled"} <= counts.keys()
    return counts


def test_devices_push_and_the_database_holds_it(folder: Path) -> None:
    url = f"sqlite:///{folder}/x.db"
    with make_gateway(database=url, bind="tcp://127.0.0.1:0") as gateway:
        for run in (1, 2):  # the second one goes on where the first one ended
            with simulate(
                gateway.port, "--devices", "20", "--rate", "20", "--duration", "2", "--verify", url
            ) as process:
                assert process.wait() == 0
                counts = verified(process.output)
                assert counts["acknowledged"] > 100
                assert counts["missing"] == counts["altered"] == counts["doubled"] == 0
            assert gateway.counters["new"] >= run * 100
        assert gateway.counters["conflict"] == gateway.counters["repeated"] == 0


def test_ctrl_c_ends_it_in_order_with_the_summary(folder: Path) -> None:
    url = f"sqlite:///{folder}/x.db"
    with make_gateway(database=url, bind="tcp://127.0.0.1:0") as gateway:
        with simulate(gateway.port, "--devices", "5", "--rate", "20", "--verify", url) as process:
            wait_until(lambda: gateway.counters["new"] >= 50)
            process.signal(signal.SIGINT)
            assert process.wait() == 0
            assert re.search(r"^\d+ pushed, \d+ acknowledged, 0 refused, 0 unanswered;", process.output, re.MULTILINE)
            assert verified(process.output)["missing"] == 0


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("DELETE FROM pushes WHERE seq = 3", "missing"),
        ("UPDATE pushes SET data = replace(data, ' ', '') WHERE seq = 3", "altered"),
        ("UPDATE pushes SET at = '1970-01-01 00:00:00.000' WHERE seq = 3", "altered"),
    ],
)
def test_a_table_that_lost_or_changed_something_fails_the_verification(folder: Path, sql: str, word: str) -> None:
    url = f"sqlite:///{folder}/x.db"
    with make_gateway(database=url, bind="tcp://127.0.0.1:0") as gateway:
        options = ("--devices", "1", "--rate", "20", "--verify", url)
        with simulate(gateway.port, *options) as process:
            wait_until(lambda: gateway.counters["new"] >= 10)
            database = sqlite3.connect(folder / "x.db")
            with database:
                database.execute(sql)
            database.close()
            process.signal(signal.SIGINT)
            assert process.wait() == 1
            assert verified(process.output)[word] == 1


def test_a_server_that_says_stored_and_stores_nothing_is_found_out(folder: Path) -> None:
    url = f"sqlite:///{folder}/x.db"
    with make_gateway(database=url, bind="tcp://127.0.0.1:0"):
        pass  # for the tables

    def liar(connection: object, message: bytes) -> bytes | None:
        if b"hello" in message:
            return WELCOME
        found = re.search(rb'"seq":(\d+)', message)
        return b'{"op":"ack","seq":%b}' % found[1] if found else None

    with Server(liar, bind="tcp://127.0.0.1:0") as server:
        options = ("--devices", "2", "--rate", "20", "--duration", "0.5", "--verify", url)
        with simulate(server.port, *options) as process:
            assert process.wait() == 1
            counts = verified(process.output)
            assert counts["missing"] == counts["acknowledged"] > 0


def test_nobody_there_is_said_and_is_a_failure() -> None:
    port = free_port()
    with simulate(port, "--devices", "2", "--duration", "0.3") as process:
        assert process.wait() == 1
        assert f"no push was acknowledged; tcp://127.0.0.1:{port}" in process.output


def test_devices_answer_pings(folder: Path) -> None:
    url = f"sqlite:///{folder}/x.db"
    heartbeat = Heartbeat(timeout=2.5, interval=0.1, message=b'{"op":"ping"}')
    with make_gateway(database=url, bind="tcp://127.0.0.1:0", heartbeat=heartbeat) as gateway:
        with simulate(gateway.port, "--devices", "3", "--rate", "0.2", "--duration", "5") as process:
            assert process.wait() == 0
            assert " 0 reconnects" in process.output
        assert gateway.stats().heartbeats > 3


def test_devices_send_again_what_was_not_available(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.db.sqlite.BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr("mooring.gateway.writers.QUEUE_TIMEOUT", 0.3)
    url = f"sqlite:///{folder}/x.db"
    with make_gateway(database=url, bind="tcp://127.0.0.1:0") as gateway:
        options = ("--devices", "5", "--rate", "20", "--duration", "3", "--verify", url)
        with simulate(gateway.port, *options) as process:
            wait_until(lambda: gateway.counters["new"])
            other = sqlite3.connect(folder / "x.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            wait_until(lambda: gateway.counters["unavailable"])
            other.execute("ROLLBACK")
            other.close()
            assert process.wait() == 0
            assert " 0 refused, 0 unanswered" in process.output
            assert " 0 times unavailable" not in process.output
            assert " 0 reconnects" in process.output
            assert verified(process.output)["missing"] == 0


def test_devices_come_back_after_a_restart_when_they_were_told_to(folder: Path) -> None:
    url, port = f"sqlite:///{folder}/x.db", free_port()
    address = f"tcp://127.0.0.1:{port}"
    with make_gateway(database=url, bind=address) as gateway:
        with simulate(port, "--devices", "5", "--rate", "20", "--duration", "3", "--verify", url) as process:
            wait_until(lambda: gateway.counters["new"] > 20)
            gateway.stop()
            with make_gateway(database=url, bind=address):
                assert process.wait() == 0
                assert " 5 reconnects" in process.output
                assert " 0 unanswered" in process.output
                assert verified(process.output)["missing"] == 0


def test_a_device_makes_64_pushes_without_an_answer_and_a_second_signal_ends_the_waiting() -> None:
    seen = threading.Event()

    def mute(connection: object, message: bytes) -> bytes | None:
        if b'"seq":64,' in message:
            seen.set()
        return WELCOME if b"hello" in message else None

    with Server(mute, bind="tcp://127.0.0.1:0") as server:
        with simulate(server.port, "--devices", "1", "--rate", "1000") as process:
            assert seen.wait(10)
            process.signal(signal.SIGINT)
            time.sleep(0.2)
            process.signal(signal.SIGINT)
            assert process.wait(5) == 1
            assert "64 pushed, 0 acknowledged, 0 refused, 64 unanswered" in process.output
