"""Messages and bytes per second of each connection: one that sends more is not read for a while, then closed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..connection.life import CloseReason
from .limits import Limits
from .token_bucket import TokenBucket

if TYPE_CHECKING:
    from ..connection.connection import Connection


class Pace:
    """What one connection has sent; belongs to the thread that reads it, but for ``is_planned``, the loop's.

    Attributes:
        throttle: whose rates these are; after a change of the limits it is another one's.
        until: monotonic seconds; until then it is not read.
        is_planned: the loop has a timer for it.
    """

    __slots__ = ("_buckets", "_hurried_since", "is_planned", "throttle", "until")

    def __init__(self, throttle: Throttle, now: float) -> None:
        self.throttle = throttle
        self.until = 0.0
        self.is_planned = False
        self._hurried_since = math.inf
        self._buckets = throttle.make_buckets(now)

    def charge(self, messages: int, size: int, now: float) -> float:
        """What was read; returns for how long the connection has been too fast again and again."""
        messages_left, bytes_left = self._buckets
        if self._hurried_since < math.inf and all(one is None or one.is_full(now) for one in self._buckets):
            self._hurried_since = math.inf
        wait = 0.0
        if messages_left is not None:
            messages_left.charge(messages, now)
            wait = messages_left.wait(now)
        if bytes_left is not None:
            bytes_left.charge(size, now)
            wait = max(wait, bytes_left.wait(now))
        if wait <= 0.0:
            return 0.0
        self.until = now + wait
        self._hurried_since = min(self._hurried_since, now)
        return now - self._hurried_since


class Throttle:
    """Charges what connections send; the same for all of them, from any thread that reads one.

    What has been read is served in any case: a message that is here already costs nothing more to serve than to drop,
    and its sender would send it again.

    Args:
        limits: with a rate of messages or of bytes.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._patience = limits.throttle_timeout if limits.throttle_timeout is not None else math.inf

    def make_buckets(self, now: float) -> tuple[TokenBucket | None, TokenBucket | None]:
        """For messages and for bytes; None where there is no limit."""
        limits = self._limits
        messages, size = (
            TokenBucket(rate, limits.burst_of(rate), now) if rate is not None else None
            for rate in (limits.messages_per_second, limits.bytes_per_second)
        )
        return messages, size

    def charge(self, connection: Connection, messages: int, size: int, now: float) -> bool:
        """Note what was read, by the thread that did; closes a connection that does not stop being too fast.

        Returns:
            Whether it must not be read for a while: until ``connection._pace.until``.
        """
        pace = connection._pace
        if pace is None or pace.throttle is not self:
            pace = connection._pace = Pace(self, now)
        hurried = pace.charge(messages, size, now)
        if hurried >= self._patience:
            limits = self._limits
            rates = {"messages": limits.messages_per_second, "bytes": limits.bytes_per_second}
            allowed = " and ".join(f"{rate:g} {what}" for what, rate in rates.items() if rate is not None)
            detail = f"more than {allowed} a second for {limits.throttle_timeout:g} s (throttle_timeout)"
            connection.end(CloseReason.RATE, detail)
        return pace.until > now
