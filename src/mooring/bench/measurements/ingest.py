"""``mooring bench ingest``: pushes that are acknowledged when they are stored, by ours and by others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ..contenders import (
    INGEST,
    INGEST_CHARTED,
    INGEST_DRIVER,
    INGEST_OURS,
    INGEST_PEERS,
    INGEST_SINGLE,
    INGEST_THREADS,
    Contender,
)
from ..courses import Course, Line
from ..goals import Goal, Source
from ..private_database import PrivateDatabase
from ..process import ProcessFailed
from ..pushing import MariaDBTables, SQLiteTables, Tables, bare_driver, push
from ..session import Session

BENCHMARK: Final = "ingest"
DEPTHS: Final = (1, 16)
DEVICES: Final = 64
PARTS: Final = ("sqlite", "mariadb", "courses")
CHARTED_DEPTHS: Final = (1, 4, 16, 64)
CONNECTIONS: Final = (16, 64, 256, 1024)
RATE: Final = "acknowledged"
P99: Final = "p99"
P99_AT_HALF: Final = "at half the peak rate"
P99_AT_THEIR_HALF: Final = "at half the peak rate of the best peer"
BEST: Final = "the best peer"
SQLITE_CASE: Final = "SQLite, "
DRIVER_CASE: Final = "one connection, no server"


def measure(session: Session, parts: Sequence[str] = ()) -> None:
    """Rate and latency at both depths and at half of what each reached; and over depth and connections.

    Args:
        parts: only these of ``PARTS``; all if there are none.
    """
    wanted = set(parts or PARTS)
    if "sqlite" in wanted:
        _measure_sqlite(session)
    missing = PrivateDatabase.missing()
    if missing:
        session.leave_out("bench ingest", f"not installed: {missing}")
        return
    with PrivateDatabase(small=False) as database:
        mariadb = MariaDBTables(database, max(CONNECTIONS))
        if "mariadb" in wanted:
            _measure_mariadb(session, mariadb, session.available(INGEST))
        if "courses" in wanted:
            _measure_courses(session, mariadb, session.available(INGEST_CHARTED))


def _measure_sqlite(session: Session) -> None:
    with tempfile.TemporaryDirectory(prefix="mooring-") as folder:
        tables = SQLiteTables(Path(folder), DEVICES)
        for depth in DEPTHS:
            one = _closed(session, tables, depth, SQLITE_CASE)
            session.rounds(f"ingest, SQLite, depth {depth}", [INGEST_OURS, INGEST_SINGLE], one)


def _measure_mariadb(session: Session, tables: Tables, contenders: Sequence[Contender]) -> None:
    session.rounds(DRIVER_CASE, [INGEST_DRIVER], _driver(session, tables))
    for depth in DEPTHS:
        session.rounds(f"ingest, depth {depth}", contenders, _closed(session, tables, depth))
    session.rounds("ingest, half the peak", contenders, _half(session, tables))
    _keep_best(session)
    session.rounds("ingest, half the peak of the best peer", [INGEST_OURS], _their_half(session, tables))


def _measure_courses(session: Session, tables: Tables, contenders: Sequence[Contender]) -> None:
    by_depth = {depth: (DEVICES, depth) for depth in CHARTED_DEPTHS}
    _keep_course(session, tables, contenders, "over depth", f"pushes on the way of each of {DEVICES} devices", by_depth)
    by_count = {count: (count, 1) for count in CONNECTIONS}
    _keep_course(session, tables, contenders, "over connections", "devices, each with one push on the way", by_count)


def _keep_course(
    session: Session,
    tables: Tables,
    contenders: Sequence[Contender],
    name: str,
    axis: str,
    loads: dict[int, tuple[int, int]],
) -> None:
    """Rate and latency over a number; one round is enough for the shape of a line.

    Args:
        loads: by that number, how many devices and at which depth.
    """
    rates: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contenders}
    times: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contenders}
    for x, (devices, depth) in loads.items():
        for one in contenders:
            head = f"ingest {name}, {devices} devices, depth {depth}: {one.name}"
            try:
                pushed = push(session, one, tables, devices, {"depth": depth})
            except ProcessFailed as exc:
                session.leave_out(head, str(exc))
                continue
            rates[one.name].append((x, pushed.rate))
            times[one.name].append((x, pushed.p99 * 1e3))
            session.report(f"{head}: {pushed.rate:,.0f}/s, p99 {pushed.p99 * 1e3:.1f} ms")
    lines = [Line("acknowledged pushes per second", points, label=who) for who, points in rates.items() if points]
    lines += [Line("p99 of the acknowledgement, ms", points, label=who) for who, points in times.items() if points]
    session.results.courses[BENCHMARK, name] = Course(BENCHMARK, name, lines, axis, doubles=True)


def case(depth: int) -> str:
    """The name of the load."""
    return f"{DEVICES} devices, depth {depth}"


def _driver(session: Session, tables: Tables) -> Callable[[Contender], str]:
    def measure_one(contender: Contender) -> str:
        rate = bare_driver(session, contender, tables)
        session.keep(BENCHMARK, DRIVER_CASE, contender.name)(RATE, "1/s", rate)
        return f"{rate:,.0f}/s"

    return measure_one


def _closed(session: Session, tables: Tables, depth: int, prefix: str = "") -> Callable[[Contender], str]:
    return lambda contender: _push(session, tables, contender, prefix + case(depth), {"depth": depth})


def _half(session: Session, tables: Tables) -> Callable[[Contender], str]:
    """An open loop at half the best rate that this contender has reached in this run."""

    def measure_one(contender: Contender) -> str:
        rates = [
            max(figure.values)
            for figure in session.results.figures()
            if figure.key.benchmark == BENCHMARK
            and figure.key.case in map(case, DEPTHS)
            and figure.key.contender == contender.name
            and figure.key.measure == RATE
        ]
        return _push(session, tables, contender, P99_AT_HALF, {"rate": max(rates, default=1000.0) / 2})

    return measure_one


def _their_half(session: Session, tables: Tables) -> Callable[[Contender], str]:
    """An open loop at the rate at which the best of the peers is at its half: the same work for all."""

    def measure_one(contender: Contender) -> str:
        figures = [session.results.find(BENCHMARK, case(depth), BEST, RATE) for depth in DEPTHS]
        best = max((figure.median for figure in figures if figure is not None), default=1000.0)
        return _push(session, tables, contender, P99_AT_THEIR_HALF, {"rate": best / 2})

    return measure_one


def _push(session: Session, tables: Tables, contender: Contender, name: str, load: dict[str, Any]) -> str:
    pushed = push(session, contender, tables, DEVICES, load)
    keep = session.keep(BENCHMARK, name, contender.name)
    keep("reached" if "rate" in load else RATE, "1/s", pushed.rate)
    keep("p50", "ms", pushed.p50 * 1e3)
    keep(P99, "ms", pushed.p99 * 1e3)
    keep("CPU per push", "us", pushed.cpu * 1e6)
    said = f"{pushed.rate:,.0f}/s, p99 {pushed.p99 * 1e3:.1f} ms, {pushed.cpu * 1e6:.0f} us CPU"
    if pushed.late is None:
        return said
    keep("sent late, p99", "ms", pushed.late * 1e3)
    return f"{said}, sent late p99 {pushed.late * 1e3:.1f} ms"


def _keep_best(session: Session) -> None:
    """What the best of the peers has reached, by its median: the reference of the goals."""
    for name, measured, unit, best in (
        *((case(depth), RATE, "1/s", max) for depth in DEPTHS),
        (P99_AT_HALF, P99, "ms", min),
    ):
        figures = [session.results.find(BENCHMARK, name, peer.name, measured) for peer in INGEST_PEERS]
        medians = [figure.median for figure in figures if figure is not None]
        if medians:
            session.keep(BENCHMARK, name, BEST)(measured, unit, best(medians))


def _rate(title: str, depth: int, reference: Source, limit: float, ours: Contender = INGEST_OURS) -> Goal:
    figure = (BENCHMARK, case(depth), ours.name, RATE)
    return Goal(f"{title}, depth {depth}", figure, reference, limit, at_least=True, hope=10 if limit == 8 else None)


GOALS: Final = (
    _rate("pushes to the best peer", 1, (BENCHMARK, case(1), BEST, RATE), 3),
    _rate("pushes to the best peer", 16, (BENCHMARK, case(16), BEST, RATE), 8),
    _rate("pushes to the bare driver", 16, (BENCHMARK, DRIVER_CASE, INGEST_DRIVER.name, RATE), 0.6),
    Goal(
        "p99 at half the peak to the best peer at its half",
        (BENCHMARK, P99_AT_HALF, INGEST_OURS.name, P99),
        (BENCHMARK, P99_AT_HALF, BEST, P99),
        1.0,
    ),
    *(
        _rate(
            "group commit off, to threads", depth, (BENCHMARK, case(depth), INGEST_THREADS.name, RATE), 1, INGEST_SINGLE
        )
        for depth in DEPTHS
    ),
)
