"""A part of ``mooring bench faults``: a fleet whose gateway is killed and started again."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, Final

from ..contenders import INGEST_OURS
from ..goals import Goal
from ..private_database import PrivateDatabase
from ..process import ServerProcess, free_port
from ..pushing import TOKEN, MariaDBTables, Tables
from ..resources import cpu_seconds
from ..returning import PATIENCE
from ..session import Session

BENCHMARK: Final = "faults"
MOORING: Final = INGEST_OURS.name
LOGGED_IN: Final = "all logged in again"
SETTLED: Final = "all pushes acknowledged"
LOST: Final = "acknowledged and not stored"


def case(devices: int) -> str:
    """The name of the load."""
    return f"gateway killed, {devices:,} devices with tokens"


def measure(session: Session) -> None:
    """Each round on empty tables of a MariaDB of its own.

    Raises:
        ProcessFailed: not all devices came back.
    """
    missing = PrivateDatabase.missing()
    if missing:
        session.leave_out("relogin", f"not installed: {missing}")
        return
    devices = session.settings.idle_connections
    with PrivateDatabase(small=False) as database:
        for _ in range(session.settings.rounds):
            kill_and_start(session, MariaDBTables(database, devices), devices)


def kill_and_start(session: Session, tables: Tables, devices: int) -> None:
    """One round: all log in, the gateway is killed and started, all come back; seconds count from its start."""
    tables.renew()
    server = _start(session, tables, port := free_port())
    try:
        task = {"port": port, "devices": devices, "token": TOKEN}
        with session.program("returning", task, core=session.cores.load) as fleet:
            fleet.read_line(2 * PATIENCE)
            os.kill(server.pid, signal.SIGKILL)
            server.stop()
            begun = time.monotonic()
            server = _start(session, tables, port)
            said: dict[str, Any] = json.loads(fleet.read_line(2 * PATIENCE))
            used = cpu_seconds(server.pid)
            stored = tables.count()
    finally:
        server.stop()
    logged_in, settled = (said[name][-1] - begun for name in ("logins", "acknowledgements"))
    middle = said["acknowledgements"][devices // 2] - begun
    keep = session.keep(BENCHMARK, case(devices), MOORING)
    keep(LOGGED_IN, "s", logged_in)
    keep("half of the pushes acknowledged", "s", middle)
    keep(SETTLED, "s", settled)
    keep(LOST, "", devices - stored)
    keep("logins refused", "", said["counts"]["refused"])
    keep("connects timed out", "", said["counts"]["timed out"])
    keep("CPU of the gateway", "s", used)
    session.report(f"relogin: {devices:,} devices: in after {logged_in:.1f} s, acknowledged after {settled:.1f} s")


def goals(devices: int) -> tuple[Goal, ...]:
    """What is to hold of so many devices."""
    source = (BENCHMARK, case(devices), MOORING)
    return (
        Goal("killed: all logged in and acknowledged", (*source, SETTLED), None, 30.0),
        Goal("killed: acknowledged pushes that are not stored", (*source, LOST), None, 0),
    )


def _start(session: Session, tables: Tables, port: int) -> ServerProcess:
    return ServerProcess(INGEST_OURS.command(port, tables.url), port, session.cores.server)
