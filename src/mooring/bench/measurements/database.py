"""``mooring bench database``: what a pool costs and how fair it is, beside the pools of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from ..goals import Goal
from ..histogram import Histogram
from ..pools import (
    BARE,
    CONNECTOR,
    FAIR,
    MOORING,
    PACKAGES,
    SQLALCHEMY,
    Lender,
    connector_is_compiled,
    fair_lender,
    lenders,
    lenders_without_database,
)
from ..private_database import PrivateDatabase
from ..session import Session

BENCHMARK: Final = "database"
COST_CASE: Final = "borrow and return, no database, 1 thread"
HELD_CASE: Final = "32 threads on 8 connections, held for 1 ms"
CHURN_CASE: Final = "32 threads on 8 connections, held for 0"
QUERY_CASE: Final = "borrow, SELECT 1, return, over a Unix socket"
CPU_COST: Final = "time"
RATE: Final = "loans"
P99: Final = "p99 wait"
P99_OF_LOANS: Final = "p99 of loans"
UNEVEN: Final = "longest wait to mean"
NO_POOL: Final = "8 threads without a pool"
THREADS: Final = 32
SIZE: Final = 8
HOLD: Final = 0.001
Maker = Callable[[], Lender]


def measure(session: Session) -> None:
    """Cost of a loan, waiting for one, and a query; each round has all pools in it."""
    makers = _available(session, lenders_without_database(SIZE))
    _by_turns(session, COST_CASE, makers, lambda lender: lender.pass_through)
    others = {NO_POOL: _no_pool, FAIR: lambda: fair_lender(SIZE)}
    _rounds(session, HELD_CASE, {**others, **makers}, lambda s, lender: _contend(s, lender, HELD_CASE, HOLD))
    _rounds(session, CHURN_CASE, makers, lambda s, lender: _contend(s, lender, CHURN_CASE, 0.0))
    missing = PrivateDatabase.missing()
    if missing:
        session.leave_out(QUERY_CASE, f"not installed: {missing}")
        return
    with PrivateDatabase() as database:
        makers = _available(session, lenders(database.socket_url, SIZE))
        if CONNECTOR in makers:
            session.results.about["mysql-connector"] = (
                "with its C part" if connector_is_compiled() else "without its C part"
            )
        _by_turns(session, QUERY_CASE, makers, lambda lender: lender.ask)


def _available(session: Session, makers: dict[str, Maker]) -> dict[str, Maker]:
    return {name: maker for name, maker in makers.items() if name not in PACKAGES or session.has(PACKAGES[name], name)}


def _rounds(
    session: Session, case: str, makers: dict[str, Maker], measure_one: Callable[[Session, Lender], str]
) -> None:
    names = list(makers)
    for number in range(1, session.settings.rounds + 1):
        for name in names[:: 1 if number % 2 else -1]:
            lender = makers[name]()
            try:
                said = measure_one(session, lender)
            finally:
                lender.close()
            session.report(f"{case}, round {number} of {session.settings.rounds}: {name}: {said}")


def _no_pool() -> Lender:
    return Lender(NO_POOL, lambda: None, lambda _: None, lambda: None)


def _by_turns(
    session: Session, case: str, makers: dict[str, Maker], action: Callable[[Lender], Callable[[], object]]
) -> None:
    """What one call costs; the pools take turns of some milliseconds, so that a busy machine is busy for all of them.

    Kept is the fastest tenth of the turns of a round.
    """
    made = [make() for make in makers.values()]
    try:
        for number in range(1, session.settings.rounds + 1):
            turns: dict[str, list[float]] = {lender.name: [] for lender in made}
            end = time.perf_counter() + session.settings.window * len(made)
            while time.perf_counter() < end:
                made.reverse()
                for lender in made:
                    turns[lender.name].append(_seconds_per_call(action(lender)))
            for name, times in turns.items():
                cost = sorted(times)[len(times) // 10] * 1e6
                session.keep(BENCHMARK, case, name)(CPU_COST, "us", cost)
                session.report(f"{case}, round {number} of {session.settings.rounds}: {name}: {cost:.2f} us")
    finally:
        for lender in made:
            lender.close()


def _seconds_per_call(function: Callable[[], object]) -> float:
    function()  # what the turn of another one has driven out of the caches comes back
    begun = time.perf_counter()
    for _ in range(100):
        function()
    return (time.perf_counter() - begun) / 100


def _contend(session: Session, lender: Lender, case: str, hold: float) -> str:
    """Borrowers beside each other; without a pool as many as there would be connections: what can be reached."""
    stop = threading.Event()
    waits: list[list[int]] = []

    def work(mine: list[int]) -> None:
        while not stop.is_set():
            begun = time.perf_counter_ns()
            connection = lender.borrow()
            mine.append(time.perf_counter_ns() - begun)
            if hold:
                time.sleep(hold)
            lender.give_back(connection)

    count = SIZE if lender.name == NO_POOL else THREADS
    waits = [[] for _ in range(count)]
    threads = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in waits]
    for thread in threads:
        thread.start()
    time.sleep(session.settings.warm_up)
    before, begun = [len(mine) for mine in waits], time.monotonic()
    time.sleep(session.settings.window)
    after, seconds = [len(mine) for mine in waits], time.monotonic() - begun
    stop.set()
    for thread in threads:
        thread.join()
    # Those who still waited when the window closed have waited, too; a pool that starves them shows it there.
    counted = [wait for mine, first in zip(waits, before, strict=True) for wait in mine[first:]]
    return _keep(session, lender, case, counted, (sum(after) - sum(before)) / seconds)


def as_asked(waits: list[int], interval: int) -> list[int]:
    """The waits that callers would have had who ask once in each ``interval``, whether or not they have been served.

    Callers who wait ask for nothing meanwhile, so that in a closed loop one who starves counts once, beside the
    thousands of loans of those who made it starve ("coordinated omission"). A wait of ten intervals stands for ten
    callers: the first waited for all of it, the last one for a tenth. See recordValueWithExpectedInterval of
    http://hdrhistogram.org/.
    """
    return [left for wait in waits for left in (wait, *range(wait - interval, interval - 1, -interval))]


def _keep(session: Session, lender: Lender, case: str, waits: list[int], rate: float) -> str:
    # Each thread would borrow once in 4 ms if all connections were lent all the time.
    interval = round(1e9 * THREADS / SIZE * HOLD)
    histogram = Histogram(as_asked(waits, interval))
    keep = session.keep(BENCHMARK, case, lender.name)
    keep(RATE, "1/s", rate)
    if lender.name != NO_POOL:
        mean = sum(waits) / max(1, len(waits))
        keep(P99, "ms", histogram.percentile(99) / 1e6)
        keep(P99_OF_LOANS, "ms", Histogram(waits).percentile(99) / 1e6)
        keep("longest wait", "ms", histogram.longest / 1e6)
        keep(UNEVEN, "", histogram.longest / max(1.0, mean))
    return f"{rate:,.0f}/s, p99 {histogram.percentile(99) / 1e6:.2f} ms"


GOALS: Final = (
    Goal(
        "borrow and return to SQLAlchemy",
        (BENCHMARK, COST_CASE, MOORING, CPU_COST),
        (BENCHMARK, COST_CASE, SQLALCHEMY, CPU_COST),
        0.5,
    ),
    Goal(
        "held for 1 ms: loans to what is possible",
        (BENCHMARK, HELD_CASE, MOORING, RATE),
        (BENCHMARK, HELD_CASE, NO_POOL, RATE),
        0.95,
        at_least=True,
    ),
    Goal(
        "held for 1 ms: p99 wait to SQLAlchemy",
        (BENCHMARK, HELD_CASE, MOORING, P99),
        (BENCHMARK, HELD_CASE, SQLALCHEMY, P99),
        0.5,
    ),
    Goal("held for 1 ms: longest wait to mean", (BENCHMARK, HELD_CASE, MOORING, UNEVEN), None, 3.0),
    Goal(
        "SELECT 1 to the bare driver",
        (BENCHMARK, QUERY_CASE, MOORING, CPU_COST),
        (BENCHMARK, QUERY_CASE, BARE, CPU_COST),
        1.1,
    ),
)
