"""``mooring bench peers``: the same PING on all servers, loaded by redis-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ..contenders import PING, REDIS_BENCHMARK, Contender
from ..redis_benchmark import RedisBenchmark
from ..session import Session

BENCHMARK: Final = "peers"
DEPTHS: Final = (1, 16)
CPU: Final = "CPU per request"


def measure(session: Session, contenders: Sequence[Contender] = PING) -> None:
    """CPU for each PING, throughput and latency, at both depths."""
    if not session.has(REDIS_BENCHMARK, "bench peers"):
        return
    taking_part = session.available(contenders)
    for depth in DEPTHS:
        session.rounds(f"peers, depth {depth}", taking_part, _one(session, depth))


def case(depth: int) -> str:
    """The name of the load."""
    return f"depth {depth}"


def _one(session: Session, depth: int) -> Callable[[Contender], str]:
    load = RedisBenchmark(session.cores.load, session.settings.callers, session.settings.window)

    def measure_one(contender: Contender) -> str:
        with session.start(contender) as server:
            pings = load.run(server, depth)
        keep = session.keep(BENCHMARK, case(depth), contender.name)
        keep(CPU, "us", pings.cpu * 1e6)
        keep("throughput", "1/s", pings.rate)
        keep("p50", "ms", pings.p50 * 1e3)
        keep("p99", "ms", pings.p99 * 1e3)
        keep("max", "ms", pings.longest * 1e3)
        return f"{pings.cpu * 1e6:.2f} us CPU, {pings.rate:,.0f}/s"

    return measure_one
