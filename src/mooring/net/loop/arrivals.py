"""How connections come: accepted or handed over, through the stages of their listener, into the table, to the model."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from ..accepting.acceptor import Acceptor
from ..accepting.listener import Listener
from ..accepting.opening import Openings
from ..address import pack_sockaddr
from ..connection.connection import Connection
from ..connection.connections import Connections
from ..connection.engine import Engine
from ..connection.life import CLOSED, ENDING
from ..connection.waiting_bytes import has_more
from ..limits.gate import Gate
from ..limits.refusals import Refusal
from ..tls.layer import TLSSocket
from .input import Input
from .leading import leader_only
from .state import State

STRIPES = 64

_connection_ids = itertools.count(1)


class Arrivals:
    """Makes connections of sockets. Belongs to the leader, but for ``adopt``.

    Args:
        state: of the loop.
        engine: what connections know of the loop.
        input: reads what a layer of ours holds already.
        gate: who may come in.
        max_connections: beyond it new connections are closed at once; sockets on the way count.
        take: is given each accepted socket; returns the connection or None for one that was refused.
        admit: is given each new connection, on the loop's thread.

    Attributes:
        acceptor: of the listeners.
        openings: sockets on their way through the stages.
        stripes: the locks that connections share.
    """

    def __init__(
        self,
        state: State,
        engine: Engine,
        input: Input,
        gate: Gate,
        *,
        max_connections: int,
        take: Callable[[socket.socket], Connection | None],
        admit: Callable[[Connection], None],
    ) -> None:
        self.state = state
        self.max_connections = max_connections
        self.stripes = tuple(threading.Lock() for _ in range(STRIPES))
        self._engine = engine
        self._connections: Connections = engine.connections
        self._input = input
        self._gate = gate
        self._take = take
        self._admit = admit
        descriptors, call_later = state.descriptors, state.timers.call_later
        self.acceptor = Acceptor(
            (),
            adopt=self._accepted,
            has_room=lambda: state.table.count + len(self.openings) < self.max_connections,
            gate=gate,
            watch=descriptors.watch,
            unwatch=descriptors.unwatch,
            call_later=call_later,
            rare=state.rare,
        )
        self.openings = Openings(
            limit=gate.limits.handshakes,
            done=self._opened,
            turn=lambda: state.polled,
            watch=descriptors.watch,
            rewatch=descriptors.rewatch,
            unwatch=descriptors.unwatch,
            call_later=call_later,
            rare=state.rare,
        )
        self.openings.when_full = self.acceptor.rest_those_with_stages
        self.openings.when_failed = lambda sock, reason: gate.end_opening(sock.fileno(), reason)

    @leader_only
    def _accepted(self, sock: socket.socket, peer: Any, listener: Listener) -> None:
        if not listener.stages:
            self._opened(sock, peer)
            return
        self._gate.begin_opening(sock.fileno(), peer)
        try:
            self.openings.begin(sock, peer, listener.stages)
        except OSError as exc:
            self._gate.end_opening(sock.fileno())
            self._gone(sock, exc)

    def _gone(self, sock: socket.socket, exc: OSError) -> None:
        sock.close()
        self.acceptor.failures += 1
        self.state.rare.log(logging.DEBUG, "adopt", "a new connection was gone at once: %s", exc)

    @leader_only
    def _opened(self, sock: socket.socket, peer: Any) -> None:
        """A socket, or a layer that stands for one, may become a connection."""
        self._gate.end_opening(sock.fileno())
        try:
            connection = self._take(sock)
        except OSError as exc:  # it may be gone already: setsockopt and getpeername fail then
            self._gone(sock, exc)
        except BaseException:  # noqa: BLE001 - code of the user's: its SystemExit must not end the loop
            self.state.rare.log(logging.ERROR, "take", "handle_new_connection raised", exc_info=True)
            self.acceptor.refuse(sock, peer, Refusal.HANDLER, "handle_new_connection raised")
        else:
            if connection is None:
                self.acceptor.refuse(sock, peer, Refusal.HANDLER, "handle_new_connection returned None")

    def adopt(self, sock: socket.socket) -> Connection:
        """See ``Loop.adopt``."""
        state, engine = self.state, self._engine
        peer = pack_sockaddr(sock.family, sock.getpeername())
        peer = getattr(sock, "announced", peer)  # by a load balancer
        _prepare(sock, engine.write_timeout)
        number = next(_connection_ids)
        now = state.now if state.is_led_here() else time.monotonic()
        connection = Connection(engine, sock, peer, number, self.stripes[number % STRIPES], now)
        layer: Any = sock
        if isinstance(layer, TLSSocket):
            layer.belong_to(connection, self._input.read_soon)
        state.table.add(connection)  # counted from here on, and closed at the end, come what may
        self._connections.add(connection)
        state.mailbox.post(lambda: self._begin(connection))
        if state.mailbox.is_over:
            state.mailbox.attend(connection)
        return connection

    @leader_only
    def _begin(self, connection: Connection) -> None:
        if connection._phase >= ENDING:
            return  # somebody found it in the table and aborted it before we got here
        if connection._socket.fileno() < 0:  # closed after all by the handle_new_connection that had it adopted
            connection._phase, connection._output_over = CLOSED, True
            self.state.table.remove(connection)
            self._connections.discard(connection)
            return
        self._admit(connection)
        if has_more(connection):
            self._input.read_more(connection)

    @leader_only
    def close(self) -> None:
        """Nobody comes any more."""
        self.acceptor.close()
        self.openings.close()

    def abandon(self) -> None:
        """In a forked child: close the descriptors, without a word to the peers."""
        self.acceptor.abandon()
        self.openings.abandon()


def _prepare(sock: socket.socket, write_timeout: float) -> None:
    """Set what we need of a connected socket."""
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that vanished with our last bytes on the way is given up by the kernel, tcp(7). Where we judge by
        # ourselves, which names the setting in the log, the kernel must not be quicker.
        patience = min(3 * write_timeout * 1000, 2**31 - 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience))
