"""How many sockets each address and each network has here at the moment."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any

from ..networks import address_key, network_key


class Census:
    """Counts from any thread; holds no more entries than there are sockets. ``_lock`` guards both tables.

    Args:
        prefixes: bits that make a network, of IPv4 and of IPv6.
    """

    def __init__(self, prefixes: tuple[int, int]) -> None:
        self._prefixes = prefixes
        self._lock = threading.Lock()
        self._addresses: dict[Hashable, int] = {}
        self._networks: dict[Hashable, int] = {}

    def enter(self, packed: Any) -> None:
        """One more of this address."""
        address = address_key(packed)
        if address is None:
            return
        network = network_key(packed, self._prefixes)
        with self._lock:
            self._addresses[address] = self._addresses.get(address, 0) + 1
            self._networks[network] = self._networks.get(network, 0) + 1

    def leave(self, packed: Any) -> None:
        """One less."""
        address = address_key(packed)
        if address is None:
            return
        network = network_key(packed, self._prefixes)
        with self._lock:
            _take_one(self._addresses, address)
            _take_one(self._networks, network)

    def of_address(self, packed: Any) -> int:
        """How many the address has."""
        return self._addresses.get(address_key(packed), 0)

    def of_network(self, packed: Any) -> int:
        """How many its network has."""
        return self._networks.get(network_key(packed, self._prefixes), 0)

    def __len__(self) -> int:
        return len(self._addresses)


def _take_one(counts: dict[Hashable, int], key: Hashable) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
