"""Puts together what serves: listeners with their stages, the loop, and the model that runs the handlers."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..handler import Handling
from ..models.epoll import EpollModel
from ..models.handover import Handover
from ..models.hybrid import HybridModel
from ..models.pause import NeverPaused
from ..models.serving import Serving
from ..models.thread_per_connection import ThreadPerConnectionModel
from ..net.accepting.listener import Listener
from ..net.accepting.opening import Stage
from ..net.connection.connection import Connection
from ..net.connection.connections import Connections
from ..net.limits.gate import Gate
from ..net.loop.loop import Loop
from ..net.proxy.stage import ProxyStage
from ..net.tls.context import make_context
from ..net.tls.stage import TLSStage
from ..threads import ThreadPool
from .configuration import Configuration


def check_platform(model: str) -> None:
    """Refuse to go on where there is no epoll.

    Raises:
        RuntimeError: this is not Linux.
    """
    if not hasattr(select, "epoll"):
        raise RuntimeError(f"model {model!r} needs epoll, which is there on Linux only; this is {sys.platform}")


def make_tls_stage(configuration: Configuration) -> TLSStage | None:
    """The handshake of the ``tls://`` addresses, with the certificate read; None: there are none.

    Raises:
        BindError: the certificate or its key is of no use.
    """
    tls = configuration.tls
    return TLSStage(make_context(tls), tls.handshake_timeout) if tls is not None else None


def stages_of(
    listener: Listener, configuration: Configuration, gate: Gate, tls_stage: TLSStage | None
) -> tuple[Stage, ...]:
    """What the sockets of a listener go through before they are connections."""
    stages: list[Stage] = []
    if configuration.proxy_protocol is not None:
        stages.append(ProxyStage(configuration.proxy_protocol, gate))
    if listener.address.tls:
        assert tls_stage is not None
        stages.append(tls_stage)
    return tuple(stages)


@dataclass(frozen=True, slots=True)
class Assembly:
    """What serves, from ``initialize`` on.

    Attributes:
        loop: owns the descriptors.
        serving: runs the handlers, in whatever thread the model chooses.
        handover: the threads of the loop; None where it has but one.
        detach: has the pool forget the server.
    """

    loop: Loop
    serving: Serving
    handover: Handover | None
    detach: Callable[[], None]

    def start(self, name: str) -> None:
        """Have the loop run, in threads called by the server's name.

        Raises:
            RuntimeError: the system gives no thread.
        """
        if self.handover is not None:
            self.handover.start()
            return
        threading.Thread(target=self.loop.run, name=f"{name}-loop", daemon=True).start()


def assemble(
    server: Any,
    configuration: Configuration,
    handling: Handling,
    *,
    name: str,
    connections: Connections,
    gate: Gate,
    pool: ThreadPool,
    take: Callable[[socket.socket], Connection | None],
    counts: Callable[[], bool],
) -> Assembly:
    """Make the loop and its model; nothing runs yet.

    Args:
        server: what connections show as theirs.
        configuration: see Configuration.
        handling: the user's handlers.
        name: prefix of the names of threads.
        connections: the server's, which users see.
        gate: who may come in.
        pool: for the hybrid model.
        take: see Loop.
        counts: whether the pool's samples count for its size now; see ``ThreadPool.attach``.
    """
    beats = configuration.heartbeat
    loop = Loop(
        server=server,
        framing=configuration.framing,
        connections=connections,
        handles_lost=handling.lost is not None,
        timeouts=configuration.timeouts,
        beats=beats if beats is not None and beats.interval is not None else None,
        inbox_limit=configuration.inbox_limit,
        outbox_limit=configuration.outbox_limit,
        overflow=configuration.overflow,
        max_connections=configuration.most_connections,
        gate=gate,
        take=take,
    )
    serving = Serving(
        handling,
        join=configuration.framing.join,
        attend=loop.attend,
        pause=pool if configuration.model == "hybrid" else NeverPaused(),
        rare=loop.state.rare,
    )
    if configuration.model == "hybrid":
        return _with_hybrid_model(loop, serving, name, pool, counts)
    if configuration.model == "epoll":
        loop.state.model = EpollModel(serving, loop)
    else:
        loop.state.model = ThreadPerConnectionModel(
            serving, loop, inbox_limit=configuration.inbox_limit, name=f"{name}-connection"
        )
    return Assembly(loop, serving, None, lambda: None)


def _with_hybrid_model(
    loop: Loop, serving: Serving, name: str, pool: ThreadPool, counts: Callable[[], bool]
) -> Assembly:
    handover = None
    if serving.handling.blocking is not True:
        handover = Handover(
            loop.state, loop.run, limit=pool.stats().max_size, name=f"{name}-loop", rare=loop.state.rare
        )
    loop.state.model = HybridModel(serving, pool, loop, handover)
    detach = pool.attach(counts=counts, describe=lambda thread, function, args: serving.describe(thread))
    return Assembly(loop, serving, handover, detach)
