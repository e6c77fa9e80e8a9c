"""Health for load balancers and supervisors, in the form that Kubernetes made common: the status code is the answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..db import ConnectionPool
from ..server import ServerState
from .watched import WatchedServer

LOOP_IS_STUCK: Final = 10.0
"""Seconds without an answer of the loop after which the process is not alive any more, as far as devices can tell."""

QUEUE_IS_STUCK: Final = 30.0
"""Seconds that the oldest message may wait for a thread of the pool while the server counts as ready."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ``problem``: what is wrong, None if nothing is."""

    name: str
    problem: str | None


def liveness(servers: Sequence[WatchedServer]) -> Iterator[Check]:
    """Whether the loops turn. A database that is away does not count: a restart would not bring it back."""
    for one in servers:
        late = one.waits_for_loop()
        yield Check(f"{one.id}:loop", f"has not answered for {late:.1f} s" if late > LOOP_IS_STUCK else None)


def readiness(servers: Sequence[WatchedServer]) -> Iterator[Check]:
    """Whether new devices should be sent here."""
    yield from liveness(servers)
    for one in servers:
        server = one.server
        running = server.state is ServerState.RUNNING
        yield Check(f"{one.id}:state", None if running else server.state.value)
        if running:
            yield Check(f"{one.id}:accepting", None if server.accepting else "accepting is suspended")
        if server.model == "hybrid":
            yield Check(f"{one.id}:threads", _problem_of_threads(one))
        if server.database is not None:
            stats = server.database.stats()
            yield Check(f"{one.id}:database", stats.last_error or "away" if stats.down else None)
            yield Check(f"{one.id}:storing", None if stats.down else _problem_of_storing(server.database))


def _problem_of_threads(one: WatchedServer) -> str | None:
    pool = one.server.threads
    if pool.paused:
        return "paused"
    wait = pool.stats().oldest_wait
    return f"messages wait {wait:.0f} s for a thread" if wait > QUEUE_IS_STUCK else None


def _problem_of_storing(database: ConnectionPool) -> str | None:
    """A database may be there and take nothing all the same: its disk is full, or it may only be read."""
    blocked = (group.blocked_by for group in database.group_commit_stats())
    return next((f"rows wait: {error}" for error in blocked if error is not None), None)


def report(name: str, checks: Sequence[Check], *, verbose: bool, excluded: Collection[str] = ()) -> tuple[int, str]:
    """Status and text of an answer.

    Args:
        name: of the endpoint.
        verbose: list every check; problems are listed always.
        excluded: checks that do not count, by their whole name or by what follows the colon.
    """
    lines, failed = [], False
    for check in checks:
        counts = not {check.name, check.name.partition(":")[2]} & set(excluded)
        if check.problem is None:
            lines.append(f"[+]{check.name} ok")
        elif not counts:
            lines.append(f"[+]{check.name} excluded: {check.problem}")
        else:
            failed = True
            lines.append(f"[-]{check.name} failed: {check.problem}")
    verdict = f"{name} check {'failed' if failed else 'passed'}"
    if not verbose and not failed:
        return 200, "ok\n"
    return (503 if failed else 200), "\n".join([*lines, verdict, ""])
