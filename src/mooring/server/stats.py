"""The counters of a server, and how they are gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..net.accepting.listener import ListenerStats
from ..net.connection.connections import Connections
from ..net.connection.life import CloseReason
from ..net.limits.refusals import Refusal
from ..threads import ThreadPoolStats
from ..threads.histogram import Histogram
from .assembly import Assembly
from .lifecycle import ServerState


@dataclass(frozen=True, slots=True)
class ServerStats:
    """A snapshot of a server's counters.

    Attributes:
        state: where the server is in its life.
        uptime: seconds since ``start``; 0.0 before.
        connections, most_connections: open now, and the most at one time so far.
        accepted, refused: connections since the start; refused ones are closed at once and are among the accepted.
        refusals: the refused ones by reason; see Refusal.
        offences: frames that were none, logins and handshakes that failed, by kind; see ``Connection.strike``.
        accept_failures: errors of ``accept``.
        opening, opened, not_opened: sockets on the way through the stages of their listeners (a TLS handshake, say),
            those that went through, and those that did not, by stage and reason.
        listeners: each of them: whether it accepts, and how many it has accepted.
        closed: connections ended so far, by reason.
        messages, bytes_received: received so far; bytes with their frames.
        sent, bytes_sent: messages that were given to the kernel or wait for room in it, heartbeats included.
        calls: how long handlers took; those below 0.09 ms are counted in one bucket.
        dropped: messages and replies that could not leave because the connection was gone or its outbox full.
        heartbeats: sent so far.
        handovers: how often the loop moved to another thread because a handler waited on it.
        late: loop threads that are finishing such a handler now.
        spares: loop threads that could take its place; while there are none every message goes to the pool.
        threads: the pool's figures; None in models without a pool.
    """

    state: ServerState
    uptime: float
    connections: int
    most_connections: int
    accepted: int = 0
    refused: int = 0
    refusals: Mapping[Refusal, int] = field(default_factory=dict)
    offences: Mapping[str, int] = field(default_factory=dict)
    accept_failures: int = 0
    opening: int = 0
    opened: int = 0
    not_opened: Mapping[str, int] = field(default_factory=dict)
    listeners: tuple[ListenerStats, ...] = ()
    closed: Mapping[CloseReason, int] = field(default_factory=dict)
    messages: int = 0
    bytes_received: int = 0
    sent: int = 0
    bytes_sent: int = 0
    calls: Histogram = field(default_factory=Histogram)
    dropped: int = 0
    heartbeats: int = 0
    handovers: int = 0
    late: int = 0
    spares: int = 0
    threads: ThreadPoolStats | None = None


def take_stats(
    assembly: Assembly | None,
    *,
    state: ServerState,
    uptime: float,
    connections: Connections,
    listeners: tuple[ListenerStats, ...],
    threads: ThreadPoolStats | None,
) -> ServerStats:
    """Gather the counters, now.

    Args:
        assembly: what counts; None before the server is initialized.
        state, uptime, connections, listeners, threads: see ServerStats.
    """
    of_server = ServerStats(state, uptime, len(connections), connections.most, listeners=listeners, threads=threads)
    if assembly is None:
        return of_server
    loop, calls, handover = assembly.loop, assembly.serving.tallies.stats(), assembly.handover
    traffic = loop.state.traffic
    return replace(
        of_server,
        accepted=loop.arrivals.acceptor.accepted,
        refused=loop.gate.refusals.total,
        refusals=loop.gate.refusals.counts(),
        offences=loop.gate.strikes.counts(),
        accept_failures=loop.arrivals.acceptor.failures,
        opening=len(loop.arrivals.openings),
        opened=loop.arrivals.openings.opened,
        not_opened=dict(loop.arrivals.openings.failed),
        closed=dict(traffic.closed),
        messages=traffic.messages,
        bytes_received=traffic.bytes_received,
        sent=traffic.sent + calls.sent,
        bytes_sent=traffic.sent_bytes + calls.sent_bytes,
        calls=calls.calls,
        dropped=traffic.dropped,
        heartbeats=traffic.beats,
        handovers=handover.taken + handover.announced if handover is not None else 0,
        late=handover.late if handover is not None else 0,
        spares=len(handover.parked) if handover is not None else 0,
    )
