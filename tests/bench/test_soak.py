"""A soak of seconds: restarts, samples, and the comparison at its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from waiting import wait_until

from mooring.bench.measurements import soak
from mooring.bench.process import ProcessFailed
from mooring.bench.session import Session
from mooring.bench.soaking import Sample, Soak, Soaked


class SQLite:
    """Instead of a MariaDB."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/soak.db"

    def query(self, sql: str) -> list[tuple[object, ...]]:
        return [(0,)]


def test_a_soak_restarts_the_server_and_finds_all_that_was_acknowledged(session: Session, folder: Path) -> None:
    soaked = Soak(session, SQLite(folder), seconds=9.0, devices=10, push_interval=0.1).run()
    assert [number for _, number in soaked.restarts] == [signal.SIGTERM, signal.SIGKILL]
    assert soaked.verified["acknowledged"] > 0
    assert soaked.verified["missing"] == soaked.verified["altered"] == soaked.verified["doubled"] == 0
    assert {sample.life for sample in soaked.samples} == {0, 1, 2}
    soak._keep(session, "case", 10, soaked)
    lost = session.results.find(soak.BENCHMARK, "case", soak.MOORING.name, soak.LOST)
    assert lost is not None
    assert lost.median == 0
    assert all(line.points for line in soak.lines(soaked) if line.name.startswith(("resident", "descriptors")))


def test_a_server_that_ends_by_itself_ends_the_soak(session: Session, folder: Path) -> None:
    running = Soak(session, SQLite(folder), seconds=1.0, devices=1)
    server = running._start()
    with server:
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.running)
        with pytest.raises(ProcessFailed, match="ended by itself"):
            running._look(server, folder / "figures")


def line(elapsed: float, connected: int, acknowledged: int, p99: float = 0.01) -> dict[str, float]:
    return {"elapsed": elapsed, "connected": connected, "acknowledged": acknowledged, "p99": p99}


def test_growth_is_that_of_one_process_after_its_first_quarter() -> None:
    memories = [(0, 10), (0, 40), (0, 41), (0, 43), (1, 5), (1, 30), (1, 30), (1, 35)]
    soaked = Soaked(samples=[Sample(at, life, size, 1, 1, 1) for at, (life, size) in enumerate(memories)])
    assert soaked.growth() == 5


def test_a_return_is_from_the_restart_until_all_are_connected_again() -> None:
    fleet = [line(5, 10, 1), line(10, 10, 9), line(15, 10, 12), line(20, 3, 12), line(25, 10, 15), line(30, 10, 20)]
    soaked = Soaked(fleet=fleet, restarts=[(12.0, signal.SIGTERM)])
    assert soaked.returns() == [13.0]
    assert [one["elapsed"] for one in soaked.calm()] == [10, 15, 30]
