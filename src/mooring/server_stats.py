"""What a server tells of itself: where it is in its life, and its counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .net.connection import CloseReason
from .net.listener import ListenerStats
from .net.refusals import Refusal
from .threads import ThreadPoolStats
from .threads.histogram import Histogram


class ServerState(StrEnum):
    """new -> initialized -> running -> stopping -> stopped; the steps between happen outside the lock."""

    NEW = "new"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


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
    accepted: int
    refused: int
    refusals: Mapping[Refusal, int]
    offences: Mapping[str, int]
    accept_failures: int
    opening: int
    opened: int
    not_opened: Mapping[str, int]
    listeners: tuple[ListenerStats, ...]
    closed: Mapping[CloseReason, int]
    messages: int
    bytes_received: int
    sent: int
    bytes_sent: int
    calls: Histogram
    dropped: int
    heartbeats: int
    handovers: int
    late: int
    spares: int
    threads: ThreadPoolStats | None
