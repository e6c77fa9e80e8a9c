"""``mooring bench admin``: what devices pay for somebody who looks at the dashboard, while thousands are connected."""

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
from ..process import free_port
from ..redis_benchmark import RedisBenchmark
from ..session import Session
from .idle import require_all

BENCHMARK: Final = "admin"
UNWATCHED: Final = mooring("no admin side", "watched")
WATCHED: Final = mooring("dashboard open", "watched")
NEEDED: Final = (Package("starlette", "starlette"), Package("uvicorn", "uvicorn"))
PING_CASE: Final = "PING beside idle connections"
SCRAPE_CASE: Final = "scrape of /metrics"
CPU: Final = "CPU per request"
P99: Final = "p99"
MEDIAN: Final = "median"
SCRAPES: Final = 20
START_TIME: Final = 30.0
END_TIME: Final = 60.0


def measure(session: Session) -> None:
    """CPU for each PING and its latency with an admin side that is looked at and without one, in pairs."""
    if all(session.has(package, "bench admin") for package in (REDIS_BENCHMARK, *NEEDED)):
        session.rounds("admin", [UNWATCHED, WATCHED], _one(session))


def _one(session: Session) -> Callable[[Contender], str]:
    settings = session.settings
    load = RedisBenchmark(session.cores.load, settings.callers, settings.window)

    def measure_one(contender: Contender) -> str:
        port = free_port() if contender is WATCHED else None
        place = f"127.0.0.1:{port}" if port is not None else "off"
        with session.start(contender, place) as server:
            with hold(session, server, settings.idle_connections) as held, _looked_at(session, port) as told:
                time.sleep(settings.warm_up)
                pings = load.run(server, 1)
        require_all(server, held)
        keep = session.keep(BENCHMARK, PING_CASE, contender.name)
        keep(CPU, "us", pings.cpu * 1e6)
        keep(P99, "ms", pings.p99 * 1e3)
        keep("throughput", "1/s", pings.rate)
        if told:
            keep = session.keep(BENCHMARK, SCRAPE_CASE, contender.name)
            keep(MEDIAN, "ms", told["scrape"] * 1e3)
            keep("longest of 20", "ms", told["most"] * 1e3)
        return f"{pings.cpu * 1e6:.2f} us CPU, p99 {pings.p99 * 1e3:.2f} ms"

    return measure_one


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


GOALS: Final = (
    Goal("CPU per PING, dashboard open, to no admin side", _of(WATCHED, CPU), _of(UNWATCHED, CPU), 1.03),
    Goal("p99 of PING, dashboard open, to no admin side", _of(WATCHED, P99), _of(UNWATCHED, P99), 2.0),
    Goal("a scrape of /metrics, ms", (BENCHMARK, SCRAPE_CASE, WATCHED.name, MEDIAN), None, 10.0),
)
