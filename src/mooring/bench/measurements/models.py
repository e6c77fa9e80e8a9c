"""``mooring bench models``: one set of handlers under threads, epoll and hybrid."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from ..contenders import Contender, mooring
from ..loading import QUICK, Window, load
from ..session import Session
from .memory import memory_per_connection

BENCHMARK: Final = "models"
MODELS: Final = tuple(mooring(model, "models", model) for model in ("threads", "epoll", "hybrid"))
CASES: Final = ("quick", "waiting", "mixed", "memory")
SLOW: Final = "SLOW\r\n"


def measure(session: Session, cases: Collection[str] = CASES) -> None:
    """Quick calls alone, waiting calls alone, both together; and the memory of a connection. Or only some of these."""
    callers, waiters = session.settings.callers, session.settings.waiters
    loads = {
        "quick": {"quick": (callers, QUICK)},
        "waiting": {"waiting": (callers, SLOW)},
        "mixed": {"quick": (callers, QUICK), "waiting": (waiters, SLOW)},
    }
    for case, groups in loads.items():
        if case in cases:
            session.rounds(f"models, {case}", MODELS, _under_load(session, case, groups))
    if "memory" in cases:
        session.rounds("models, memory", MODELS, _memory(session))


def _under_load(session: Session, case: str, groups: dict[str, tuple[int, str]]) -> Callable[[Contender], str]:
    def measure_one(contender: Contender) -> str:
        with session.start(contender) as server:
            window = load(session, server, groups)
        _keep(session, case, contender, window)
        return f"{window.count / window.seconds:,.0f}/s"

    return measure_one


def _keep(session: Session, case: str, contender: Contender, window: Window) -> None:
    keep = session.keep(BENCHMARK, case, contender.name)
    keep("throughput", "1/s", window.count / window.seconds)
    for name, group in window.groups.items():
        prefix = f"{name} " if len(window.groups) > 1 else ""
        if prefix:
            keep(f"{prefix}calls", "1/s", group["count"] / window.seconds)
        for measure in ("p50", "p99", "max"):
            keep(f"{prefix}{measure}", "ms", group[measure] * 1e3)
    keep("CPU per request", "us", window.cpu * 1e6)
    keep("switches per request", "", window.switches)
    keep("threads", "", window.after.threads)


def _memory(session: Session) -> Callable[[Contender], str]:
    # As many as a thread each can be had for; more would compare the models at different sizes.
    count = session.settings.thread_memory

    def measure_one(contender: Contender) -> str:
        with session.start(contender) as server:
            size = memory_per_connection(session, server, count)
        session.keep(BENCHMARK, "memory", contender.name)("memory per connection", "B", size)
        return f"{size:,.0f} B for each connection"

    return measure_one
