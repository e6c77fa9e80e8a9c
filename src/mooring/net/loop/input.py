"""Reading: bytes from the kernel, cut into messages, handed to the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ...errors import FrameError, text_of
from ...framing import Framing
from ..connection.connection import Connection
from ..connection.items import Event, Item, size_of
from ..connection.life import LINGERING, OPEN, CloseReason
from ..connection.partial import Partial
from ..limits.throttle import Throttle
from ..tls.layer import NothingYet
from ..tls.records import HANDSHAKE, is_client_hello
from .ending import Endings
from .leading import leader_only
from .state import State

RECEIVE_SIZE: Final = 64 * 1024

INBOX_SIZE: Final = 1 << 20
"""Bytes of messages that may wait on a connection, beside the one that comes next; beyond it the connection is not
read, however few they are: a peer must not have the memory of ``inbox_limit`` messages of the largest size."""


class Input:
    """Reads connections and cuts what came into messages. The leader's, but for ``read`` and what it uses, which
    belong to the thread that reads the connection.

    Args:
        state: of the loop.
        endings: for what comes when nothing is wanted any more.
        framing: cuts bytes into messages.
        frame_timeout: seconds in which a message that has begun must be complete; None: no limit.
        inbox_limit: messages waiting plus replies outstanding, beyond which a connection is not read.
        throttle: how much each may send; None: as much as it likes. May be changed at any time.
        look: see ``Loop.look``; for a connection that may not be read any more.
    """

    def __init__(
        self,
        state: State,
        endings: Endings,
        framing: Framing,
        *,
        frame_timeout: float | None,
        inbox_limit: int,
        throttle: Throttle | None,
        look: Callable[[Connection], None],
    ) -> None:
        self.state = state
        self.throttle = throttle
        self._endings = endings
        self._split = framing.split
        self._frame_timeout = frame_timeout
        self._inbox_limit = inbox_limit
        self._look = look

    @leader_only
    def receive(self, connection: Connection) -> None:
        """Read once and have the messages served."""
        state = self.state
        now = state.now
        try:
            data = connection._socket.recv(RECEIVE_SIZE)
        except OSError as exc:
            self._read_failed(connection, exc, now)
            return
        if not data:
            _read_end(connection)
            return
        items = self.cut(connection, data, now)
        traffic = state.traffic
        traffic.bytes_received += len(data)
        if self.throttle is not None and self.throttle.charge(connection, len(items), len(data), now):
            self._look(connection)
        if items:
            traffic.messages += len(items)
            if connection._requests:
                items = connection.offer(items)
            state.model.deliver(connection, items)
            replies = connection._replies
            if connection._inbox or (replies and len(replies) > self._inbox_limit):
                self._check_load(connection, items)

    @leader_only
    def _check_load(self, connection: Connection, items: list[Item]) -> None:
        inbox = connection._inbox
        # Of small messages so many are no weight; of large ones a few of those that may wait would be.
        are_large = inbox and len(inbox) > 1 and size_of(items) > INBOX_SIZE // self._inbox_limit
        if are_large or self.is_full(connection):
            self._look(connection)

    def is_full(self, connection: Connection) -> bool:
        """Whether more messages wait, and replies are outstanding, than ``inbox_limit``. From any thread."""
        inbox, replies = connection._inbox, connection._replies
        return (len(inbox) if inbox else 0) + (len(replies) if replies else 0) > self._inbox_limit

    def read_soon(self, connection: Connection) -> None:
        """There is something to read of which epoll will not tell; from the thread that reads."""
        if not self.state.model.reads_itself:  # such a model asks has_more() before it waits
            self.state.mailbox.post(lambda: self.read_more(connection))

    @leader_only
    def read_more(self, connection: Connection) -> None:
        """Read once if that is wanted now, whatever epoll says."""
        if self.state.model.reads_itself:
            return
        if connection._phase is OPEN and connection._reading:
            self.receive(connection)
        elif connection._phase is LINGERING:
            self._endings.drop_input(connection)

    def read(self, connection: Connection, now: float) -> list[Item]:
        """One ``recv``, cut into messages; for a thread other than the loop's that reads the connection."""
        try:
            data = connection._socket.recv(RECEIVE_SIZE)
        except OSError as exc:
            self._read_failed(connection, exc, now)
            return []
        if not data:
            _read_end(connection)
            return []
        items = self.cut(connection, data, now)
        if self.throttle is not None:
            self.throttle.charge(connection, len(items), len(data), now)
        self.state.traffic.count_received(len(items), len(data))
        return connection.offer(items) if connection._requests else items

    def _read_failed(self, connection: Connection, exc: OSError, now: float) -> None:
        if isinstance(exc, BlockingIOError):
            if isinstance(exc, NothingYet):
                connection._last_received = now  # bytes are life
                if exc.record_begun and connection._partial is None:
                    self._begin_partial(connection, now)
            return
        connection._eof = True
        with connection._lock:
            connection._output_over = True
        connection.end(CloseReason.RESET, exc.strerror or str(exc))

    def cut(self, connection: Connection, data: bytes, now: float) -> list[Item]:
        """Cut what was read into messages, and an Event for bytes that are no frame, which end the input."""
        connection._last_received = now
        if connection._input_over:
            return []
        partial = connection._partial
        if partial is not None:
            whole = partial.add(data)
            if whole is None:
                return []
            data = whole
        if not connection._messages and data[0] == HANDSHAKE and is_client_hello(data):
            connection._partial = None
            connection.end(CloseReason.FRAME, "the peer speaks TLS, and this address does not", dropping=True)
            return []
        try:
            messages, rest, missing = self._split(data)
        except FrameError as exc:
            connection._partial = None
            # The input ends before the service begins, in which the role may be lost; the loop looks at it after.
            connection.end(CloseReason.FRAME, str(exc))
            return [*exc.messages, Event("malformed", exc)]
        except BaseException as exc:  # noqa: BLE001 - code of the user's: its SystemExit must not end the loop
            self.state.rare.log(logging.ERROR, "framing", "%r: the framing raised", connection, exc_info=True)
            connection.end(CloseReason.HANDLER, f"the framing raised {type(exc).__name__}: {text_of(exc)}")
            return []
        if messages:
            connection._messages += len(messages)
        if rest:
            if messages or partial is None:
                partial = self._begin_partial(connection, now)
            partial.keep(rest, missing)
        elif partial is not None:
            connection._partial = None
        return messages  # type: ignore[return-value]

    def _begin_partial(self, connection: Connection, now: float) -> Partial:
        """A message begins, or a record in which one may come; it must be complete in time."""
        partial = connection._partial = Partial(now)
        if self._frame_timeout is not None:
            self._plan_look(connection, now + self._frame_timeout, now)
        return partial

    def _plan_look(self, connection: Connection, when: float, now: float) -> None:
        state = self.state
        if state.is_led_here():
            state.ring.arm(connection, when, now)
        else:
            state.mailbox.post(lambda: state.ring.arm(connection, when, now))


def _read_end(connection: Connection) -> None:
    connection._eof = True
    connection.end(CloseReason.PEER, getattr(connection._socket, "end_detail", ""))
