"""Connections that were not taken: the reasons, their counts, and one line for each offender."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from .address_lines import AddressLines


class Refusal(StrEnum):
    """Why a connection was closed as soon as it was accepted: for logs and metrics."""

    MAX_CONNECTIONS = "max_connections"
    """There are as many connections as there may be."""
    DESCRIPTORS = "descriptors"
    """The process, or the system, has no file descriptor left."""
    UNTRUSTED = "untrusted"
    """It does not come from a load balancer that may announce others (``ProxyProtocol.trusted``)."""
    DENIED = "denied"
    """Its address is in ``Limits.deny``."""
    NOT_ALLOWED = "not_allowed"
    """Its address is not in ``Limits.allow``."""
    STRIKES = "strikes"
    """Its address has offended too often (``Limits.strikes``)."""
    PER_ADDRESS = "per_address"
    """Its address has as many as it may (``Limits.per_address``)."""
    PER_NETWORK = "per_network"
    """Its network has as many as it may (``Limits.per_network``)."""
    ADDRESS_RATE = "address_rate"
    """Its address comes too often (``Limits.connects_per_address_per_second``)."""
    HANDLER = "handler"
    """``Server.handle_new_connection`` refused it, or raised."""


class Refusals:
    """Counts and logs them. ``_lock`` guards the counts.

    Args:
        lines: where the lines go.
    """

    def __init__(self, lines: AddressLines) -> None:
        self._lines = lines
        self._lock = threading.Lock()
        self._counts: Counter[Refusal] = Counter()

    def note(self, reason: Refusal, packed: Any, detail: str = "") -> None:
        """A connection of this address is not taken."""
        with self._lock:
            self._counts[reason] += 1
        self._lines.log(logging.WARNING, "refused a connection", packed, reason.value, detail)

    def counts(self) -> Mapping[Refusal, int]:
        """How many so far, by reason."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """How many so far."""
        with self._lock:
            return self._counts.total()
