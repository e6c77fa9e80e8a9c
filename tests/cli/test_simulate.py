"""``mooring simulate`` against gateways that are killed, and against tables that lie."""

from __future__ import annotations

import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from mariadb import DATABASE, MariaDB, free_port
from processes import PythonProcess
from waiting import wait_until

from mooring import Heartbeat, Server
from mooring.gateway import server as make_gateway

WELCOME = b'{"op":"welcome","device":"x","v":1,"time":1,"heartbeat":30,"timeout":90,"last_seq":0,"max_message":1}'


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
                gateway.port, "--devices", "20", "--rate", "20", "--duration", "1", "--verify", url
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
    heartbeat = Heartbeat(timeout=1.2, interval=0.1, message=b'{"op":"ping"}')
    with make_gateway(database=url, bind="tcp://127.0.0.1:0", heartbeat=heartbeat) as gateway:
        with simulate(gateway.port, "--devices", "3", "--rate", "0.5", "--duration", "3") as process:
            assert process.wait() == 0
            assert " 0 reconnects" in process.output
        assert gateway.stats().heartbeats > 3


def test_devices_send_again_what_was_not_available(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.db.sqlite.BUSY_TIMEOUT", 0.05)
    monkeypatch.setattr("mooring.gateway.writers.QUEUE_TIMEOUT", 0.3)
    url = f"sqlite:///{folder}/x.db"
    with make_gateway(database=url, bind="tcp://127.0.0.1:0") as gateway:
        options = ("--devices", "5", "--rate", "20", "--duration", "2", "--verify", url)
        with simulate(gateway.port, *options) as process:
            wait_until(lambda: gateway.counters["new"] > 20)
            other = sqlite3.connect(folder / "x.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            wait_until(lambda: gateway.counters["unavailable"] > 10)
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


# The kill tests: the server is killed twice, and MariaDB once, while a fleet pushes. They are the promise of the whole
# program: what was acknowledged is there, once, and as it was sent. A fault comes when so many pushes are stored, not
# after so many seconds, so that a slow machine takes longer and proves the same.

COUNT = "SELECT COUNT(*), COUNT(DISTINCT device_id) FROM pushes"
DEVICES = 200
STRETCH = 800
"""Pushes that are stored between two faults: two seconds' worth."""

Count = Callable[[], tuple[int, int]]
"""Returns how many pushes are stored, and of how many devices."""


@contextmanager
def fleet_at(url: str, count: Count) -> Iterator[Callable[[], None]]:
    """A fleet that pushes to a gateway; gives a function that kills the gateway and starts it again.

    At the end it is seen whether all that was acknowledged is there.
    """
    port = free_port()
    with ExitStack() as stack:

        def start() -> PythonProcess:
            server = stack.enter_context(serve(port, url))
            server.wait_for_line("listening")
            return server

        def restart() -> None:
            nonlocal server
            server.kill()
            time.sleep(0.3)  # so that devices meet a port where nobody listens
            server = start()

        server = start()
        options = ("--devices", str(DEVICES), "--rate", "2", "--verify", url)
        simulation = stack.enter_context(simulate(port, *options))
        await_pushes(count)
        wait_until(lambda: count()[1] == DEVICES)
        yield restart
        simulation.signal(signal.SIGINT)
        assert simulation.wait(60) == 0
        counts = verified(simulation.output)
        assert counts["missing"] == counts["altered"] == counts["doubled"] == 0
        assert counts["acknowledged"] >= 3 * STRETCH
        reconnects = re.search(r"(\d+) reconnects$", simulation.output.split("verified")[0].strip())
        assert reconnects is not None
        assert int(reconnects[1]) >= DEVICES  # each at least once: who waits to try again may miss the second server


def await_pushes(count: Count) -> None:
    """Return when another stretch of pushes has been stored."""
    before, _ = count()
    wait_until(lambda: count()[0] >= before + STRETCH, timeout=40)


@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_when_the_server_is_killed_twice(folder: Path) -> None:
    def count() -> tuple[int, int]:
        with closing(sqlite3.connect(folder / "x.db")) as database:
            return database.execute(COUNT).fetchone()

    with fleet_at(f"sqlite:///{folder}/x.db", count) as kill_and_restart:
        kill_and_restart()
        await_pushes(count)
        kill_and_restart()
        await_pushes(count)


@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_when_the_server_is_killed_twice_and_mariadb_once(own_mariadb: MariaDB) -> None:
    def count() -> tuple[int, int]:
        ((pushes, devices),) = own_mariadb.query(COUNT.replace("pushes", f"{DATABASE}.pushes"))
        return int(str(pushes)), int(str(devices))

    with fleet_at(own_mariadb.url(), count) as kill_and_restart:
        kill_and_restart()
        await_pushes(count)
        own_mariadb.kill()
        time.sleep(0.5)
        own_mariadb.start()
        await_pushes(count)
        kill_and_restart()
        await_pushes(count)
