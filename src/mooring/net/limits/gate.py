"""The gate of a loop: who may come in, who has offended, and how much each connection may send."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ..networks import NetworkSet
from ..proxy.protocol import ProxyProtocol
from .address_lines import AddressLines
from .admission import Admission
from .census import Census
from .limits import Limits
from .refusals import Refusal, Refusals
from .strikes import Strikes
from .throttle import Throttle
from .token_bucket import TokenBucket

logger = logging.getLogger("mooring")

Verdict = tuple[Refusal, str]
"""Why a connection is refused, and the figures."""

PACE_BURST = 0.1
"""Seconds of ``connects_per_second`` that may come at once: what lets several be accepted in one turn, and no more."""

NOT_STRUCK = ("stop", "reset", "gone", "crowded", "fault", "refused")
"""Ends of an opening that say nothing against the peer: it left, or did not like us, or we had no room."""


class Gate:
    """Holds what ``Limits`` and ``ProxyProtocol`` ask for; None stands wherever they ask for nothing.

    Belongs to the loop's thread, but for ``refusals``, ``strikes``, ``census`` and ``throttle``, which any thread uses.

    Args:
        limits: see Limits.
        proxy_protocol: whose announcements are believed; None if peers speak for themselves.
        clock: monotonic seconds.

    Attributes:
        refusals: counts of who was not taken.
        strikes: counts of offences, and who is refused for them.
        pace: of ``connects_per_second``.
        throttle: of what connections send.
        census: of what is open by address; the table of connections keeps it.
    """

    def __init__(
        self, limits: Limits, proxy_protocol: ProxyProtocol | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        lines = AddressLines(logger, clock=clock)
        self.refusals = Refusals(lines)
        self.strikes = Strikes(limits, lines, clock=clock)
        trusted = proxy_protocol.trusted_networks() if proxy_protocol is not None else ()
        self._trusted = NetworkSet(trusted) if proxy_protocol is not None else None
        self._on_the_way: dict[int, Any] = {}  # descriptor -> whose it is, of openings
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Apply these from now on; what is open stays."""
        self.limits = limits
        self.strikes.limits = limits
        self.census = Census(limits.network_prefixes) if limits.counts_addresses else None
        if self.census is not None:
            for packed in self._on_the_way.values():
                self.census.enter(packed)
        self.throttle = Throttle(limits) if limits.throttles else None
        rate = limits.connects_per_second
        self.pace = TokenBucket(rate, max(1.0, rate * PACE_BURST), self._clock()) if rate is not None else None
        self._admission = (
            Admission(limits, self.strikes, self.census, clock=self._clock) if limits.checks_addresses else None
        )

    def check_accepted(self, packed: Any) -> Verdict | None:
        """Why a socket that was just accepted is refused; None if it is not. ``packed`` is its real peer."""
        if self._trusted is None:
            return self.check_address(packed)
        if isinstance(packed, int | tuple) and not self._trusted.holds(packed):
            return Refusal.UNTRUSTED, "not in ProxyProtocol.trusted"
        return None  # the address that counts comes in the header

    def check_address(self, packed: Any) -> Verdict | None:
        """The same for an address that is the device's."""
        return self._admission.check(packed) if self._admission is not None else None

    # Sockets that are not yet connections; connections are entered into the census by their table -------------------

    def begin_opening(self, fd: int, packed: Any) -> None:
        """A socket goes through the stages of its listener; its peer speaks for itself unless there is a header."""
        if self._trusted is None:
            self.announced(fd, packed)

    def announced(self, fd: int, packed: Any) -> None:
        """It is known whose the socket is."""
        self._on_the_way[fd] = packed
        if self.census is not None:
            self.census.enter(packed)

    def end_opening(self, fd: int, reason: str = "") -> None:
        """It is a connection now, or has failed for this reason, which may count against its address."""
        packed = self._on_the_way.pop(fd, None)
        if packed is None:
            return
        if self.census is not None:
            self.census.leave(packed)
        if reason and reason.rpartition("_")[2] not in NOT_STRUCK:
            self.strikes.add(packed, "handshake")
