"""Networks as users write them (``203.0.113.0/24``, ``2001:db8::/32``), and whether an address is in them.

Addresses come packed, as connections keep them (``address.pack_sockaddr``): one number with the port behind, IPv6
marked by a bit above all others. An IPv4 peer of a dual-stack socket is packed as IPv4, so that ``127.0.0.0/8`` matches
it, which ``ipaddress`` alone would not see.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable
from typing import Any, TypeAlias

from .address import IPV6_MARK

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """Read a network, or a single address, which is the network of itself alone.

    Raises:
        ValueError: it is none; if bits are set behind the prefix the text says what may be meant.
    """
    if not isinstance(text, str) or not text.isascii() or "%" in text:
        raise ValueError(f"{text!r:.80} is no network; write one such as 203.0.113.0/24, 2001:db8::/32 or 192.0.2.7")
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r:.80} is no network; write one such as 203.0.113.0/24, 2001:db8::/32 or 192.0.2.7"
        ) from None
    host = ipaddress.ip_address(text.strip().partition("/")[0])
    if host != network.network_address:
        raise ValueError(
            f"{text!r:.80} has bits behind its prefix; write {network} for the network, "
            f"or {host}/{host.max_prefixlen} for the one address"
        )
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        raise ValueError(f"{text!r:.80}: such peers count as IPv4; write {mapped}/{network.prefixlen - 96} instead")
    return network


def parse_networks(name: str, networks: str | Iterable[str | Network]) -> tuple[Network, ...]:
    """Read several; each may be an object of ``ipaddress`` already.

    Args:
        name: of the argument, for the error.
        networks: one or several.

    Raises:
        ValueError, TypeError: names the argument and the network that is wrong.
    """
    if isinstance(networks, str | ipaddress.IPv4Network | ipaddress.IPv6Network):
        networks = (networks,)
    if not isinstance(networks, Iterable):
        raise TypeError(f"{name} is {networks!r}; it must be networks such as 203.0.113.0/24")
    try:
        return tuple(parse_network(str(one)) for one in networks)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None


class NetworkSet:
    """Tells whether packed addresses are in any of some networks: one look-up for each length of prefix among them.

    Args:
        networks: what is in it.
    """

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[Network]) -> None:
        prefixes: dict[tuple[int, int], set[int]] = {}  # (version, bits to shift away) -> what is left
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        self._prefixes = tuple((version, shift, left) for (version, shift), left in prefixes.items())

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    def holds(self, packed: Any) -> bool:
        """Whether this address is in one of the networks; never of a Unix socket's, which has none."""
        if not isinstance(packed, int):
            return isinstance(packed, tuple) and self._holds(6, _number_of_link_local(packed))
        address = packed >> 16
        return self._holds(6, address ^ IPV6_MARK >> 16) if packed & IPV6_MARK else self._holds(4, address)

    def _holds(self, version: int, address: int) -> bool:
        return any(kind == version and address >> shift in left for kind, shift, left in self._prefixes)


def _number_of_link_local(sockaddr: tuple[Any, ...]) -> int:
    return int(ipaddress.IPv6Address(str(sockaddr[0]).partition("%")[0]))


def address_key(packed: Any) -> Hashable:
    """Under what connections of one address are counted: IPv4 by address, IPv6 by /64; None for a Unix socket."""
    if isinstance(packed, int):
        return packed >> 80 if packed & IPV6_MARK else packed >> 16  # the mark keeps the two apart
    return str(packed[0]) if isinstance(packed, tuple) else None


def network_key(packed: Any, prefixes: tuple[int, int]) -> Hashable:
    """Under what connections of one network are counted; None for a Unix socket.

    Args:
        packed: the address.
        prefixes: bits that make the network, of IPv4 and of IPv6.
    """
    if isinstance(packed, int):
        return -(packed >> 144 - prefixes[1]) if packed & IPV6_MARK else packed >> 48 - prefixes[0]
    return str(packed[0]) if isinstance(packed, tuple) else None
