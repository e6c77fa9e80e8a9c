"""``mooring bench mixed``: quick calls beside calls that wait or compute, and a handler that sleeps unexpectedly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

from ..contenders import COMPUTING, CPU_PEERS, MIXED_PEERS, SURPRISED_PEERS, WAITING, Contender
from ..loading import QUICK, Window, load, surprises
from ..session import Session

BENCHMARK: Final = "mixed"
WAITING_CASE: Final = "beside waiting"
COMPUTING_CASE: Final = "beside computing"
SURPRISE_CASE: Final = "surprise"
P99: Final = "fast p99"
P99_ALONE: Final = "fast p99 alone"
SLOW_RATE: Final = "slow calls"
LONGEST: Final = "longest wait"
COMPUTING_SECONDS: Final = 0.005
_SAMPLE: Final = 200_000


def measure_waiting(session: Session, contenders: Sequence[Contender] = (*WAITING, *MIXED_PEERS)) -> None:
    """Quick calls beside others whose handlers wait 5 ms; and the same quick calls alone."""
    taking_part = session.available(contenders)
    session.rounds("mixed", taking_part, _beside(session, WAITING_CASE, "SLOW\r\n"))


def measure_computing(session: Session, contenders: Sequence[Contender] = (*COMPUTING, *CPU_PEERS)) -> None:
    """The same beside others whose handlers compute for 5 ms."""
    taking_part = session.available(contenders)
    rounds = rounds_for(COMPUTING_SECONDS)
    session.results.about["mixed --cpu"] = f"5 ms are {rounds:,} rounds of an empty sum on this machine"
    session.rounds("mixed --cpu", taking_part, _beside(session, COMPUTING_CASE, f"CPU {rounds}\r\n"))


def measure_surprise(session: Session, contenders: Sequence[Contender] = (*COMPUTING, *SURPRISED_PEERS)) -> None:
    """The longest wait of all others while one quick route sleeps 100 ms, as the median of many times."""
    session.rounds("mixed, surprise", session.available(contenders), _surprise(session))


def rounds_for(seconds: float) -> int:
    """How often the computing handlers have to count, on this machine, for so long; every server does the same."""
    best = min(_count(_SAMPLE) for _ in range(5))
    return int(_SAMPLE * seconds / best)


def _count(rounds: int) -> float:
    begin = time.perf_counter()
    total = 0
    for number in range(rounds):
        total += number
    return time.perf_counter() - begin


def _beside(session: Session, case: str, slow: str) -> Callable[[Contender], str]:
    settings = session.settings

    def measure_one(contender: Contender) -> str:
        quick = {"quick": (settings.callers, QUICK)}
        with session.start(contender) as server:
            alone = load(session, server, quick)
            both = load(session, server, {**quick, "slow": (settings.waiters, slow)})
        _keep(session, case, contender, alone, both)
        fast = both.groups["quick"]
        return f"fast p99 {fast['p99'] * 1e3:.2f} ms, alone {alone.groups['quick']['p99'] * 1e3:.2f} ms"

    return measure_one


def _keep(session: Session, case: str, contender: Contender, alone: Window, both: Window) -> None:
    keep = session.keep(BENCHMARK, case, contender.name)
    fast, slow = both.groups["quick"], both.groups["slow"]
    keep(P99, "ms", fast["p99"] * 1e3)
    keep(P99_ALONE, "ms", alone.groups["quick"]["p99"] * 1e3)
    keep("fast p50", "ms", fast["p50"] * 1e3)
    keep("fast max", "ms", fast["max"] * 1e3)
    keep("fast calls", "1/s", fast["count"] / both.seconds)
    keep(SLOW_RATE, "1/s", slow["count"] / both.seconds)
    keep("CPU per request", "us", both.cpu * 1e6)


def _surprise(session: Session) -> Callable[[Contender], str]:
    def measure_one(contender: Contender) -> str:
        with session.start(contender) as server:
            waits = surprises(session, server)
        keep = session.keep(BENCHMARK, SURPRISE_CASE, contender.name)
        keep(LONGEST, "ms", statistics.median(waits) * 1e3)
        keep("worst of all", "ms", max(waits) * 1e3)
        return f"the others waited {statistics.median(waits) * 1e3:.1f} ms at most"

    return measure_one
