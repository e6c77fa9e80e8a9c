"""All deadlines of a connection, and the judgement which of them has passed. A pure function of marks and a clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .connection import DRAINING, LINGERING, OPEN, CloseReason, Connection

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
    """A moment (monotonic seconds) and what happens to the connection then."""

    when: float
    reason: CloseReason
    detail: str
    abort: bool


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
    for deadline in _deadlines(connection, timeouts):
        if deadline.when <= now:
            return deadline, now
        nearest = min(nearest, deadline.when)
    return None, nearest


def _deadlines(connection: Connection, timeouts: Timeouts) -> Iterator[Deadline]:
    phase = connection._phase
    if phase is OPEN and connection._reading:
        yield from _of_silence(connection, timeouts)
    if phase <= DRAINING and connection._armed:
        yield Deadline(
            connection._stalled_since + timeouts.write,
            CloseReason.STALLED,
            f"the peer took nothing for {timeouts.write:g} s (write_timeout)",
            abort=True,
        )
    if phase is DRAINING:
        if connection._close_reason in (CloseReason.PEER, CloseReason.RESET):
            # Replies that are owed may take their time, but not for ever.
            if timeouts.idle is not None:
                yield Deadline(
                    connection._last_received + timeouts.idle,
                    CloseReason.IDLE,
                    f"replies were not ready within {timeouts.idle:g} s (idle_timeout)",
                    abort=True,
                )
        elif connection._close_reason is not CloseReason.STOP:  # stop(timeout) has its own deadline
            detail = f"not closed within {timeouts.close:g} s (close_timeout)"
            yield Deadline(connection._since + timeouts.close, CloseReason.LOCAL, detail, abort=True)
    if phase is LINGERING:
        yield Deadline(connection._since + LINGER_TIMEOUT, CloseReason.LOCAL, "", abort=False)


def _of_silence(connection: Connection, timeouts: Timeouts) -> Iterator[Deadline]:
    received = connection._last_received
    if timeouts.first_message is not None and not connection._spoken:
        yield Deadline(
            connection._connected + timeouts.first_message,
            CloseReason.FIRST_MESSAGE,
            f"no message within {timeouts.first_message:g} s (first_message_timeout)",
            abort=False,
        )
    if timeouts.frame is not None and connection._frame_since:
        yield Deadline(
            connection._frame_since + timeouts.frame,
            CloseReason.FRAME,
            f"a message was begun and not complete within {timeouts.frame:g} s (frame_timeout)",
            abort=False,
        )
    if timeouts.heartbeat is not None:
        yield Deadline(
            received + timeouts.heartbeat,
            CloseReason.HEARTBEAT,
            f"nothing received for {timeouts.heartbeat:g} s (heartbeat.timeout)",
            abort=True,
        )
    if timeouts.idle is not None:
        yield Deadline(
            received + timeouts.idle,
            CloseReason.IDLE,
            f"nothing received for {timeouts.idle:g} s (idle_timeout)",
            abort=False,
        )
