"""``mooring bench admin``: what devices pay for somebody who looks at the dashboard, while thousands are connected.

Each round is a pair, with the dashboard open and without an admin side, first one and then the other way round. A
machine that changes its pace from minute to minute changes it for both of a pair, so the median of the pairs' ratios
says more than the ratio of the two medians; both are printed. What the page costs by itself, on a server that has
nothing else to do, is measured before each load: that is exact, as nothing has to be subtracted.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from ..contenders import REDIS_BENCHMARK, Contender, Package, mooring
from ..goals import Goal
from ..holding import hold
from ..ours.watched import TOKEN
from ..process import ServerProcess, free_port
from ..redis_benchmark import RedisBenchmark
from ..resources import run_time
from ..session import Session
from .idle import require_all

BENCHMARK: Final = "admin"
UNWATCHED: Final = mooring("no admin side", "watched")
WATCHED: Final = mooring("dashboard open", "watched")
NEEDED: Final = (Package("starlette", "starlette"), Package("uvicorn", "uvicorn"))
PING_CASE: Final = "PING beside idle connections"
PAIRS_CASE: Final = "PING, dashboard open to no admin side, pair by pair"
QUIET_CASE: Final = "no load"
SCRAPE_CASE: Final = "scrape of /metrics"
CPU: Final = "CPU per request"
P99: Final = "p99"
QUIET_CPU: Final = "CPU"
MEDIAN: Final = "median"
SCRAPES: Final = 20
START_TIME: Final = 30.0
END_TIME: Final = 60.0


def measure(session: Session) -> None:
    """CPU for each PING and its latency with an admin side that is looked at and without one, in pairs."""
    if all(session.has(package, "bench admin") for package in (REDIS_BENCHMARK, *NEEDED)):
        session.rounds("admin", [UNWATCHED, WATCHED], _one(session))
        for measured in (CPU, P99):
            _compare_pairs(session, measured)


def _one(session: Session) -> Callable[[Contender], str]:
    settings = session.settings
    load = RedisBenchmark(session.cores.load, settings.callers, settings.window)

    def measure_one(contender: Contender) -> str:
        port = free_port() if contender is WATCHED else None
        place = f"127.0.0.1:{port}" if port is not None else "off"
        with session.start(contender, place) as server:
            with hold(session, server, settings.idle_connections) as held, _looked_at(session, port) as told:
                time.sleep(settings.warm_up)
                quiet = _share(server, settings.window)
                pings = load.run(server, 1)
        require_all(server, held)
        keep = session.keep(BENCHMARK, PING_CASE, contender.name)
        keep(CPU, "us", pings.cpu * 1e6)
        keep(P99, "ms", pings.p99 * 1e3)
        keep("throughput", "1/s", pings.rate)
        session.keep(BENCHMARK, QUIET_CASE, contender.name)(QUIET_CPU, "% of a core", quiet * 100)
        if told:
            keep = session.keep(BENCHMARK, SCRAPE_CASE, contender.name)
            keep(MEDIAN, "ms", told["scrape"] * 1e3)
            keep("longest of 20", "ms", told["most"] * 1e3)
        return f"{pings.cpu * 1e6:.2f} us CPU, p99 {pings.p99 * 1e3:.2f} ms; {quiet:.2%} of a core without load"

    return measure_one


def _share(server: ServerProcess, seconds: float) -> float:
    """The part of one core that a server uses; its connections are too young yet for a heartbeat."""
    before, begun = run_time(server.pid), time.monotonic()
    time.sleep(seconds)
    return (run_time(server.pid) - before) / (time.monotonic() - begun)


def _compare_pairs(session: Session, measured: str) -> None:
    """Keep the ratio of each pair whose second figure is not 0, as that of a very short window may be."""
    watched, unwatched = (session.results.find(*_of(one, measured)) for one in (WATCHED, UNWATCHED))
    keep = session.keep(BENCHMARK, PAIRS_CASE, WATCHED.name)
    if watched is not None and unwatched is not None:
        for one, other in zip(watched.values, unwatched.values, strict=False):
            if other:
                keep(measured, "x", one / other)


@contextlib.contextmanager
def _looked_at(session: Session, port: int | None) -> Iterator[dict[str, Any]]:
    """Have the dashboard open meanwhile; afterwards what its viewer tells is in the dictionary."""
    told: dict[str, Any] = {}
    if port is None:
        yield told
        return
    task = {"port": port, "token": TOKEN, "scrapes": SCRAPES if session.settings.window >= 1 else 2}
    with session.program("viewer", task, core=session.cores.load) as viewer:
        viewer.read_line(START_TIME)
        yield told
        viewer.close_input()
        told |= json.loads(viewer.read_line(END_TIME))


def _of(contender: Contender, measured: str) -> tuple[str, str, str, str]:
    return (BENCHMARK, PING_CASE, contender.name, measured)


def _of_pairs(measured: str) -> tuple[str, str, str, str]:
    return (BENCHMARK, PAIRS_CASE, WATCHED.name, measured)


GOALS: Final = (
    Goal("CPU per PING, dashboard open, to no admin side: median of the pairs", _of_pairs(CPU), None, 1.03),
    Goal("the same: ratio of the two medians", _of(WATCHED, CPU), _of(UNWATCHED, CPU), 1.03),
    Goal("p99 of PING, dashboard open, to no admin side: median of the pairs", _of_pairs(P99), None, 2.0),
    Goal("the same: ratio of the two medians", _of(WATCHED, P99), _of(UNWATCHED, P99), 2.0),
    Goal("a scrape of /metrics, ms", (BENCHMARK, SCRAPE_CASE, WATCHED.name, MEDIAN), None, 10.0),
)
