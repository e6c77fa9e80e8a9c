"""Devices that push to a server over a database: what they saw, and what the table holds afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from .contenders import Contender
from .private_database import PrivateDatabase
from .process import ProcessFailed
from .resources import resources
from .session import Session

TOKEN: Final = "the-token-of-all-devices-of-this-benchmark"  # noqa: S105 - it protects nothing
A_TIME: Final = "'2026-01-01 00:00:00.000'"
PATIENCE: Final = 90.0


@dataclass(frozen=True)
class Pushed:
    """One run.

    Args:
        rate: pushes per second that were acknowledged in the window; all of them were found in the table.
        p50, p99: seconds from sending to the acknowledgement.
        cpu: CPU seconds of the server for each of them.
        late: in an open loop, the 99th percentile of the seconds between when a push was due and when it was sent.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    late: float | None


class Tables(Protocol):
    """A database with the gateway's tables, the same for all, made anew for each run."""

    @property
    def url(self) -> str:
        """Where it is."""

    def renew(self) -> None:
        """Empty tables, made by the gateway's own migrations, and the devices in them.

        Raises:
            ProcessFailed: they cannot be made.
        """

    def count(self) -> int:
        """Rows that are stored."""


class MariaDBTables:
    """See Tables.

    Args:
        database: the server.
        devices: how many there are.
    """

    def __init__(self, database: PrivateDatabase, devices: int) -> None:
        self._database = database
        self._devices = devices
        self.url = database.url

    def renew(self) -> None:
        """See Tables."""
        self._database.query("DROP DATABASE bench")
        self._database.query("CREATE DATABASE bench")
        _migrate(self.url)
        self._database.query(f"INSERT INTO bench.devices {_devices(self._devices, 'UTC_TIMESTAMP()')}")

    def count(self) -> int:
        """See Tables."""
        return int(str(self._database.query("SELECT COUNT(*) FROM bench.pushes")[0][0]))


class SQLiteTables:
    """See Tables.

    Args:
        folder: for the file.
        devices: how many there are.
    """

    def __init__(self, folder: Path, devices: int) -> None:
        self._path = folder / "bench.db"
        self._devices = devices
        self.url = f"sqlite:///{self._path}"

    def renew(self) -> None:
        """See Tables."""
        for name in self._path.parent.glob(f"{self._path.name}*"):
            name.unlink()
        _migrate(self.url)
        self._query(f"INSERT INTO devices {_devices(self._devices, A_TIME)}")

    def count(self) -> int:
        """See Tables."""
        return int(self._query("SELECT COUNT(*) FROM pushes")[0][0])

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()


def _migrate(url: str) -> None:
    command = [sys.executable, "-m", "mooring", "database", "migrate", "--database", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ProcessFailed(f"{' '.join(command)}: {done.stderr[-2000:]}")


def _devices(count: int, now: str) -> str:
    token = hashlib.sha256(TOKEN.encode()).hexdigest()
    return "(name, token_hash, created_at) VALUES " + ",".join(
        f"('bench-{number}', X'{token}', {now})" for number in range(count)
    )


def push(session: Session, contender: Contender, tables: Tables, devices: int, load: dict[str, Any]) -> Pushed:
    """Have devices push to a server.

    Args:
        load: ``{"depth": …}``: so many pushes of each device on the way; or ``{"rate": …}``: so many per second.

    Raises:
        ProcessFailed: the server refused a push, or acknowledged one that is not in the table.
    """
    settings = session.settings
    tables.renew()
    with session.start(contender, tables.url) as server:
        task = {
            "port": server.port,
            "devices": devices,
            "token": TOKEN,
            "warm_up": settings.warm_up,
            "window": settings.window,
            **load,
        }
        with session.program("pusher", task, core=session.cores.load) as program:
            program.read_line(PATIENCE + settings.warm_up)
            before = resources(server.pid)
            said: dict[str, Any] = json.loads(program.read_line(PATIENCE + settings.window))
            after = resources(server.pid)
    stored = tables.count()
    if stored != said["acknowledged"]:
        raise ProcessFailed(f"{contender.name}: {said['acknowledged']} pushes were acknowledged, {stored} are stored")
    return Pushed(
        rate=said["count"] / said["seconds"],
        p50=said["p50"],
        p99=said["p99"],
        cpu=(after.cpu - before.cpu) / max(1, said["count"]),
        late=said.get("late"),
    )


def bare_driver(session: Session, contender: Contender, tables: Tables) -> float:
    """Rows per second that one connection of the driver stores by INSERTs of 500 rows."""
    tables.renew()
    script = contender.command(0)[:-1]
    command = [*script, tables.url, str(session.settings.window)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ProcessFailed(f"{contender.name}: {done.stderr[-2000:]}")
    return float(done.stdout)
