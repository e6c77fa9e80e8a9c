"""The flow through a connection: whether it is read, whether what waits is served, and the bytes of its outbox.

A peer that asks for more than we serve is not read for a while; one that takes fewer bytes than we send is neither
served nor read. No thread waits for either: the kernel's windows close.
"""

from __future__ import annotations

from collections.abc import Callable

from ..connection.connection import Connection
from ..connection.items import size_of
from ..connection.life import LINGERING, OPEN
from ..connection.output import OUTBOX_MARK, Stall
from ..connection.waiting_bytes import DONT_WAIT, has_more, unsent_bytes
from ..limits.throttle import Pace
from .descriptors import IN, OUT
from .input import INBOX_SIZE, Input
from .leading import leader_only
from .state import State

WRITE_SIZE = 256 * 1024

LONGEST_HOLD = 1.0
"""Seconds until the next look at a connection that has sent too much."""


class Flow:
    """Balances what comes in, waits and goes out. Belongs to the leader.

    Args:
        state: of the loop.
        input: reads what a layer of ours holds when a connection may be read again.
        inbox_limit: messages waiting plus replies outstanding, beyond which a connection is not read.
        write_timeout: seconds in which the peer must take something of what is sent.
        look: see ``Loop.look``; for a connection of which something has changed.
    """

    def __init__(
        self,
        state: State,
        input: Input,
        *,
        inbox_limit: int,
        write_timeout: float,
        look: Callable[[Connection], None],
    ) -> None:
        self.state = state
        self._input = input
        self._inbox_limit = inbox_limit
        self._write_timeout = write_timeout
        self._look = look

    @leader_only
    def balance(self, connection: Connection) -> None:
        """Serve what waits if that is possible, read if there is room for more; else have us told of a change."""
        held = connection._pace is not None and self._is_held(connection, connection._pace)
        with connection._lock:
            inbox = connection._inbox
            waiting = len(inbox) if inbox else 0
            blocked = connection._outbox_size > OUTBOX_MARK
            resume = waiting and not connection._served and not blocked
            load = waiting + (len(connection._replies) if connection._replies else 0)
            limit = self._inbox_limit if connection._reading else self._inbox_limit // 2
            reading = load <= limit and not blocked and not held
            if reading and inbox and waiting > 1:
                reading = size_of(inbox) <= (INBOX_SIZE if connection._reading else INBOX_SIZE // 2)
            connection._watched = connection._phase is not OPEN or not reading or blocked
            senders = connection.take_senders_locked() if not blocked and connection._senders else []
        for baton in senders:
            baton.release()
        if reading and not connection._reading:
            self._read_again(connection)
        connection._reading = reading
        if resume:
            self.state.model.resume(connection)

    def _read_again(self, connection: Connection) -> None:
        now = self.state.now
        connection._last_received = now  # the silence was our own doing
        partial = connection._partial
        if partial is not None:
            partial.since = now
        if has_more(connection):
            self._input.read_soon(connection)

    @leader_only
    def _is_held(self, connection: Connection, pace: Pace) -> bool:
        """Whether it has sent too much to be read now; if so we look again when it may be."""
        left = pace.until - self.state.now
        if left > 0 and not pace.is_planned:
            pace.is_planned = True
            # In steps: a connection that has ended meanwhile is not kept alive for long.
            self.state.timers.call_later(min(left, LONGEST_HOLD), lambda: self._let_go(connection, pace))
        return left > 0

    @leader_only
    def _let_go(self, connection: Connection, pace: Pace) -> None:
        pace.is_planned = False
        self._look(connection)

    @leader_only
    def watch(self, connection: Connection) -> None:
        """Have epoll watch for what is wanted of the connection now."""
        state = self.state
        wanted = OUT if connection._armed else 0
        reading = (connection._phase is OPEN and connection._reading) or connection._phase is LINGERING
        if reading and not state.model.reads_itself:
            wanted |= IN
        begins_to_write = wanted & OUT and not connection._mask & OUT
        state.descriptors.want(connection, wanted)
        if begins_to_write:
            connection._stall = Stall(state.now, unsent_bytes(connection))
            state.ring.arm(connection, state.now + self._write_timeout, state.now)

    @leader_only
    def write(self, connection: Connection) -> None:
        """The loop is the writer: the kernel was full and has room again."""
        data = self._take_outbox(connection)
        try:
            sent = connection._socket.send(data, DONT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            connection.write_failed(exc)
            return
        if sent:
            connection._stall = Stall(self.state.now, unsent_bytes(connection))
        with connection._lock:
            outbox = connection._outbox
            if sent < len(data) and outbox is not None:
                outbox.appendleft(memoryview(data)[sent:])
                connection._outbox_size += len(data) - sent
            if not outbox:
                connection._armed = connection._writing = False
                connection._outbox = None
            changed = not outbox or connection._watched
        if changed:
            self._look(connection)

    @staticmethod
    def _take_outbox(connection: Connection) -> bytes | memoryview:
        with connection._lock:
            outbox = connection._outbox
            pieces: list[bytes | memoryview] = []
            size = 0
            while outbox and size < WRITE_SIZE:
                pieces.append(outbox.popleft())
                size += len(pieces[-1])
            connection._outbox_size -= size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
