"""Accepting: the listeners of a loop, what happens when the kernel has no descriptor left, and the limit."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..address import Address, pack_sockaddr
from ..limits.gate import Gate
from ..limits.refusals import Refusal
from ..limits.token_bucket import TokenBucket
from ..rare import RareLog
from .listener import Listener

logger = logging.getLogger("mooring")

ACCEPTS_PER_TURN = 8
"""A flood of connects must leave time for those who are here: each takes some 50 us, to its end."""
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 1.0

PACE_STEP = 0.02
"""Seconds that the listeners rest at least when clients come faster than they may: one timer for some of them."""

OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
OUT_OF_MEMORY = {errno.ENOBUFS, errno.ENOMEM}

LIMITS = {
    errno.EMFILE: "this process may open {limit} files (ulimit -n, LimitNOFILE=); raise it or lower max_connections",
    errno.ENFILE: "the system's file table is full (sysctl fs.file-max)",
    errno.ENOBUFS: "the kernel has no memory for sockets (sysctl net.ipv4.tcp_mem)",
    errno.ENOMEM: "the kernel has no memory for sockets (sysctl net.ipv4.tcp_mem)",
}


class Acceptor:
    """Accepts from all listeners; belongs to the loop's thread.

    Out of descriptors, ``accept`` fails and leaves the client in the queue, so that a level-triggered poll would spin.
    Therefore a descriptor is kept in reserve: it is given up to accept the client, who is closed at once, and taken
    again; and the listeners rest for a while, from 10 ms doubling to 1 s. (libuv and Twisted have the reserve, gevent
    the pause; either alone is not enough.) Errors of the connection that was to be accepted are passed over, as
    accept(2) asks.

    Args:
        listeners: what is accepted from.
        adopt: is given each new socket, its peer's address (packed) and its listener.
        has_room: false while there are as many connections as there may be.
        gate: says who may come in, and how many in a second.
        watch, unwatch: (un)register a descriptor at the loop.
        call_later: run a function in so many seconds.
        rare: for lines that a client can cause.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        adopt: Callable[[socket.socket, Any, Listener], None],
        has_room: Callable[[], bool],
        gate: Gate,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        call_later: Callable[[float, Callable[[], None]], None],
        rare: RareLog,
    ) -> None:
        self.listeners = list(listeners)
        self.accepted = 0
        self.failures = 0
        self._adopt = adopt
        self._has_room = has_room
        self._gate = gate
        self._watch = watch
        self._unwatch = unwatch
        self._call_later = call_later
        self._rare = rare
        self._reserve: int | None = _open_reserve()
        self._suspended = True
        self._chosen: Collection[Address] | None = None
        self._resting = False
        self._crowded = False
        self._pause = FIRST_PAUSE

    def resume(self, chosen: Collection[Address] | None = None) -> None:
        """Begin to accept, or go on; harmless if that is so already.

        Args:
            chosen: the listeners from which, by address; the others are suspended. None: all.
        """
        self._suspended, self._chosen = False, chosen
        self._update()

    def suspend(self) -> None:
        """Stop accepting: up to ``backlog`` clients per listener then wait in the kernel."""
        self._suspended = True
        self._update()

    def close(self) -> None:
        """Close the listeners, for good."""
        self.suspend()
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def abandon(self) -> None:
        """In a forked child: close the descriptors and leave the parent's files alone."""
        for listener in self.listeners:
            listener.socket.close()
        self.listeners.clear()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def rest_those_with_stages(self, rest: bool) -> None:
        """Let the listeners whose sockets go through stages rest while there is no room for more on the way."""
        self._crowded = rest
        self._update()

    def _update(self) -> None:
        for listener in self.listeners:
            chosen = self._chosen is None or listener.address in self._chosen
            wanted = chosen and not (self._suspended or self._resting or (self._crowded and listener.stages))
            if wanted == listener.watched:
                continue
            listener.watched = wanted
            if wanted:
                self._watch(listener.socket.fileno(), lambda listener=listener: self._accept(listener))  # type: ignore[misc]
            else:
                self._unwatch(listener.socket.fileno())

    def _accept(self, listener: Listener) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if not listener.watched:
                return
            try:
                sock, sockaddr = listener.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in OUT_OF_DESCRIPTORS or exc.errno in OUT_OF_MEMORY:
                    self._exhausted(listener, exc)
                    return
                # An error of a connection that died in the queue (ECONNABORTED, EPROTO, ENETDOWN ...): the next one.
                self.failures += 1
                self._rare.log(logging.INFO, "accept", "accept on %s: %s", listener.address, exc.strerror)
                continue
            if self._reserve is None:
                self._reserve = _open_reserve()
            self._pause = FIRST_PAUSE
            self.accepted += 1
            listener.accepted += 1
            peer = pack_sockaddr(listener.socket.family, sockaddr)
            verdict = self._gate.check_accepted(peer) if self._has_room() else (Refusal.MAX_CONNECTIONS, "")
            if verdict is not None:
                self.refuse(sock, peer, *verdict)
                continue
            self._adopt(sock, peer, listener)
            if self._gate.pace is not None:
                self._keep_pace(self._gate.pace)

    def _keep_pace(self, pace: TokenBucket) -> None:
        """Rest if the next one would come too soon. Those who were refused have not been charged."""
        now = time.monotonic()
        pace.charge(1.0, now)
        pause = pace.wait(now, 1.0)
        if pause > 0 and not self._resting:
            self._rest(max(pause, PACE_STEP))

    def refuse(self, sock: socket.socket, peer: Any, reason: Refusal, detail: str = "") -> None:
        """Close a connection that was not taken, and count it.

        Args:
            sock: the connection.
            peer: its other end's address, packed.
            reason: why.
            detail: figures for the log.
        """
        self._gate.refusals.note(reason, peer, detail)  # before the client can see its end
        sock.close()

    def _exhausted(self, listener: Listener, exc: OSError) -> None:
        self.failures += 1
        if self._pause == FIRST_PAUSE:  # once in a row of failures
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            advice = LIMITS[exc.errno or errno.EMFILE].format(limit=limit)
            self._rare.log(
                logging.ERROR,
                "accept exhausted",
                "accept on %s: %s: %s; clients are turned away until some have left",
                listener.address,
                (exc.strerror or str(exc)).lower(),
                advice,
            )
        if self._reserve is not None and exc.errno in OUT_OF_DESCRIPTORS:
            os.close(self._reserve)
            self._reserve = None
            try:
                sock, sockaddr = listener.socket.accept()
                self.accepted += 1
                listener.accepted += 1
                self._gate.refusals.note(Refusal.DESCRIPTORS, pack_sockaddr(listener.socket.family, sockaddr))
                sock.close()
            except OSError:
                pass  # somebody else was quicker to take the descriptor
            self._reserve = _open_reserve()
        self._rest(self._pause)
        self._pause = min(LONGEST_PAUSE, self._pause * 2)

    def _rest(self, pause: float) -> None:
        self._resting = True
        self._update()
        self._call_later(pause, self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self.listeners:
            self._update()


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
