"""What the handlers of a server did and how long it took, counted by each thread for itself and added up by readers.

A call that takes less than 0.09 ms is only counted, once for a whole service, so that measuring costs the quick ones
next to nothing; slower ones, which are worth a look, each enter a histogram.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..threads.histogram import BUCKETS, Histogram, bucket_of

if TYPE_CHECKING:
    from ..handler import Route

QUICK_BUCKET: Final = 25
QUICK: Final = Histogram.upper_bound(QUICK_BUCKET)
"""Seconds (0.09 ms): calls below are not timed one by one; in the histogram all of them end here."""


@dataclass(frozen=True, slots=True)
class CallStats:
    """What a server's handlers did; ``connected`` and ``lost`` count as calls, too.

    Attributes:
        calls: how long they took; all that were below 0.09 ms are in one bucket.
        longest: seconds of the longest so far.
        sent: messages that left as replies of these calls (pending replies are not among them).
        sent_bytes: their size, frames included.
    """

    calls: Histogram
    longest: float
    sent: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class RouteStats:
    """What one route did.

    Attributes:
        on_loop, elsewhere: calls on the loop's thread, and in other threads.
        errors: those that raised. (A pending reply that fails belongs to no route any more.)
        slow: those that took 0.09 ms or more.
        longest: seconds of the longest.
    """

    on_loop: int
    elsewhere: int
    errors: int
    slow: Histogram
    longest: float

    @property
    def calls(self) -> Histogram:
        """All calls: the quick ones in the bucket that ends at 0.09 ms."""
        quick = self.on_loop + self.elsewhere - self.slow.count
        counts = list(self.slow.counts)
        counts[QUICK_BUCKET] += max(0, quick)
        return Histogram(tuple(counts), self.slow.seconds)


class RouteTally:
    """Counts of one route in one thread."""

    __slots__ = ("buckets", "calls", "errors", "longest", "seconds")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.seconds = 0.0
        self.longest = 0.0
        self.buckets: list[int] | None = None

    def note_slow(self, seconds: float) -> None:
        """A call took longer than QUICK; it is counted in ``calls`` by others."""
        if self.buckets is None:
            self.buckets = [0] * BUCKETS
        self.buckets[bucket_of(seconds)] += 1
        self.seconds += seconds
        if seconds > self.longest:
            self.longest = seconds

    def add(self, other: RouteTally) -> None:
        """Count what another one has counted, too."""
        self.calls += other.calls
        self.errors += other.errors
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)
        buckets = other.buckets
        if buckets is not None:
            before = self.buckets or [0] * BUCKETS
            self.buckets = [a + b for a, b in zip(before, buckets, strict=True)]


class CallTally:
    """Counts of one server in one thread, which alone writes them.

    Attributes:
        server: stands for the server; see ``CallTallies.server``.
        on_loop: whether the thread is one of the loop's.
        calls, seconds: calls, and how long they took in all, quick ones included.
        sent, sent_bytes: replies that left.
        routes: those that were called where there are several, and those that were slow.
    """

    __slots__ = ("__weakref__", "calls", "on_loop", "routes", "seconds", "sent", "sent_bytes", "server")

    def __init__(self, server: object, *, on_loop: bool) -> None:
        self.server = server
        self.on_loop = on_loop
        self.calls = 0
        self.seconds = 0.0
        self.sent = 0
        self.sent_bytes = 0
        self.routes: dict[Route, RouteTally] = {}

    def of(self, route: Route) -> RouteTally:
        """The counts of a route."""
        tally = self.routes.get(route)
        if tally is None:
            tally = self.routes[route] = RouteTally()
        return tally

    def count(self, routes: list[Route]) -> None:
        """These were called, one after the other; for handlers with several routes."""
        known = self.routes
        for route in set(routes):
            (known.get(route) or self.of(route)).calls += routes.count(route)

    def add(self, other: CallTally, route: Route | None = None) -> None:
        """Count what another one has counted, too; of the routes only this one, if it is given."""
        self.calls += other.calls
        self.seconds += other.seconds
        self.sent += other.sent
        self.sent_bytes += other.sent_bytes
        routes = other.routes.copy()  # its thread may meet a further one meanwhile
        for known in routes if route is None else routes.keys() & {route}:
            self.of(known).add(routes[known])


class CallTallies:
    """The tallies of all threads of one server.

    A thread has its tally only as long as the server has: a thread of a pool that outlives the server keeps nothing
    of it. ``_lock`` guards ``_live`` and ``_ended``. Tallies of threads that have ended arrive in ``_gone`` without
    it: they come from the end of an object, which may happen in the middle of anything.

    Attributes:
        server: stands for the server in its tallies, which must not hold the server itself.
    """

    def __init__(self) -> None:
        self.server = object()
        self._lock = threading.Lock()
        self._live: dict[CallTally, weakref.ref[object]] = {}
        self._gone: deque[CallTally] = deque()
        self._ended = [CallTally(self.server, on_loop=on_loop) for on_loop in (False, True)]

    def open(self, holder: object, *, on_loop: bool) -> CallTally:
        """A tally for the thread that ``holder`` belongs to; it is closed when that object ends."""
        tally, gone = CallTally(self.server, on_loop=on_loop), self._gone
        with self._lock:
            self._live[tally] = weakref.ref(holder, lambda _: gone.append(tally))
            self._bury_locked()
        return tally

    def stats(self) -> CallStats:
        """What all threads have counted so far."""
        tallies = self._sums()
        routes = [tally for one in tallies for tally in one.routes.values()]
        slow = _histogram(routes)
        counts = list(slow.counts)
        counts[QUICK_BUCKET] += max(0, sum(tally.calls for tally in tallies) - slow.count)
        return CallStats(
            calls=Histogram(tuple(counts), sum(tally.seconds for tally in tallies)),
            longest=max((tally.longest for tally in routes), default=0.0),
            sent=sum(tally.sent for tally in tallies),
            sent_bytes=sum(tally.sent_bytes for tally in tallies),
        )

    def of_route(self, route: Route, *, only: bool) -> RouteStats:
        """What all threads have counted of one route.

        Args:
            only: it is the handler's only one, so that every call was one of it.
        """
        here, elsewhere = self._sums(route)
        both = [here.of(route), elsewhere.of(route)]
        return RouteStats(
            on_loop=here.calls if only else both[0].calls,
            elsewhere=elsewhere.calls if only else both[1].calls,
            errors=sum(one.errors for one in both),
            slow=_histogram(both),
            longest=max(one.longest for one in both),
        )

    def _sums(self, route: Route | None = None) -> tuple[CallTally, CallTally]:
        """What the loop's threads have counted, and the others; of the routes only this one, if it is given.

        Made under the lock, so that a tally is either live or ended, and not both or neither.
        """
        here, elsewhere = CallTally(self.server, on_loop=True), CallTally(self.server, on_loop=False)
        with self._lock:
            self._bury_locked()
            for tally in (*self._ended, *self._live):
                (here if tally.on_loop else elsewhere).add(tally, route)
        return here, elsewhere

    def _bury_locked(self) -> None:
        """Add what ended threads have counted to one tally, so that a churn of threads costs no memory."""
        while self._gone:
            gone = self._gone.popleft()
            del self._live[gone]
            self._ended[gone.on_loop].add(gone)


def _histogram(tallies: Iterable[RouteTally]) -> Histogram:
    seconds, counts = 0.0, [0] * BUCKETS
    for tally in tallies:
        seconds += tally.seconds
        if tally.buckets is not None:
            counts = [a + b for a, b in zip(counts, tally.buckets, strict=True)]
    return Histogram(tuple(counts), seconds)
