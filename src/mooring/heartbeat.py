"""The heartbeat policy: when a silent device is asked for life, and when it is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .net.connection.connection import Connection

SPREAD = 0.1
"""Beats of different connections are spread by this share of the interval, so that they do not come all at once."""

GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Heartbeat:
    """How life is noticed on connections that may be silent for long.

    Any byte that is received counts as life. TCP's own keepalive is no help here: its default is two hours, and
    it says nothing about the program at the other end.

    Args:
        timeout: seconds; a connection from which nothing was received for so long is closed (``HEARTBEAT``).
        interval: seconds of silence after which the server sends ``message``, and again after each further
            interval; spread by 10 %. None (the default): the device beats by itself.
        message: what is sent; a callable gets the connection and returns the message, or None for none. It runs on
            the loop thread: it must be quick.
        always: send every interval, not only after silence.

    Raises:
        ValueError: a time that is not positive, an interval without a message or not below the time-out.
    """

    timeout: float = 90.0
    interval: float | None = None
    message: bytes | Callable[[Connection], bytes | None] | None = None
    always: bool = False

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"Heartbeat: timeout is {self.timeout!r}; it must be more than 0 seconds")
        if self.interval is None:
            if self.message is not None or self.always:
                raise ValueError("Heartbeat: a message is sent every `interval` seconds; set it")
            return
        if not self.interval > 0:
            raise ValueError(f"Heartbeat: interval is {self.interval!r}; it must be more than 0 seconds")
        if self.message is None:
            raise ValueError("Heartbeat: say what is sent every interval with `message`")
        if self.interval >= self.timeout:
            raise ValueError(
                f"Heartbeat: interval ({self.interval:g} s) must be below timeout ({self.timeout:g} s), "
                "or silent devices are closed before they are asked"
            )

    def next_beat(self, connection: Connection) -> float:
        """When the connection is to be sent a beat, in monotonic seconds; only with an interval."""
        assert self.interval is not None
        spread = 1 + SPREAD * (2 * (connection.id * GOLDEN % 1) - 1)
        if self.always:
            return (connection._beat_at or connection._connected) + self.interval * spread
        return max(connection._last_received, connection._beat_at) + self.interval * spread

    def beat(self, connection: Connection) -> bytes | None:
        """The message to send now."""
        return self.message(connection) if callable(self.message) else self.message
