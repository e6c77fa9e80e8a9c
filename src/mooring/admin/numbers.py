"""From statistics to records: what the counters of a server, and their growth over the last minute, come to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import sub
from typing import Any

from msgspec import Struct

from ..db import ConnectionPool
from ..db.durations import Durations
from ..db.stats import PoolStats
from ..models.tally import RouteStats
from ..server import ServerStats
from ..threads.histogram import Histogram
from ..threads.stats import ThreadPoolStats
from . import records
from .scan import Scan


def fields_of(source: object, kind: type[Struct]) -> dict[str, Any]:
    """The fields of a record that its source has by the same names."""
    return {name: getattr(source, name) for name in kind.__struct_fields__ if hasattr(source, name)}


def traffic_numbers(stats: ServerStats, scanned: Scan) -> records.Traffic:
    """Messages and bytes."""
    return records.Traffic(
        messages_in=stats.messages,
        messages_out=stats.sent,
        bytes_in=stats.bytes_received,
        bytes_out=stats.bytes_sent,
        dropped=stats.dropped,
        waiting=scanned.waiting,
        waiting_connections=scanned.waiting_connections,
    )


def thread_numbers(stats: ThreadPoolStats, before: ThreadPoolStats | None) -> records.ThreadNumbers:
    """The pool's numbers, with waits and runs since an earlier moment."""
    waits = since(stats.waits, before.waits if before is not None else None)
    runs = since(stats.runs, before.runs if before is not None else None)
    return records.ThreadNumbers(
        **fields_of(stats, records.ThreadNumbers),
        wait_p50=waits.quantile(0.5),
        wait_p99=waits.quantile(0.99),
        run_p50=runs.quantile(0.5),
        run_p99=runs.quantile(0.99),
    )


def database_numbers(pool: ConnectionPool, stats: PoolStats, before: PoolStats | None) -> records.DatabaseNumbers:
    """The database's pool, with waits and usage since an earlier moment."""
    path = pool.url.database if pool.dialect == "sqlite" and not pool.url.in_memory else None
    same = fields_of(stats, records.DatabaseNumbers) | {"last_error": stats.last_error if stats.down else None}
    return records.DatabaseNumbers(
        **same | {"state": "down" if stats.down else stats.state},
        url=str(pool.url),
        dialect=pool.dialect,
        wait_p99=durations_since(stats.wait, before.wait if before is not None else None).quantile(0.99),
        usage_p99=durations_since(stats.usage, before.usage if before is not None else None).quantile(0.99),
        connect_p99=stats.connect.quantile(0.99),
        wal_bytes=_size_of(f"{path}-wal") if path else None,
        group_commits=[
            records.GroupCommitNumbers(
                **fields_of(one, records.GroupCommitNumbers), commit_p99=one.commit.quantile(0.99)
            )
            for one in pool.group_commit_stats()
        ],
    )


def route_numbers(name: str, runs: str, stats: RouteStats) -> records.RouteNumbers:
    """One route.

    Args:
        runs: where it runs now.
    """
    calls = stats.calls
    return records.RouteNumbers(
        name=name,
        runs=runs,
        calls=calls.count,
        on_loop=stats.on_loop,
        errors=stats.errors,
        p50=quantile(calls, 0.5, stats.longest),
        p99=quantile(calls, 0.99, stats.longest),
        longest=stats.longest,
    )


def quantile(calls: Histogram, share: float, longest: float) -> float:
    """A quantile, which is the upper bound of a bucket: no more than the longest call, where that was measured."""
    found = calls.quantile(share)
    return min(found, longest) if longest else found


def since(now: Histogram, before: Histogram | None) -> Histogram:
    """What was added to a histogram meanwhile; all of it if there is no other, or it is the same."""
    if before is None or now is before:
        return now
    return Histogram(_growth(now.counts, before.counts), max(0.0, now.seconds - before.seconds))


def durations_since(now: Durations, before: Durations | None) -> Durations:
    """The same for the database's durations."""
    if before is None or now is before:
        return now
    return Durations(_growth(now.counts, before.counts))


def _growth(now: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    grown = tuple(map(sub, now, before))
    return grown if min(grown) >= 0 else tuple(max(0, count) for count in grown)


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


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
