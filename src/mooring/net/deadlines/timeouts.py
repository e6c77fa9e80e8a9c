"""All deadlines of a connection, and the judgement which of them has passed. A pure function of marks and a clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..connection.connection import Connection
from ..connection.life import DRAINING, LINGERING, OPEN, CloseReason

LINGER_TIMEOUT = 1.0
"""Seconds for which input is read and dropped after our last byte."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The time-outs of a server in seconds; None switches one off."""

    first_message: float | None = 60.0
    idle: float | None = 600.0
    heartbeat: float | None = None
    frame: float | None = 30.0
    write: float = 30.0
    close: float = 5.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """What happens to a connection whose time is over.

    Attributes:
        reason: why it is closed.
        detail: the same in words, for the log, with the setting's name.
        abort: whether nothing more is sent.
    """

    reason: CloseReason
    detail: str
    abort: bool


Rule = Callable[[Timeouts], Deadline]
"""Says what has passed; asked only then, as every look at a connection goes through all that could pass."""


def judge(connection: Connection, timeouts: Timeouts, now: float) -> tuple[Deadline | None, float]:
    """Which deadline of the connection has passed, and when to look again.

    Args:
        connection: read only.
        timeouts: the server's settings.
        now: when the poll returned that brought the last bytes; what arrived before it has been counted.

    Returns:
        The deadline that has passed, or None; and the next one's moment (infinity if there is none).
    """
    nearest = math.inf
    for when, rule in _moments(connection, timeouts):
        if when <= now:
            return rule(timeouts), now
        if when < nearest:
            nearest = when
    return None, nearest


def _moments(connection: Connection, timeouts: Timeouts) -> list[tuple[float, Rule]]:
    """All that can pass, as it stands now: the moment (monotonic seconds), and what it means."""
    phase = connection._phase
    moments = _of_silence(connection, timeouts) if phase is OPEN and connection._reading else []
    stall = connection._stall
    if connection._armed and stall is not None and phase <= DRAINING:
        moments.append((stall.since + timeouts.write, _stalled))
    ending = connection._ending
    if phase is DRAINING:
        if connection._close_reason in (CloseReason.PEER, CloseReason.RESET):
            # Replies that are owed may take their time, but not for ever.
            if timeouts.idle is not None:
                moments.append((connection._last_received + timeouts.idle, _replies_late))
        elif ending and connection._close_reason is not CloseReason.STOP:  # stop(timeout) has its own deadline
            moments.append((ending.since + timeouts.close, _not_closed))
    elif ending and phase is LINGERING:
        moments.append((ending.since + LINGER_TIMEOUT, _lingered))
    return moments


def _of_silence(connection: Connection, timeouts: Timeouts) -> list[tuple[float, Rule]]:
    received = connection._last_received
    moments: list[tuple[float, Rule]] = []
    if timeouts.first_message is not None and not connection._messages:
        moments.append((connection._connected + timeouts.first_message, _no_first_message))
    partial = connection._partial
    if partial is not None and timeouts.frame is not None:
        moments.append((partial.since + timeouts.frame, _frame_incomplete))
    if timeouts.heartbeat is not None:
        moments.append((received + timeouts.heartbeat, _no_heartbeat))
    if timeouts.idle is not None:
        moments.append((received + timeouts.idle, _idle))
    return moments


def _no_first_message(timeouts: Timeouts) -> Deadline:
    detail = f"no message within {timeouts.first_message:g} s (first_message_timeout)"
    return Deadline(CloseReason.FIRST_MESSAGE, detail, abort=False)


def _frame_incomplete(timeouts: Timeouts) -> Deadline:
    detail = f"a message was begun and not complete within {timeouts.frame:g} s (frame_timeout)"
    return Deadline(CloseReason.FRAME, detail, abort=False)


def _no_heartbeat(timeouts: Timeouts) -> Deadline:
    detail = f"nothing received for {timeouts.heartbeat:g} s (heartbeat.timeout)"
    return Deadline(CloseReason.HEARTBEAT, detail, abort=True)


def _idle(timeouts: Timeouts) -> Deadline:
    return Deadline(CloseReason.IDLE, f"nothing received for {timeouts.idle:g} s (idle_timeout)", abort=False)


def _stalled(timeouts: Timeouts) -> Deadline:
    detail = f"the peer took nothing for {timeouts.write:g} s (write_timeout)"
    return Deadline(CloseReason.STALLED, detail, abort=True)


def _replies_late(timeouts: Timeouts) -> Deadline:
    detail = f"replies were not ready within {timeouts.idle:g} s (idle_timeout)"
    return Deadline(CloseReason.IDLE, detail, abort=True)


def _not_closed(timeouts: Timeouts) -> Deadline:
    return Deadline(CloseReason.LOCAL, f"not closed within {timeouts.close:g} s (close_timeout)", abort=True)


def _lingered(timeouts: Timeouts) -> Deadline:
    return Deadline(CloseReason.LOCAL, "", abort=False)
