"""One server as the admin side sees it: its numbers now, and over the last minute."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..db.durations import Durations
from ..db.stats import PoolStats
from ..models.tally import RouteStats
from ..net.connection import CloseReason
from ..server import Server, ServerState, ServerStats
from ..threads.histogram import Histogram
from ..threads.stats import ThreadPoolStats
from . import records
from .scan import BOUNDS, Scan, scan
from .slices import Slices

RECENT: Final = 60.0
"""Seconds that quantiles look back."""

INTERVAL: Final = 1.0
"""Seconds from one snapshot to the next."""

SCAN_EVERY: Final = 5.0
MANY: Final = 2000
"""With more connections than this all are looked at only every 5 seconds, not every second."""

MOST_ROUTES: Final = 50


@dataclass(frozen=True)
class _Moment:
    """Counters at one time, from which rates and recent quantiles follow."""

    at: float
    stats: ServerStats
    database: PoolStats | None


class WatchedServer:
    """Makes the numbers of one server. Belongs to the admin side's thread.

    Args:
        id: its name in the API.
        server: initialized, at least.
        has_commands: whether it has devices to send commands to.
        protocol_errors: what its application refused, by a word of ours.
    """

    def __init__(
        self,
        id: str,
        server: Server,
        *,
        has_commands: bool = False,
        protocol_errors: Callable[[Server], dict[str, int]] = lambda server: {},
    ) -> None:
        self.id = id
        self.server = server
        self.has_commands = has_commands
        self.protocol_errors = protocol_errors
        self.scanned = Scan()
        self.loop_lag: float | None = None
        self._asked_at = 0.0
        self._moments: deque[_Moment] = deque()

    # The loop's lag -------------------------------------------------------------------------------------------------

    def ask_loop(self) -> None:
        """Have the loop answer, to see how long that takes; a question that is open is not asked again."""
        loop = self.server._loop
        if loop is None or self.server.state is not ServerState.RUNNING:
            self.loop_lag = None
            return
        if self._asked_at:
            self.loop_lag = time.monotonic() - self._asked_at
            return
        asked_at = self._asked_at = time.monotonic()

        def answer() -> None:
            self.loop_lag = time.monotonic() - asked_at
            self._asked_at = 0.0

        loop.post(answer)

    def waits_for_loop(self) -> float:
        """Seconds for which the loop owes an answer; 0.0 if it does not."""
        asked_at = self._asked_at
        return time.monotonic() - asked_at if asked_at else 0.0

    # Numbers --------------------------------------------------------------------------------------------------------

    async def look(self, slices: Slices, *, fresh: bool = False) -> None:
        """Look at all connections, unless that was done a moment ago.

        Args:
            fresh: whatever the number of connections and the time of the last look.
        """
        connections = self.server.connections
        age = time.monotonic() - self.scanned.at
        if not fresh and age < (SCAN_EVERY if len(connections) > MANY else 0.9 * INTERVAL):
            return
        self.scanned = await scan(list(connections), self._late_after(), slices, time.monotonic())

    async def numbers(self, slices: Slices) -> records.ServerNumbers:
        """Everything, now."""
        server = self.server
        stats = server.stats()
        database = server.database.stats() if server.database is not None else None
        await slices.breathe()
        now = time.monotonic()
        minute = self._moment_ago(_Moment(now, stats, database))
        handlers = await self._handlers(stats, minute, slices)
        await slices.breathe()
        threads = thread_numbers(stats.threads, minute.stats.threads) if stats.threads is not None else None
        await slices.breathe()
        numbers = records.ServerNumbers(
            server=self._who(stats),
            connections=self._connections(stats),
            traffic=self._traffic(stats),
            handlers=handlers,
            threads=threads,
            heartbeats=self._heartbeats(stats, now),
            database=self._database(database, minute.database) if database is not None else None,
            errors=self._errors(),
            point={},
        )
        await slices.breathe()
        return numbers

    def _moment_ago(self, moment: _Moment) -> _Moment:
        """Keep this moment, and give the one of a minute ago, or the first."""
        moments = self._moments
        moments.append(moment)
        while len(moments) > 2 and moments[1].at <= moment.at - RECENT:
            moments.popleft()
        return moments[0]

    def _who(self, stats: ServerStats) -> records.Server:
        server = self.server
        return records.Server(
            id=self.id,
            name=server.name,
            description=server.description,
            model=server.model,
            state=state_of(server),
            accepting=server._accepting and server.state is ServerState.RUNNING,
            uptime=stats.uptime,
            addresses=[str(address) for address in server.addresses],
            loop_lag=self.loop_lag,
            has_commands=self.has_commands,
        )

    def _connections(self, stats: ServerStats) -> records.ConnectionCounts:
        loop = self.server._loop
        return records.ConnectionCounts(
            open=stats.connections,
            most=stats.most_connections,
            limit=loop.max_connections if loop is not None else 0,
            accepted=stats.accepted,
            refused=stats.refused,
            accept_failures=stats.accept_failures,
            closed={reason.value: count for reason, count in stats.closed.items()},
        )

    def _traffic(self, stats: ServerStats) -> records.Traffic:
        return records.Traffic(
            messages_in=stats.messages,
            messages_out=stats.sent,
            bytes_in=stats.bytes_received,
            bytes_out=stats.bytes_sent,
            dropped=stats.dropped,
            waiting=self.scanned.waiting,
            waiting_connections=self.scanned.waiting_connections,
        )

    async def _handlers(self, stats: ServerStats, minute: _Moment, slices: Slices) -> records.HandlerNumbers:
        recent = since(stats.calls, minute.stats.calls) if minute.stats is not stats else stats.calls
        routes, longest = await self._routes(slices)
        return records.HandlerNumbers(
            calls=stats.calls.count,
            seconds=stats.calls.seconds,
            longest=longest,
            p50=recent.quantile(0.5),
            p95=recent.quantile(0.95),
            p99=recent.quantile(0.99),
            histogram=doublings(recent),
            routes=routes,
            handovers=stats.handovers,
            late=stats.late,
            spares=stats.spares,
        )

    async def _routes(self, slices: Slices) -> tuple[list[records.RouteNumbers], float]:
        serving = self.server._serving
        if serving is None:
            return [], 0.0
        found, longest = [], 0.0
        named = serving.handling.routes()
        for name, route in named[:MOST_ROUTES]:
            stats = serving.tallies.of_route(route, only=serving.handling.route is route)
            longest = max(longest, stats.longest)
            found.append(_route_numbers(name, self._runs(route), stats))
            await slices.breathe()
        return sorted(found, key=lambda route: (-route.p99, -route.calls)), longest

    def _runs(self, route: Any) -> str:
        model = self.server.model
        if model != "hybrid":
            return "loop" if model == "epoll" else "own thread"
        if route.blocking is not None:
            return "pool (pinned)" if route.blocking else "loop (pinned)"
        return "loop" if route.experience is None or route.experience.on_loop else "pool"

    def _heartbeats(self, stats: ServerStats, now: float) -> records.HeartbeatNumbers:
        timeouts, heartbeat, scanned = self.server._timeouts, self.server._heartbeat, self.scanned
        limit = self._silence_limit()
        soonest = [
            records.Silent(one.id, one.name, str(one.peer), max(0.0, limit - (now - one._last_received)))
            for _, _, one in scanned.soonest
            if limit is not None and one.close_reason is None
        ]
        return records.HeartbeatNumbers(
            timeout=timeouts.heartbeat,
            interval=heartbeat.interval if heartbeat is not None else None,
            sent=stats.heartbeats,
            timed_out=stats.closed.get(CloseReason.HEARTBEAT, 0),
            alive=max(0, scanned.count - scanned.late),
            late=scanned.late,
            silence=list(zip((*BOUNDS, None), scanned.silence, strict=True)),
            soonest=sorted(soonest, key=lambda one: one.left),
        )

    def _silence_limit(self) -> float | None:
        timeouts = self.server._timeouts
        limits = [limit for limit in (timeouts.heartbeat, timeouts.idle) if limit is not None]
        return min(limits) if limits else None

    def _late_after(self) -> float | None:
        """A device that beats is late when it has missed its beat; half the time-out where nobody beats."""
        limit = self._silence_limit()
        heartbeat = self.server._heartbeat
        if heartbeat is not None and heartbeat.interval is not None:
            return min(1.25 * heartbeat.interval + 1.0, heartbeat.timeout)
        return limit / 2 if limit is not None else None

    def _database(self, stats: PoolStats, before: PoolStats | None) -> records.DatabaseNumbers:
        pool = self.server.database
        assert pool is not None
        before = before or stats
        path = pool.url.database if pool.dialect == "sqlite" and not pool.url.in_memory else None
        return records.DatabaseNumbers(
            url=str(pool.url),
            dialect=pool.dialect,
            state="down" if stats.down else stats.state,
            min_size=stats.min_size,
            max_size=stats.max_size,
            total=stats.total,
            idle=stats.idle,
            active=stats.active,
            opening=stats.opening,
            waiting=stats.waiting,
            acquired=stats.acquired,
            timeouts=stats.timeouts,
            rejected=stats.rejected,
            opened=stats.opened,
            open_failures=stats.open_failures,
            closed=stats.closed,
            leaks=stats.leaks,
            retries=stats.retries,
            wait_p99=durations_since(stats.wait, before.wait).quantile(0.99),
            usage_p99=durations_since(stats.usage, before.usage).quantile(0.99),
            connect_p99=stats.connect.quantile(0.99),
            down=stats.down,
            last_error=stats.last_error if stats.down else None,
            wal_bytes=_size_of(f"{path}-wal") if path else None,
            group_commits=group_commits(pool),
        )

    def _errors(self) -> records.ErrorNumbers:
        serving, loop = self.server._serving, self.server._loop
        kinds = loop.rare.totals() if loop is not None else {}
        kinds |= self.protocol_errors(self.server)
        return records.ErrorNumbers(
            failures=serving.failures.total if serving is not None else 0,
            kinds={name: count for name, count in kinds.items() if count},
        )

    def failures(self) -> list[records.FailureGroup]:
        """Exceptions of the handlers, the latest first."""
        serving = self.server._serving
        if serving is None:
            return []
        return [
            records.FailureGroup(
                id=one.id,
                server=self.id,
                error=one.error,
                text=one.text,
                place=one.place,
                count=one.count,
                first_at=one.first_at,
                last_at=one.last_at,
                sample=one.sample,
            )
            for one in serving.failures.groups()
        ]


def state_of(server: Server) -> str:
    """The server's state in the words of the page."""
    if server.state is ServerState.STOPPING:
        return "draining"
    if server.state is ServerState.RUNNING and not server._accepting:
        return "suspended"
    return server.state.value


def thread_numbers(stats: ThreadPoolStats, before: ThreadPoolStats | None) -> records.ThreadNumbers:
    """The pool's numbers, with waits and runs since an earlier moment."""
    waits = since(stats.waits, before.waits) if before is not None and before is not stats else stats.waits
    runs = since(stats.runs, before.runs) if before is not None and before is not stats else stats.runs
    return records.ThreadNumbers(
        size=stats.size,
        busy=stats.busy,
        idle=stats.idle,
        queued=stats.queued,
        oldest_wait=stats.oldest_wait,
        min_size=stats.min_size,
        max_size=stats.max_size,
        target=stats.target,
        paused=stats.paused,
        stuck=stats.stuck,
        completed=stats.completed,
        failed=stats.failed,
        cancelled=stats.cancelled,
        grown=stats.grown,
        shrunk=stats.shrunk,
        wait_p50=waits.quantile(0.5),
        wait_p99=waits.quantile(0.99),
        run_p50=runs.quantile(0.5),
        run_p99=runs.quantile(0.99),
    )


def since(now: Histogram, before: Histogram) -> Histogram:
    """What was added to a histogram meanwhile."""
    counts = tuple(max(0, a - b) for a, b in zip(now.counts, before.counts, strict=True))
    return Histogram(counts, max(0.0, now.seconds - before.seconds))


def durations_since(now: Durations, before: Durations) -> Durations:
    """The same for the database's durations."""
    if now is before:
        return now
    return Durations(tuple(max(0, a - b) for a, b in zip(now.counts, before.counts, strict=True)))


def doublings(histogram: Histogram) -> list[tuple[float, int]]:
    """A histogram in few classes for people: (upper bound in seconds, count), each about twice the one before."""
    found: list[tuple[float, int]] = []
    for start in range(2, len(histogram.counts), 4):
        count = sum(histogram.counts[max(0, start - 4) : start])
        if count or found:
            found.append((Histogram.upper_bound(start - 1), count))
    while found and not found[-1][1]:
        found.pop()
    return found


def group_commits(pool: Any) -> list[records.GroupCommitNumbers]:
    """The pool's group commits, if it has any."""
    found = []
    for one in list(getattr(pool, "_group_commits", ())):
        stats = one.stats()
        names = getattr(type(stats), "__dataclass_fields__", {})
        numbers = {name: float(getattr(stats, name)) for name in names if _is_number(getattr(stats, name))}
        found.append(records.GroupCommitNumbers(str(getattr(stats, "table", "")), numbers))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _route_numbers(name: str, runs: str, stats: RouteStats) -> records.RouteNumbers:
    calls = stats.calls
    return records.RouteNumbers(
        name=name,
        runs=runs,
        calls=calls.count,
        on_loop=stats.on_loop,
        p50=calls.quantile(0.5),
        p99=calls.quantile(0.99),
        longest=stats.longest,
    )


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
