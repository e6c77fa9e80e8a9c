"""How connections end: drained, lingering, told of, and their descriptors closed. The phases are told in ``life``.

Descriptors are closed at the end of a turn and only when no thread uses them: a number that is closed earlier may be
given to the next client, whom a stale event or a late ``send`` would then hit.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable

from ..connection.connection import Connection
from ..connection.connections import Connections
from ..connection.items import LOST
from ..connection.life import CLOSED, DRAINING, ENDING, LINGERING, CloseReason, Ending
from ..limits.gate import Gate
from .leading import leader_only
from .state import State

logger = logging.getLogger("mooring")

DROP_SIZE = 64 * 1024
LINGER_SIZE = 64 * 1024
"""Bytes that are read and dropped after our last byte; a peer that sends more is reset."""

LAST_WORD_INTERVAL = 0.05
"""Seconds between two tries to say the end of a TLS connection into a kernel that is full."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with time-out 0, socket(7)


class Endings:
    """Takes connections from one phase to the next. Belongs to the leader.

    Args:
        state: of the loop.
        connections: the table that users see.
        gate: hears of offences.
        handles_lost: whether the handler wants to hear of the end.
        look: see ``Loop.look``; for phases that are over by something that comes from outside.
    """

    def __init__(
        self,
        state: State,
        connections: Connections,
        gate: Gate,
        *,
        handles_lost: bool,
        look: Callable[[Connection], None],
    ) -> None:
        self.state = state
        self._connections = connections
        self._gate = gate
        self._handles_lost = handles_lost
        self._look = look

    @leader_only
    def drain(self, connection: Connection) -> None:
        """Read nothing more: from OPEN to DRAINING."""
        with connection._lock:
            connection._phase = DRAINING
            connection._watched = True
        connection._partial = None
        connection._ending = Ending(self.state.now)
        self.state.ring.forget(connection)  # the deadlines are others now
        connection.fail_requests()

    @leader_only
    def try_to_linger(self, connection: Connection) -> None:
        """From DRAINING to LINGERING, if all that is due has left."""
        with connection._lock:
            if connection._served or connection._writing or connection._inbox or connection._replies:
                return
            broken = connection._output_over
            connection._output_over = True
            connection._phase = LINGERING
        connection._ending = Ending(self.state.now)
        self.state.ring.forget(connection)
        if broken or connection._eof:
            self.end(connection)
            return
        self._shut_output(connection)

    @leader_only
    def _shut_output(self, connection: Connection) -> None:
        """Say that nothing more comes. TLS has a last word, for which the kernel may have no room just now."""
        if connection._phase is not LINGERING:
            return
        try:
            connection._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self.state.timers.call_later(LAST_WORD_INTERVAL, lambda: self._shut_output(connection))
        except OSError:
            self.end(connection)
            self._look(connection)

    @leader_only
    def drop_input(self, connection: Connection) -> None:
        """Read what comes of a peer that lingers, and drop it."""
        try:
            data = connection._socket.recv(DROP_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self.dropped_input(connection, len(data))

    @leader_only
    def dropped_input(self, connection: Connection, size: int) -> None:
        """So many bytes came while the connection lingers; 0 for its end."""
        ending = connection._ending
        if connection._phase is not LINGERING or ending is None:
            return
        ending.dropped += size
        floods = ending.dropped > LINGER_SIZE
        if floods:
            # It may have filled our window and wait for it to open: only a reset tells it for sure that nobody reads.
            _reset_on_close(connection)
        if floods or not size:
            self.end(connection)
            self._look(connection)

    @leader_only
    def end(self, connection: Connection) -> None:
        """Take the connection out of everything: to ENDING. ``lost`` runs after the handler that may still run."""
        state = self.state
        state.ring.forget(connection)
        state.descriptors.want(connection, 0)
        with connection._lock:
            connection._phase = ENDING
            connection._watched = True
            connection._output_over = True
            unsent = connection._outbox_size > 0
            senders = connection.drop_output_locked()
            if connection._armed:
                connection._armed = connection._writing = False
            if connection._aborted and connection._dropping and connection._inbox:
                connection._inbox.clear()
        for baton in senders:
            baton.release()
        if unsent:
            state.traffic.count_dropped()
        connection.fail_requests()
        self._connections.discard(connection)
        if connection._aborted:
            _reset_on_close(connection)
        try:
            connection._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was quicker
        self._tell(connection)

    def _tell(self, connection: Connection) -> None:
        """Those who want to know of the end."""
        reason = connection._close_reason or CloseReason.LOCAL
        if reason is CloseReason.FRAME:
            self._gate.strikes.add(connection._peer, "frame")
        self._log(connection, reason)
        self.state.traffic.closed[reason] += 1  # who sees it finds the line in the log
        if self._handles_lost:
            self.state.model.deliver(connection, [LOST])
        elif connection._inbox and not connection._served:
            self.state.model.resume(connection)

    def _log(self, connection: Connection, reason: CloseReason) -> None:
        ordinary = reason in (CloseReason.PEER, CloseReason.LOCAL, CloseReason.STOP)
        level = logging.DEBUG if ordinary else logging.INFO
        if logger.isEnabledFor(level):
            detail = f": {connection._close_detail}" if connection._close_detail else ""
            self.state.rare.log(level, f"closed ({reason})", "%r closed, %s%s", connection, reason, detail)

    @leader_only
    def try_to_close(self, connection: Connection) -> None:
        """From ENDING to CLOSED, if no thread uses it any more."""
        with connection._lock:
            if connection._served or connection._writing or connection._inbox or connection._held:
                return
            if connection._phase is CLOSED:
                return
            connection._phase = CLOSED
        self.state.closing.append(connection)

    @leader_only
    def close_descriptors(self) -> None:
        """The end of a turn: nobody looks at its events any more."""
        state = self.state
        closing, state.closing = state.closing, []
        for connection in closing:
            state.table.remove(connection)
            connection._handler = None
            connection._socket.close()

    def close_orphan(self, connection: Connection) -> None:
        """The loop is over: whoever lets go of a connection last closes it. From any thread."""
        with connection._lock:
            if connection._served or connection._writing or connection._held or connection._phase is CLOSED:
                return
            was_open = connection._phase < ENDING  # adopted when the loop was over
            connection._phase = CLOSED
        if was_open:
            self._connections.discard(connection)
        self.state.table.remove(connection)
        connection._socket.close()


def _reset_on_close(connection: Connection) -> None:
    try:
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    except OSError:
        pass  # the peer was quicker
