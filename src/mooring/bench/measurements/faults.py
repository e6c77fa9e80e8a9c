"""``mooring bench faults``: a database that restarts, that is away for a minute, and an hour of wear in two minutes."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ...db import MySQLConnectionPool
from ...errors import PoolError, PoolUnavailable
from ..goals import Goal
from ..pools import MOORING, PACKAGES, SQLALCHEMY, Lender, lenders
from ..private_database import PrivateDatabase
from ..resources import resources
from ..session import Session

BENCHMARK: Final = "faults"
RESTART_CASE: Final = "restart with 20 idle connections"
ABSENCE_CASE: Final = "away, 64 calling threads"
SOAK_CASE: Final = "soak"
FIRST_QUERY: Final = "first good query"
ERRORS: Final = "errors told to callers"
CPU: Final = "CPU"
ANSWER: Final = "slowest answer after 5 s"
RECOVERY: Final = "full service again"
GROWN_THREADS: Final = "threads more at the end"
GROWN_MEMORY: Final = "memory more at the end"
LOST: Final = "connections left on the server"
WRONG: Final = "counters that do not add up"
CALLERS: Final = 64
SHORTEST_ABSENCE = 8.0  # callers fail fast after five seconds of it
BEFORE_ABSENCE = 2.0
"""Seconds in which callers are served before the database goes away."""
_LOG: Final = logging.getLogger("mooring.db")


def measure(session: Session) -> None:
    """All three, on a MariaDB of its own."""
    missing = PrivateDatabase.missing()
    if missing:
        session.leave_out(BENCHMARK, f"not installed: {missing}")
        return
    before = _LOG.level
    _LOG.setLevel(logging.CRITICAL)  # what is broken here is broken on purpose
    try:
        with PrivateDatabase() as database:
            for _ in range(session.settings.rounds):
                _restart(session, database)
            _absence(session, database, min(60.0, max(SHORTEST_ABSENCE, 12 * session.settings.window)))
            _soak(session, database, min(120.0, 24 * session.settings.window))
    finally:
        _LOG.setLevel(before)


def _restart(session: Session, database: PrivateDatabase) -> None:
    makers = lenders(database.url, 20)
    for name in (MOORING, SQLALCHEMY):
        if name in PACKAGES and not session.has(PACKAGES[name], name):
            continue
        lender = makers[name]()
        with ThreadPoolExecutor(20) as executor:
            held = [lender.borrow() for _ in range(20)]
            for connection in held:
                lender.give_back(connection)
            database.stop()
            waiting = [executor.submit(_ask_until_answered, lender) for _ in range(20)]
            database.start()
            accepting = time.monotonic()
            answers = [future.result() for future in waiting]
        lender.close()
        keep = session.keep(BENCHMARK, RESTART_CASE, name)
        first = max(0.0, min(at for at, _ in answers) - accepting)
        keep(FIRST_QUERY, "s", first)
        keep("last of 20", "s", max(0.0, max(at for at, _ in answers) - accepting))
        keep(ERRORS, "", sum(errors for _, errors in answers))
        session.report(f"{RESTART_CASE}: {name}: {first:.3f} s")


def _ask_until_answered(lender: Lender) -> tuple[float, int]:
    """When the answer came, and how many errors before."""
    errors = 0
    while True:
        try:
            lender.ask()
        except Exception:  # noqa: BLE001 - whatever a pool tells its callers is counted
            errors += 1
            time.sleep(0.05)
        else:
            return time.monotonic(), errors


class _Callers:
    """Threads that ask about once in a second, as handlers do, and note what they are told and how fast."""

    def __init__(self, pool: MySQLConnectionPool) -> None:
        self._pool = pool
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        self.refused: list[tuple[float, float]] = []  # when, seconds
        self.without_cause = 0
        self.served: list[float] = []

    def __enter__(self) -> _Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while not self._stop.wait(random.uniform(0.5, 1.5)):
            begun = time.monotonic()
            try:
                with self._pool.connection() as lease:
                    lease.execute("SELECT 1").fetchall()
                self.served.append(time.monotonic())
            except (PoolError, self._pool.Error) as exc:
                self.refused.append((begun, time.monotonic() - begun))
                self.without_cause += isinstance(exc, PoolUnavailable) and exc.__cause__ is None


def _absence(session: Session, database: PrivateDatabase, seconds: float) -> None:
    with MySQLConnectionPool(database.url) as pool, _Callers(pool) as callers:
        time.sleep(BEFORE_ABSENCE)
        database.stop(signal.SIGKILL)
        gone = time.monotonic()
        settled = min(6.0, seconds / 2)
        time.sleep(settled)
        before, used, looked = resources(os.getpid()), time.process_time(), time.monotonic()
        time.sleep(seconds - settled)
        share = (time.process_time() - used) / (time.monotonic() - looked)
        after = resources(os.getpid())
        database.start()
        back = time.monotonic()
        while not any(at > back for at in callers.served):
            time.sleep(0.01)
        recovered = min(at for at in callers.served if at > back) - back
        late = [took for begun, took in callers.refused if gone + 5.5 < begun < back]
    keep = session.keep(BENCHMARK, ABSENCE_CASE, MOORING)
    keep(CPU, "% of a core", share * 100)
    keep(ANSWER, "ms", max(late, default=0.0) * 1e3)
    keep("answers without a cause", "", callers.without_cause)
    keep(GROWN_THREADS, "", after.threads - before.threads)
    keep(GROWN_MEMORY, "MiB", (after.memory - before.memory) / (1 << 20))
    keep(RECOVERY, "s", recovered)
    session.report(f"{ABSENCE_CASE}: {seconds:.0f} s: {share:.2%} of a core, back after {recovered:.1f} s")


def _soak(session: Session, database: PrivateDatabase, seconds: float) -> None:
    """Lives, idle times and keepalives of an hour in two minutes, and some connections killed."""
    options = {"max_lifetime": 4.0, "max_idle": 1.0, "keepalive_interval": 0.5, "ping_after": 0.2}
    pool = MySQLConnectionPool(database.url, min_size=2, max_size=8, **options)  # type: ignore[arg-type]
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(random.expovariate(20.0)):
            try:
                with pool.connection() as lease:
                    lease.execute("SELECT 1").fetchall()
            except pool.Error:
                pass  # killed

    threads = [threading.Thread(target=work, daemon=True) for _ in range(16)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, seconds / 10))
        for (number,) in database.query("SELECT id FROM information_schema.processlist WHERE user = 'bench' LIMIT 1"):
            _kill(database, number)
    stop.set()
    for thread in threads:
        thread.join()
    stats = pool.stats()
    sums = stats.dead + stats.broken + stats.expired + stats.evicted + stats.surplus + stats.unused + stats.shutdown
    wrong = (stats.total != stats.opened - stats.closed) + (stats.closed != sums) + (stats.active != 0)
    pool.close()
    time.sleep(0.2)
    ((left,),) = database.query("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'bench'")
    keep = session.keep(BENCHMARK, SOAK_CASE, MOORING)
    keep("loans", "", stats.acquired)
    keep("connections opened", "", stats.opened)
    keep(LOST, "", float(str(left)))
    keep(WRONG, "", wrong)
    session.report(f"{SOAK_CASE}: {stats.acquired:,} loans, {stats.opened:,} connections opened, {left} left over")


def _kill(database: PrivateDatabase, number: object) -> None:
    try:
        database.query(f"KILL {number}")
    except Exception:  # noqa: BLE001, S110 - it has gone by itself
        pass


def _goal(title: str, case: str, measure: str, limit: float) -> Goal:
    return Goal(title, (BENCHMARK, case, MOORING, measure), None, limit)


GOALS: Final = (
    _goal("restart: first good query", RESTART_CASE, FIRST_QUERY, 0.5),
    _goal("restart: errors told to callers who waited", RESTART_CASE, ERRORS, 0),
    _goal("away: CPU", ABSENCE_CASE, CPU, 2.0),
    _goal("away: slowest answer after 5 s", ABSENCE_CASE, ANSWER, 50.0),
    _goal("away: threads more at the end", ABSENCE_CASE, GROWN_THREADS, 0),
    _goal("away: memory more at the end", ABSENCE_CASE, GROWN_MEMORY, 1.0),
    _goal("away: full service again", ABSENCE_CASE, RECOVERY, 10.0),
    _goal("soak: connections left on the server", SOAK_CASE, LOST, 0),
    _goal("soak: counters that do not add up", SOAK_CASE, WRONG, 0),
)
