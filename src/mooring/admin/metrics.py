"""``/metrics`` for Prometheus: read from plain counters when it asks, so that counting costs the data path nothing.

No label ever holds what a device chose: neither names nor addresses, nor keys of messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..db.durations import Durations
from ..db.stats import PoolStats
from ..net.connection.life import CloseReason
from ..net.limits.refusals import Refusal
from ..server import ServerStats
from ..threads.histogram import Histogram
from .process import ProcessMeter
from .watched import WatchedServer

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BOUNDS: Final = tuple(range(25, 113, 4))
"""Buckets of ``threads.Histogram`` that are shown: from 0.09 ms, each twice the one before, to 5 minutes."""

DATABASE_BOUNDS: Final = tuple(range(4, 29))
"""Classes of ``db.Durations`` that are shown: from 16 us to 4.5 minutes, doubling."""

Labels = list[str]


class MooringCollector(Collector):
    """Turns the counters of some servers into metrics.

    Args:
        servers: the servers.
    """

    def __init__(self, servers: Sequence[WatchedServer]) -> None:
        self._servers = servers
        self._process = ProcessMeter()

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client: called for each scrape."""
        pairs = [([one.id], one, one.server.stats()) for one in self._servers]
        yield self._info(pairs)
        yield from _of_connections(pairs)
        yield from _of_handlers(pairs)
        yield from _of_threads([(labels, stats) for labels, _, stats in pairs])
        pools = [(labels, one.server.database.stats()) for labels, one, _ in pairs if one.server.database is not None]
        yield from _of_pools(pools)
        yield from _of_group_commits(pairs)
        yield from self._of_process()

    def describe(self) -> Iterable[Metric]:
        """See prometheus_client: nothing is collected at registration."""
        return []

    def _info(self, pairs: Sequence[tuple[Labels, WatchedServer, ServerStats]]) -> Metric:
        read = self._process.read(0.0)
        names = ["version", "python", "server", "model"]
        info = GaugeMetricFamily("mooring_info", "Always 1; what runs is in the labels.", labels=names)
        for (label,), one, _ in pairs:
            info.add_metric([read.version, read.python, label, one.server.model], 1)
        return info

    def _of_process(self) -> Iterator[Metric]:
        read = self._process.read(0.0)
        yield CounterMetricFamily("process_cpu_seconds", "CPU time of the process.", read.cpu)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", read.memory)
        yield GaugeMetricFamily("process_open_fds", "Open file descriptors.", read.descriptors)
        yield GaugeMetricFamily("process_max_fds", "Limit of open file descriptors.", read.descriptor_limit)
        yield GaugeMetricFamily("process_start_time_seconds", "Unix time of the start.", read.started_at)
        yield GaugeMetricFamily("process_threads", "Threads of the process.", read.threads)


def _of_connections(pairs: Sequence[tuple[Labels, WatchedServer, ServerStats]]) -> Iterator[Metric]:
    stats = [(labels, one) for labels, _, one in pairs]
    yield _gauge("mooring_connections", "Open connections.", stats, lambda one: one.connections)
    limit = GaugeMetricFamily("mooring_connections_limit", "Connections that there may be.", labels=["server"])
    for labels, watched, _ in pairs:
        loop = watched.server._loop
        limit.add_metric(labels, loop.arrivals.max_connections if loop is not None else 0)
    yield limit
    yield _counter("mooring_accepts", "Accepted connections.", stats, lambda one: one.accepted)
    accepting = GaugeMetricFamily("mooring_accepting", "1 unless suspended.", labels=["server", "listener"])
    for labels, one in stats:
        for listener in one.listeners:
            accepting.add_metric([*labels, str(listener.address)], int(listener.accepting))
    yield accepting
    yield _counter("mooring_refusals", "Connections closed as soon as accepted.", stats, lambda one: one.refused)
    yield from _of_the_gate(stats)
    yield _counter("mooring_accept_failures", "Errors of accept().", stats, lambda one: one.accept_failures)
    yield _gauge("mooring_openings", "Sockets in their TLS handshake, say.", stats, lambda one: one.opening)
    yield _counter("mooring_opened", "Sockets that became connections after it.", stats, lambda one: one.opened)
    failed = CounterMetricFamily("mooring_not_opened", "Sockets that did not.", labels=["server", "reason"])
    expiry = GaugeMetricFamily(
        "mooring_tls_certificate_expiry_timestamp_seconds", "When the certificate expires.", labels=["server"]
    )
    for labels, watched, one in pairs:
        for reason, count in one.not_opened.items():
            failed.add_metric([*labels, reason], count)
        expires = watched.server.certificate_expires_at
        if expires is not None:
            expiry.add_metric(labels, expires)
    yield failed
    yield expiry
    closes = CounterMetricFamily("mooring_closes", "Connections that ended.", labels=["server", "reason"])
    errors = CounterMetricFamily("mooring_protocol_errors", "Messages refused.", labels=["server", "reason"])
    for labels, watched, one in pairs:
        for reason in CloseReason:
            closes.add_metric([*labels, reason.value], one.closed.get(reason, 0))
        for name, count in _protocol_errors(watched, one).items():
            errors.add_metric([*labels, name], count)
    yield closes
    yield errors
    timed_out = [(labels, one.closed.get(CloseReason.HEARTBEAT, 0)) for labels, one in stats]
    yield _counter("mooring_heartbeat_timeouts", "Connections closed for their silence.", timed_out, lambda one: one)
    yield _counter("mooring_heartbeats", "Heartbeats sent.", stats, lambda one: one.heartbeats)
    for name, help, into, out in (
        ("mooring_frames", "Messages received and sent.", "messages", "sent"),
        ("mooring_bytes", "Bytes received and sent.", "bytes_received", "bytes_sent"),
    ):
        family = CounterMetricFamily(name, help, labels=["server", "dir"])
        for labels, one in stats:
            family.add_metric([*labels, "in"], getattr(one, into))
            family.add_metric([*labels, "out"], getattr(one, out))
        yield family
    yield _counter("mooring_dropped", "Messages that could not leave any more.", stats, lambda one: one.dropped)


def _of_the_gate(stats: Sequence[tuple[Labels, ServerStats]]) -> Iterator[Metric]:
    """Who was not let in; the kinds of offences are words of the program, never of a peer."""
    labels = ["server", "reason"]
    refused = CounterMetricFamily("mooring_connections_refused", "Connections that were not taken.", labels=labels)
    offences = CounterMetricFamily("mooring_offences", "Bad frames, logins and handshakes.", labels=["server", "kind"])
    for label, one in stats:
        for reason in Refusal:
            refused.add_metric([*label, reason.value], one.refusals.get(reason, 0))
        for kind, count in sorted(one.offences.items()):
            offences.add_metric([*label, kind], count)
    yield refused
    yield offences


def _protocol_errors(watched: WatchedServer, stats: ServerStats) -> dict[str, int]:
    """Broken frames, and what the application refuses by a code of its own."""
    found = {"frame": stats.closed.get(CloseReason.FRAME, 0)}
    return found | watched.protocol_errors(watched.server)


def _of_handlers(pairs: Sequence[tuple[Labels, WatchedServer, ServerStats]]) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(
        "mooring_handler_seconds", "How long calls of handlers took; below 0.09 ms one bucket.", labels=["server"]
    )
    failures = CounterMetricFamily("mooring_handler_failures", "Exceptions of handlers.", labels=["server"])
    for labels, watched, stats in pairs:
        seconds.add_metric(labels, buckets(stats.calls), stats.calls.seconds)
        serving = watched.server._serving
        failures.add_metric(labels, serving.failures.total if serving is not None else 0)
    yield seconds
    yield failures
    rows = [(labels, one) for labels, _, one in pairs]
    yield _counter("mooring_handovers", "Times the loop moved to another thread.", rows, lambda one: one.handovers)
    yield _gauge("mooring_late_threads", "Loop threads that finish a handler.", rows, lambda one: one.late)
    lag = GaugeMetricFamily("mooring_loop_lag_seconds", "How late the loop answered last.", labels=["server"])
    for labels, watched, _ in pairs:
        if watched.loop_lag is not None:
            lag.add_metric(labels, watched.loop_lag)
    yield lag


def _of_threads(stats: Sequence[tuple[Labels, ServerStats]]) -> Iterator[Metric]:
    pools = [(labels, one.threads) for labels, one in stats if one.threads is not None]
    states = GaugeMetricFamily("mooring_threads", "Threads of the pool.", labels=["server", "state"])
    waits = HistogramMetricFamily("mooring_queue_seconds", "Waits of tasks for a thread.", labels=["server"])
    runs = HistogramMetricFamily("mooring_task_seconds", "How long tasks of the pool ran.", labels=["server"])
    for labels, pool in pools:
        states.add_metric([*labels, "busy"], pool.busy)
        states.add_metric([*labels, "idle"], pool.idle)
        waits.add_metric(labels, buckets(pool.waits), pool.waits.seconds)
        runs.add_metric(labels, buckets(pool.runs), pool.runs.seconds)
    yield states
    yield waits
    yield runs
    yield _gauge("mooring_threads_max", "Threads that sizing allows at most.", pools, lambda one: one.max_size)
    yield _gauge("mooring_threads_stuck", "Tasks that run for longer than a minute.", pools, lambda one: one.stuck)
    yield _gauge("mooring_queue_length", "Tasks that wait for a thread.", pools, lambda one: one.queued)
    yield _gauge("mooring_threads_paused", "1 while the pool is paused.", pools, lambda one: int(one.paused))


def _of_pools(pools: Sequence[tuple[Labels, PoolStats]]) -> Iterator[Metric]:
    states = GaugeMetricFamily("mooring_pool_connections", "Database connections.", labels=["server", "state"])
    for labels, one in pools:
        for state in ("active", "idle", "opening"):
            states.add_metric([*labels, state], getattr(one, state))
    yield states
    yield _gauge("mooring_pool_connections_max", "Database connections at most.", pools, lambda one: one.max_size)
    yield _gauge("mooring_pool_waiting", "Callers that wait for a connection.", pools, lambda one: one.waiting)
    yield _gauge("mooring_pool_up", "1 unless the last try to connect failed.", pools, lambda one: int(not one.down))
    acquire = HistogramMetricFamily("mooring_pool_acquire_seconds", "Waits of those who waited.", labels=["server"])
    usage = HistogramMetricFamily("mooring_pool_usage_seconds", "Lengths of loans; sum estimated.", labels=["server"])
    connect = HistogramMetricFamily("mooring_pool_connect_seconds", "Connecting; sum estimated.", labels=["server"])
    for labels, one in pools:
        acquire.add_metric(labels, database_buckets(one.wait), one.wait_seconds)
        usage.add_metric(labels, database_buckets(one.usage), estimated_sum(one.usage))
        connect.add_metric(labels, database_buckets(one.connect), estimated_sum(one.connect))
    yield from (acquire, usage, connect)
    yield _counter("mooring_pool_acquired", "Loans.", pools, lambda one: one.acquired)
    yield _counter("mooring_pool_timeouts", "Callers that waited in vain.", pools, lambda one: one.timeouts)
    yield _counter("mooring_pool_rejected", "Callers refused at once.", pools, lambda one: one.rejected)
    yield _counter("mooring_pool_opened", "Connections opened.", pools, lambda one: one.opened)
    yield _counter("mooring_pool_open_failures", "Failed tries to connect.", pools, lambda one: one.open_failures)
    yield _counter("mooring_pool_leaks", "Loans that lasted too long.", pools, lambda one: one.leaks)


def _of_group_commits(pairs: Sequence[tuple[Labels, WatchedServer, ServerStats]]) -> Iterator[Metric]:
    """Of all group commits of a pool together: which tables there are is for the dashboard."""
    pools = [(labels, one.server.database) for labels, one, _ in pairs if one.server.database is not None]
    groups = [(labels, stats) for labels, pool in pools if (stats := pool.group_commit_stats())]

    def total(name: str) -> list[tuple[Labels, int]]:
        return [(labels, sum(getattr(one, name) for one in stats)) for labels, stats in groups]

    yield _gauge("mooring_group_commit_queue_rows", "Rows that wait or are being stored.", total("rows"), _itself)
    yield _gauge("mooring_group_commit_queue_bytes", "Their size.", total("bytes"), _itself)
    yield _counter("mooring_group_commits", "Commits that succeeded.", total("commits"), _itself)
    yield _counter("mooring_group_commit_rows", "Rows in them.", total("committed"), _itself)
    seconds = HistogramMetricFamily(
        "mooring_group_commit_seconds", "A batch, to the end of its commit; sum estimated.", labels=["server"]
    )
    for labels, stats in groups:
        commits = Durations(tuple(map(sum, zip(*(one.commit.counts for one in stats), strict=True))))
        seconds.add_metric(labels, database_buckets(commits), estimated_sum(commits))
    yield seconds
    failed = CounterMetricFamily("mooring_group_commit_failures", "Rows not stored.", labels=["server", "reason"])
    for reason in ("failed", "refused", "expired", "unknown"):
        for labels, count in total(reason):
            failed.add_metric([*labels, reason], count)
    yield failed
    yield _counter("mooring_group_commit_retries", "Commits tried again after a deadlock.", total("retries"), _itself)
    yield _counter("mooring_group_commit_losses", "Connections lost during a commit.", total("losses"), _itself)


def _itself(value: int) -> int:
    return value


def _gauge(name: str, help: str, rows: Sequence[tuple[Labels, Any]], get: Any) -> Metric:
    family = GaugeMetricFamily(name, help, labels=["server"])
    for labels, one in rows:
        family.add_metric(labels, get(one))
    return family


def _counter(name: str, help: str, rows: Sequence[tuple[Labels, Any]], get: Any) -> Metric:
    family = CounterMetricFamily(name, help, labels=["server"])
    for labels, one in rows:
        family.add_metric(labels, get(one))
    return family


def buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus wants them."""
    sums = list(accumulate(histogram.counts))
    found: list[tuple[str, float]] = [(_bound(Histogram.upper_bound(index)), sums[index]) for index in BOUNDS]
    return [*found, ("+Inf", sums[-1])]


def database_buckets(durations: Durations) -> list[tuple[str, float]]:
    """The same for the database's durations."""
    sums = list(accumulate(durations.counts))
    found: list[tuple[str, float]] = [(_bound(2.0**index / 1e6), sums[index]) for index in DATABASE_BOUNDS]
    return [*found, ("+Inf", sums[-1])]


def estimated_sum(durations: Durations) -> float:
    """Seconds in all, if each took three quarters of its class's upper bound, the class's middle."""
    return sum(count * 0.75 * 2.0**index / 1e6 for index, count in enumerate(durations.counts))


def _bound(seconds: float) -> str:
    return f"{seconds:.6g}"


def make_registry(servers: Sequence[WatchedServer]) -> CollectorRegistry:
    """A registry of our own: what users register in the global one stays theirs."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MooringCollector(servers))
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """The text of a scrape."""
    return generate_latest(registry)
