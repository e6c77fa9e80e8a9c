"""One server as the admin side sees it: its numbers now, and over the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..db.stats import PoolStats
from ..net.connection.connection import Connection
from ..net.connection.life import CloseReason
from ..server import Server, ServerState, ServerStats
from . import records
from .numbers import (
    database_numbers,
    doublings,
    fields_of,
    quantile,
    route_numbers,
    since,
    thread_numbers,
    traffic_numbers,
)
from .scan import BOUNDS, Scan, scan
from .slices import CHUNK, Slices

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
        errors_of: how many messages of one connection it refused.
    """

    def __init__(
        self,
        id: str,
        server: Server,
        *,
        has_commands: bool = False,
        protocol_errors: Callable[[Server], dict[str, int]] = lambda server: {},
        errors_of: Callable[[Connection], int] = lambda connection: 0,
    ) -> None:
        self.id = id
        self.server = server
        self.has_commands = has_commands
        self.protocol_errors = protocol_errors
        self.errors_of = errors_of
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
        now = time.monotonic()
        if not fresh and now - self.scanned.at < (SCAN_EVERY if len(connections) > MANY else 0.9 * INTERVAL):
            return
        self.scanned = await scan(connections.pieces(CHUNK), self._late_after(), slices, now)

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
            traffic=traffic_numbers(stats, self.scanned),
            handlers=handlers,
            threads=threads,
            heartbeats=self._heartbeats(stats, now),
            database=self._database(database, minute.database),
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
            accepting=server.accepting,
            uptime=stats.uptime,
            addresses=[str(address) for address in server.addresses],
            listeners=[records.Listener(str(one.address), one.accepting, one.accepted) for one in stats.listeners],
            loop_lag=self.loop_lag,
            has_commands=self.has_commands,
        )

    def _connections(self, stats: ServerStats) -> records.ConnectionCounts:
        loop = self.server._loop
        return records.ConnectionCounts(
            open=stats.connections,
            most=stats.most_connections,
            limit=loop.arrivals.max_connections if loop is not None else 0,
            accepted=stats.accepted,
            refused=stats.refused,
            refusals={reason.value: count for reason, count in stats.refusals.items()},
            offences=dict(stats.offences),
            accept_failures=stats.accept_failures,
            closed={reason.value: count for reason, count in stats.closed.items()},
        )

    async def _handlers(self, stats: ServerStats, minute: _Moment, slices: Slices) -> records.HandlerNumbers:
        recent = since(stats.calls, minute.stats.calls)
        routes, longest = await self._routes(slices)
        return records.HandlerNumbers(
            calls=stats.calls.count,
            seconds=stats.calls.seconds,
            longest=longest,
            p50=quantile(recent, 0.5, longest),
            p95=quantile(recent, 0.95, longest),
            p99=quantile(recent, 0.99, longest),
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
            found.append(route_numbers(name, self._runs(route), stats))
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
        configuration, scanned = self.server.configuration, self.scanned
        timeouts, heartbeat = configuration.timeouts, configuration.heartbeat
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
        timeouts = self.server.configuration.timeouts
        limits = [limit for limit in (timeouts.heartbeat, timeouts.idle) if limit is not None]
        return min(limits) if limits else None

    def _late_after(self) -> float | None:
        """A device that beats is late when it has missed its beat; half the time-out where nobody beats."""
        limit = self._silence_limit()
        heartbeat = self.server.configuration.heartbeat
        if heartbeat is not None and heartbeat.interval is not None:
            return min(1.25 * heartbeat.interval + 1.0, heartbeat.timeout)
        return limit / 2 if limit is not None else None

    def _database(self, stats: PoolStats | None, before: PoolStats | None) -> records.DatabaseNumbers | None:
        pool = self.server.database
        return database_numbers(pool, stats, before) if pool is not None and stats is not None else None

    def _errors(self) -> records.ErrorNumbers:
        serving, loop = self.server._serving, self.server._loop
        kinds = loop.state.rare.totals() if loop is not None else {}
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
            records.FailureGroup(**fields_of(one, records.FailureGroup), server=self.id)
            for one in serving.failures.groups()
        ]


def state_of(server: Server) -> str:
    """The server's state in the words of the page."""
    if server.state is ServerState.STOPPING:
        return "draining"
    if server.state is ServerState.RUNNING and not server.accepting:
        return "suspended"
    return server.state.value
