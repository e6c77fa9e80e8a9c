"""``mooring bench idle --tls`` and ``peers --tls``: ours beside asyncio, uvloop, and stunnel in front of ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from ..certificates import certificate
from ..contenders import CRYPTOGRAPHY, REDIS_BENCHMARK, TLS_PING, Contender
from ..holding import hold
from ..redis_benchmark import RedisBenchmark
from ..resources import cpu_seconds, memory
from ..session import Session

BENCHMARK: Final = "tls"
DEPTHS: Final = (1, 16)
CONNECTIONS: Final = 2000
"""Most connections over which memory is spread: their clients need as much again."""


def measure_peers(session: Session, contenders: Sequence[Contender] = TLS_PING) -> None:
    """CPU for each PING over TLS, throughput and latency, at both depths; loaded by redis-benchmark."""
    if not session.has(REDIS_BENCHMARK, "bench peers") or not session.has(CRYPTOGRAPHY, "bench peers"):
        return
    taking_part = session.available(contenders)
    with certificate() as files:
        for depth in DEPTHS:
            session.rounds(f"TLS, depth {depth}", taking_part, _pings(session, depth, files))


def measure_idle(session: Session, contenders: Sequence[Contender] = TLS_PING) -> None:
    """Memory of an idle connection, CPU of a handshake, handshakes a second of one client that makes one at a time."""
    if not session.has(CRYPTOGRAPHY, "bench idle"):
        return
    with certificate() as files:
        session.rounds("TLS, idle", session.available(contenders), _idle(session, files))


def _pings(session: Session, depth: int, files: tuple[str, str]) -> Callable[[Contender], str]:
    authority = files[0]
    load = RedisBenchmark(session.cores.load, session.settings.callers, session.settings.window, authority=authority)

    def measure_one(contender: Contender) -> str:
        with session.start(contender, *files) as server:
            pings = load.run(server, depth)
        keep = session.keep(BENCHMARK, f"depth {depth}", contender.name)
        keep("CPU per request", "us", pings.cpu * 1e6)
        keep("throughput", "1/s", pings.rate)
        keep("p50", "ms", pings.p50 * 1e3)
        keep("p99", "ms", pings.p99 * 1e3)
        return f"{pings.cpu * 1e6:.2f} us CPU, {pings.rate:,.0f}/s"

    return measure_one


def _idle(session: Session, files: tuple[str, str]) -> Callable[[Contender], str]:
    settings = session.settings
    count = min(settings.idle_memory, CONNECTIONS)

    def measure_one(contender: Contender) -> str:
        with session.start(contender, *files) as server:
            with hold(session, server, 1, authority=files[0]):
                time.sleep(settings.settle)
            before, cpu = memory(server.pid), cpu_seconds(server.pid)
            with hold(session, server, count, authority=files[0]) as held:
                cpu = (cpu_seconds(server.pid) - cpu) / count
                time.sleep(settings.settle)
                size = (memory(server.pid) - before) / count
        keep = session.keep(BENCHMARK, "idle", contender.name)
        keep("memory per connection", "B", size)
        keep("CPU per handshake", "ms", cpu * 1e3)
        keep("handshakes", "1/s", count / held.seconds)
        return f"{size:,.0f} B for each of {count:,} connections, {cpu * 1e3:.2f} ms CPU for each handshake"

    return measure_one
