"""Who may come in: looked at right after accept, before TLS and before a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ..networks import NetworkSet, address_key, parse_networks
from .census import Census
from .limits import Limits
from .refusals import Refusal
from .strikes import Strikes
from .token_bucket import BucketTable

MOST_ADDRESSES: Final = 50_000
"""Addresses whose rate is remembered; some 10 MiB at most."""


class Admission:
    """Applies ``Limits`` to the address of a new connection. Belongs to the loop's thread.

    The order is that of cost: what needs no memory first, and last what takes a token, so that a connection refused for
    another reason takes none.

    Args:
        limits: see Limits.
        strikes: the strike list.
        census: what is open; None if nothing is counted by address.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limits: Limits,
        strikes: Strikes,
        census: Census | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._strikes = strikes
        self._census = census
        self._clock = clock
        self._deny = NetworkSet(parse_networks("deny", limits.deny))
        self._allow = NetworkSet(parse_networks("allow", limits.allow))
        rate = limits.connects_per_address_per_second
        self._rates = BucketTable(rate, limits.burst_of(rate), MOST_ADDRESSES) if rate is not None else None

    def check(self, packed: Any) -> tuple[Refusal, str] | None:
        """Why a new connection of this address is refused, and the figures; None if it is welcome."""
        if not isinstance(packed, int | tuple):
            return None  # a Unix socket: its file's mode says who may come
        if self._deny and self._deny.holds(packed):
            return Refusal.DENIED, ""
        if self._allow and not self._allow.holds(packed):
            return Refusal.NOT_ALLOWED, ""
        if self._strikes.refuses(packed):
            return Refusal.STRIKES, ""
        return self._check_counts(packed) or self._check_rate(packed)

    def _check_counts(self, packed: Any) -> tuple[Refusal, str] | None:
        census, limits = self._census, self._limits
        if census is None:
            return None
        if limits.per_address is not None and census.of_address(packed) >= limits.per_address:
            return Refusal.PER_ADDRESS, f"{limits.per_address} are open"
        if limits.per_network is not None and census.of_network(packed) >= limits.per_network:
            return Refusal.PER_NETWORK, f"{limits.per_network} are open"
        return None

    def _check_rate(self, packed: Any) -> tuple[Refusal, str] | None:
        if self._rates is None or self._rates.take(address_key(packed), self._clock()):
            return None
        return Refusal.ADDRESS_RATE, f"more than {self._rates.rate:g} in a second"
