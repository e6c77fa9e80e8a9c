"""``mooring bench idle``: what connections cost that say nothing, and a server to which nobody is connected."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..contenders import PING, PINGING_THREADS, REDIS, Contender, mooring
from ..holding import Held, begin, finish, finish_opening, hold
from ..process import Process, ProcessFailed, ServerProcess
from ..resources import cpu_seconds, memory
from ..session import Session
from .memory import memory_per_connection

BENCHMARK: Final = "idle"
MOORING: Final = mooring("Mooring", "idle")
MEMORY_CASE: Final = "memory"
MEMORY: Final = "memory per connection"
BEATING_CASE: Final = "answering heartbeats"
NOBODY_CASE: Final = "nobody connected"
MANY_CASE: Final = "several processes"
CPU: Final = "CPU"
UNTIL_STEADY: Final = 1.2
"""Heartbeats after which all connections have had their first: then each beats once in an interval."""
KERNEL_MEMORY: Final = 15_000
"""Bytes for both ends of a connection in the kernel and both programs, rather too high."""


def measure(session: Session, *, peers: bool = True, many: bool = True) -> None:
    """Memory of a connection, CPU of many that beat, time to accept them, CPU of a server that is alone.

    Args:
        session: its settings say how many connections for how long.
        peers: whether the other servers' memory is measured, too.
        many: whether the most connections are tried, over several processes.
    """
    others = tuple(one for one in PING if not one.ours and one is not REDIS) if peers else ()
    measure_memory(session, (MOORING, *others))
    session.rounds("idle, heartbeats", [MOORING], _beating(session))
    session.rounds("idle, nobody connected", [MOORING], _nobody(session))
    if many and session.settings.many_connections:
        _many(session)


def measure_memory(session: Session, contenders: Sequence[Contender] = (MOORING,)) -> None:
    """The memory of a connection that has spoken once."""
    session.rounds("idle, memory", session.available(contenders), _memory(session))


def _memory(session: Session) -> Callable[[Contender], str]:
    settings = session.settings

    def measure_one(contender: Contender) -> str:
        count = settings.thread_memory if contender.name == PINGING_THREADS else settings.idle_memory
        with session.start(contender) as server:
            size = memory_per_connection(session, server, count)
        session.keep(BENCHMARK, MEMORY_CASE, contender.name)(MEMORY, "B", size)
        return f"{size:,.0f} B for each of {count:,} connections"

    return measure_one


def _beating(session: Session) -> Callable[[Contender], str]:
    settings = session.settings

    def measure_one(contender: Contender) -> str:
        with session.start(contender, f"{settings.heartbeat:g}") as server:
            with hold(session, server, settings.idle_connections) as held:
                time.sleep(settings.heartbeat * UNTIL_STEADY)
                share = cpu_share(server, settings.idle_window)
        require_all(server, held)
        keep = session.keep(BENCHMARK, BEATING_CASE, contender.name)
        keep(CPU, "% of a core", share * 100)
        keep("time to accept all", "s", held.seconds)
        keep("heartbeats answered", "", held.beats)
        return f"{share:.2%} of a core, {held.count:,} connections in {held.seconds:.2f} s, {held.beats:,} heartbeats"

    return measure_one


def _nobody(session: Session) -> Callable[[Contender], str]:
    def measure_one(contender: Contender) -> str:
        with session.start(contender) as server:
            time.sleep(session.settings.warm_up)
            share = cpu_share(server, session.settings.idle_window)
        session.keep(BENCHMARK, NOBODY_CASE, contender.name)(CPU, "% of a core", share * 100)
        return f"{share:.3%} of a core"

    return measure_one


def cpu_share(server: ServerProcess, seconds: float) -> float:
    """The part of one core that a server uses, over some seconds."""
    before, begun = cpu_seconds(server.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(server.pid) - before) / (time.monotonic() - begun)


def require_all(server: Process, held: Held) -> None:
    """Refuse a figure of which some of the connections are missing.

    Raises:
        ProcessFailed: some were lost.
    """
    if held.lost:
        raise server.failed(f"lost {held.lost:,} of {held.count:,} idle connections")


# Over several processes ---------------------------------------------------------------------------------------------


def _many(session: Session) -> None:
    """One attempt, not rounds: it shows that it can be done, and what it takes."""
    count = session.settings.many_connections
    wanted = count * KERNEL_MEMORY
    if available_memory() < wanted:
        session.leave_out(
            f"idle, {count:,} connections",
            f"needs {wanted >> 20:,} MiB of memory, {available_memory() >> 20:,} are free",
        )
        return
    try:
        with contextlib.ExitStack() as stack:
            _hold_many(session, stack, shares(count, session.settings.many_per_process))
    except ProcessFailed as exc:
        session.leave_out(f"idle, {count:,} connections", str(exc))


def _hold_many(session: Session, stack: contextlib.ExitStack, counts: list[int]) -> None:
    settings = session.settings
    servers = [stack.enter_context(MOORING.start(None, f"{settings.heartbeat:g}")) for _ in counts]
    before = sum(memory(server.pid) for server in servers)
    opening = time.monotonic()
    helds = [Held(count) for count in counts]
    programs = [
        stack.enter_context(begin(session, server, count, sum(counts[:number])))
        for number, (server, count) in enumerate(zip(servers, counts, strict=True))
    ]
    for program, held in zip(programs, helds, strict=True):
        finish_opening(program, held)
    seconds = time.monotonic() - opening
    grown = sum(memory(server.pid) for server in servers) - before
    time.sleep(settings.heartbeat * UNTIL_STEADY)
    used, looked = sum(cpu_seconds(server.pid) for server in servers), time.monotonic()
    time.sleep(settings.idle_window)
    share = (sum(cpu_seconds(server.pid) for server in servers) - used) / (time.monotonic() - looked)
    for server, program, held in zip(servers, programs, helds, strict=True):
        finish(program, held)
        require_all(server, held)
    keep = session.keep(BENCHMARK, f"{MANY_CASE} ({len(counts)})", "Mooring")
    keep("connections", "", sum(counts))
    keep("time to accept all", "s", seconds)
    keep(MEMORY, "B", grown / sum(counts))
    keep(CPU, "% of a core", share * 100)
    session.report(
        f"idle: {sum(counts):,} connections in {len(counts)} processes, open in {seconds:.1f} s, {share:.1%} of a core"
    )


def shares(count: int, most: int) -> list[int]:
    """A number in as few, nearly equal parts of at most ``most`` as possible."""
    parts = math.ceil(count / most)
    return [count // parts + (number < count % parts) for number in range(parts)]


def available_memory() -> int:
    """Bytes that programs can still have; see proc_meminfo(5)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
