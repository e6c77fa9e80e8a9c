"""``Limits``: how much a server takes of whom."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..networks import Network, parse_networks

_RATES: Final = (
    "connects_per_second",
    "connects_per_address_per_second",
    "messages_per_second",
    "bytes_per_second",
)
_COUNTS: Final = ("per_address", "per_network", "strikes")
_TIMES: Final = ("burst", "strike_window", "strike_time")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a server takes of whom; beside ``max_connections``, which counts all.

    What concerns connections is looked at right after accept, before TLS and before a thread: deny and allow lists,
    strikes, rate and number of connections of the address, and number of its network. An *address* is an IPv4 address,
    or the /64 that an IPv6 address is in, as a customer has at least that. Unix sockets have no address: only the rates
    of all connections, messages and bytes hold for them. Behind a load balancer it is the address that the balancer
    announces (``ProxyProtocol``).

    None switches a limit off, which all are but ``handshakes``.

    Args:
        per_address: connections of one address at a time.
        per_network: connections of one network at a time; see ``network_prefixes``.
        network_prefixes: how many bits make the network of an IPv4 and of an IPv6 address.
        connects_per_second: new connections in all. Beyond it nobody is refused: the listeners rest, and clients wait
            in the kernel's backlog, so that a fleet that comes back after a restart is let in at this pace. Those
            refused for other reasons do not count, so a flood of one address takes nothing of the others' share.
        connects_per_address_per_second: new connections of one address.
        messages_per_second, bytes_per_second: of each connection. One that sends more is not read for the time by
            which it was too fast, so that the sender is held back by TCP; see ``throttle_timeout``.
        burst: seconds; so much of a rate may come at once (at least one). Not for ``connects_per_second``, where a
            burst is what it is there against.
        throttle_timeout: seconds; a connection that has been held back again and again for so long, and never paused
            until its burst was there again, is closed (``CloseReason.RATE``). None: it is held back for ever.
        handshakes: sockets at a time that are not yet connections, as their TLS handshake or PROXY header is not
            complete.
        allow: networks; all others are refused. Empty: all are allowed.
        deny: networks that are refused; goes before ``allow``.
        strikes: offences after which an address is refused for a while: bytes that are no frame, logins and handshakes
            that failed, and whatever calls ``Connection.strike``.
        strike_window: seconds within which they count.
        strike_time: seconds for which the address is refused. Connections that it has already stay.

    Raises:
        ValueError, TypeError: a limit that is not more than 0, or no network; names it.
    """

    per_address: int | None = None
    per_network: int | None = None
    network_prefixes: tuple[int, int] = (24, 48)
    connects_per_second: float | None = None
    connects_per_address_per_second: float | None = None
    messages_per_second: float | None = None
    bytes_per_second: float | None = None
    burst: float = 5.0
    throttle_timeout: float | None = 60.0
    handshakes: int = 256
    allow: str | Iterable[str | Network] = ()
    deny: str | Iterable[str | Network] = ()
    strikes: int | None = None
    strike_window: float = 60.0
    strike_time: float = 600.0

    def __post_init__(self) -> None:
        for name in (*_COUNTS, "handshakes"):
            _check_count(name, getattr(self, name), optional=name in _COUNTS)
        for name in (*_RATES, "throttle_timeout", *_TIMES):
            _check_number(name, getattr(self, name), optional=name not in _TIMES)
        _check_prefixes(self.network_prefixes)
        for name in ("allow", "deny"):
            object.__setattr__(self, name, parse_networks(f"Limits: {name}", getattr(self, name)))

    @property
    def counts_addresses(self) -> bool:
        """Whether connections are counted by address or network."""
        return self.per_address is not None or self.per_network is not None

    @property
    def checks_addresses(self) -> bool:
        """Whether there is anything to look at when a connection comes."""
        return bool(
            self.counts_addresses
            or self.allow
            or self.deny
            or self.strikes is not None
            or self.connects_per_address_per_second is not None
        )

    @property
    def throttles(self) -> bool:
        """Whether a connection may send too much."""
        return self.messages_per_second is not None or self.bytes_per_second is not None

    def burst_of(self, rate: float) -> float:
        """What may come at once of so much in a second."""
        return max(1.0, rate * self.burst)


def _check_count(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Limits: {name} is {value!r}; it must be a whole number{' or None' if optional else ''}")
    if value < 1:
        raise ValueError(
            f"Limits: {name} is {value!r}; it must be at least 1{', or None for no limit' if optional else ''}"
        )


def _check_number(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"Limits: {name} is {value!r}; it must be a number{' or None' if optional else ''}")
    if not 0 < value < math.inf:
        raise ValueError(
            f"Limits: {name} is {value!r}; it must be more than 0{', or None for no limit' if optional else ''}"
        )


def _check_prefixes(prefixes: object) -> None:
    expected = "two numbers of bits, of IPv4 (1 to 32) and of IPv6 (1 to 64), such as (24, 48)"
    if not isinstance(prefixes, tuple) or len(prefixes) != 2 or not all(type(one) is int for one in prefixes):
        raise TypeError(f"Limits: network_prefixes is {prefixes!r}; it must be {expected}")
    if not (1 <= prefixes[0] <= 32 and 1 <= prefixes[1] <= 64):
        raise ValueError(f"Limits: network_prefixes is {prefixes!r}; it must be {expected}")
