"""How a connection lives and ends: one way for all models and all reasons.

    OPEN -> DRAINING -> LINGERING -> ENDING -> CLOSED

    OPEN       bytes are read, messages are served
    DRAINING   nothing is read any more; messages that were read are served, replies and the outbox leave
    LINGERING  our side is shut (FIN sent); what the peer still sends is read and dropped, so that the last reply is
               not lost to a reset (close with unread input sends RST)
    ENDING     out of the table, shut down; ``lost`` runs, once, after the last handler
    CLOSED     the descriptor is closed

An abort goes from any of the first three straight to ENDING. Only the loop changes the phase (``Loop.look``); others
set marks and ask the loop to look.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class CloseReason(StrEnum):
    """Why a connection ended: for ``lost``, logs and metrics."""

    PEER = "peer"
    """The peer ended it."""
    RESET = "reset"
    """The peer, or the network, broke it off."""
    LOCAL = "local"
    """``close()`` or ``abort()`` was called."""
    HEARTBEAT = "heartbeat"
    """Nothing was received for ``Heartbeat.timeout``."""
    IDLE = "idle"
    """Nothing was received for ``idle_timeout``."""
    FIRST_MESSAGE = "first_message"
    """No complete message came within ``first_message_timeout``."""
    STALLED = "stalled"
    """The peer took none of our bytes for ``write_timeout``."""
    FRAME = "frame"
    """The bytes were not of the framing, or a message was not complete within ``frame_timeout``."""
    HANDLER = "handler"
    """The handler raised or returned something wrong."""
    REPLACED = "replaced"
    """Another connection was identified by the same name."""
    OVERFLOW = "overflow"
    """More was sent than ``outbox_limit`` allows."""
    RATE = "rate"
    """It sent more messages or bytes a second than ``Limits`` allow, and did not stop."""
    REFUSED = "refused"
    """It was not taken at all: no thread could be had for it."""
    STOP = "stop"
    """The server stops."""


class Phase(IntEnum):
    """Where a connection is on its way; see the module."""

    OPEN = 0
    DRAINING = 1
    LINGERING = 2
    ENDING = 3
    CLOSED = 4


OPEN, DRAINING, LINGERING, ENDING, CLOSED = Phase


class Ending:
    """Since when a connection is in its present phase, and how many bytes were dropped while lingering. The loop's."""

    __slots__ = ("dropped", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.dropped = 0
