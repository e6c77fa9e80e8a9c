"""Which of a server's listeners accept: all of them, some, or none for a while."""

from __future__ import annotations

import threading

from ..net.address import Address


class Accepting:
    """The addresses of the listeners, and those that are suspended.

    ``_lock`` guards ``_everywhere`` and ``_suspended``, which changes one listener's part while ``_everywhere``.

    Attributes:
        addresses: where the server listens; empty before it is initialized.
    """

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self._lock = threading.Lock()
        self._everywhere = True
        self._suspended: frozenset[Address] = frozenset()

    def set(self, address: Address | str | None, accepting: bool) -> None:
        """Suspend or resume one listener, or all of them (None).

        Raises:
            ValueError: the server does not listen there.
        """
        with self._lock:
            if address is None:
                self._everywhere, self._suspended = accepting, frozenset()
                return
            one = self._find(address)
            suspended = self._suspended if self._everywhere else frozenset(self.addresses)
            self._suspended = suspended - {one} if accepting else suspended | {one}
            self._everywhere = True

    def _find(self, address: Address | str) -> Address:
        for one in self.addresses:
            if str(one) == str(address):
                return one
        there = ", ".join(map(str, self.addresses)) or "nowhere yet; call initialize()"
        raise ValueError(f"the server does not listen on {str(address)[:200]}; it listens on {there}")

    def __contains__(self, address: Address) -> bool:
        return self._everywhere and address not in self._suspended

    def open_addresses(self) -> list[Address]:
        """Those on which the listeners accept."""
        return [one for one in self.addresses if one in self]
