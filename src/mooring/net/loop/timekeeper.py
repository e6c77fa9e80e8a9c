"""Keeping the time of connections: deadlines that have passed end them, beats that are due are sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from ...errors import ConnectionClosed, text_of
from ..connection.connection import Connection
from ..connection.life import DRAINING, ENDING, LINGERING, OPEN, CloseReason
from ..connection.output import Stall
from ..connection.waiting_bytes import has_bytes, unsent_bytes
from ..deadlines.timeouts import Deadline, Timeouts, judge
from .ending import Endings
from .leading import leader_only
from .model import Beats
from .state import State

DEADLINES_PER_TURN = 32
"""When thousands have come at once their time is over at once, too: others are served between groups of so many."""

LATE_THREAD_INTERVAL = 1.0
"""Seconds until the next look at a connection whose bytes wait for its own thread."""


class Timekeeper:
    """Judges connections when one of their deadlines may have passed. Belongs to the leader.

    Args:
        state: of the loop.
        endings: ends those who linger for too long.
        timeouts: see Timeouts.
        beats: the heartbeat that the server sends; None if it sends none.
        look: see ``Loop.look``.
    """

    def __init__(
        self,
        state: State,
        endings: Endings,
        timeouts: Timeouts,
        beats: Beats | None,
        *,
        look: Callable[[Connection], None],
    ) -> None:
        self.state = state
        self._endings = endings
        self._timeouts = timeouts
        self._beats = beats
        self._look = look

    @leader_only
    def keep(self, now: float) -> None:
        """Judge some of those whose time may be over."""
        for connection in self.state.ring.due(now, DEADLINES_PER_TURN):
            if connection._phase < ENDING:
                self.judge(connection, now, may_beat=True)

    @leader_only
    def judge(self, connection: Connection, now: float, *, may_beat: bool = False) -> None:
        """Act on a deadline that has passed, send a beat that is due, plan the next look."""
        passed, nearest = judge(connection, self._timeouts, now)
        if passed is not None and passed.reason is CloseReason.STALLED and _takes_bytes(connection, now):
            passed, nearest = judge(connection, self._timeouts, now)
        if passed is not None:
            if self._is_our_delay(connection, passed):
                self.state.ring.arm(connection, now + LATE_THREAD_INTERVAL, now)
            else:
                self._act(connection, passed)
            return
        if self._beats is not None and connection._phase is OPEN:
            next_beat = self._beat_if_due(connection, self._beats, now, may_beat=may_beat)
            if next_beat is None:
                return
            nearest = min(nearest, max(next_beat, now))
        if nearest < math.inf:
            self.state.ring.arm(connection, nearest, now)

    def _is_our_delay(self, connection: Connection, passed: Deadline) -> bool:
        """Whether the connection has a thread of its own that is late to read what is there: the peer is not silent."""
        if not self.state.model.reads_itself or connection._phase is not OPEN:
            return False
        return passed.reason is not CloseReason.STALLED and has_bytes(connection)

    def _act(self, connection: Connection, passed: Deadline) -> None:
        if connection._phase is LINGERING:
            self._endings.end(connection)
            self._look(connection)
            return
        dropping = passed.abort or connection._phase is DRAINING
        connection.end(passed.reason, passed.detail, dropping=dropping, abort=passed.abort)

    def _beat_if_due(self, connection: Connection, beats: Beats, now: float, *, may_beat: bool) -> float | None:
        """When the next beat is due; None: the user's code has failed, and the connection ends."""
        try:
            next_beat = beats.next_beat(connection)
            if next_beat <= now and may_beat:
                self._beat(connection, beats, now)
                next_beat = beats.next_beat(connection)
        except BaseException as exc:  # noqa: BLE001 - code of the user's: its SystemExit must not end the loop
            self.state.rare.log(logging.ERROR, "beat", "%r: the heartbeat's message raised", connection, exc_info=True)
            detail = f"the heartbeat's message raised {type(exc).__name__}: {text_of(exc)}"
            connection.end(CloseReason.HANDLER, detail, dropping=True)
            return None
        return next_beat

    def _beat(self, connection: Connection, beats: Beats, now: float) -> None:
        connection._beat_at = now
        if connection._armed:
            return  # the peer takes nothing now: one more message would only wait
        message = beats.beat(connection)
        if message is None:
            return
        try:
            connection.send(message)
        except ConnectionClosed:
            return  # by somebody else, this moment
        self.state.traffic.beats += 1


def _takes_bytes(connection: Connection, now: float) -> bool:
    """Whether the peer took bytes since we last saw it do so.

    The kernel reports room only when a third of its buffer is free, which a slow peer may need minutes for.
    """
    unsent = unsent_bytes(connection)
    stall = connection._stall
    if stall is not None and stall.unsent and unsent >= stall.unsent:  # 0: nobody has looked yet
        return False
    connection._stall = Stall(now, unsent)
    return True
