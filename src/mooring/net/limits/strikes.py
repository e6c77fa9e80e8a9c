"""The strike list: an address that offends again and again is refused for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from ..networks import address_key
from .address_lines import AddressLines
from .limits import Limits

MOST_ADDRESSES: Final = 10_000
"""Offenders that are remembered, and as many that are refused; of more the oldest are forgotten. 2 MiB at most."""

MOST_KINDS: Final = 32
OTHER: Final = "other"
"""Kinds of offences that are counted apart, and where all others go: a metric has few labels."""


class Strikes:
    """Counts offences, logs them, and knows who is refused; from any thread. ``_lock`` guards the tables.

    Args:
        limits: how many are too many, within how long, and for how long. Without ``strikes`` nobody is refused.
        lines: where the lines go.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, lines: AddressLines, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._lines = lines
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._offenders: dict[Hashable, tuple[int, float]] = {}  # -> (strikes, when the window ends); oldest first
        self._refused: dict[Hashable, float] = {}  # -> until when; oldest first

    def add(self, packed: Any, kind: str) -> None:
        """An address has offended.

        Args:
            packed: the address; that of a Unix socket only counts.
            kind: a word of the program's, never of the peer's, such as "login".
        """
        limits, key, now = self.limits, address_key(packed), self._clock()
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MOST_KINDS:
                kind = OTHER
            self._counts[kind] += 1
            is_out = limits.strikes is not None and key is not None and self._add_locked(key, limits, now)
        why, detail = ("refused", f"for {limits.strike_time:g} s from here on") if is_out else ("strike", "")
        self._lines.log(logging.WARNING if is_out else logging.INFO, f"bad {kind}", packed, why, detail)

    def _add_locked(self, key: Hashable, limits: Limits, now: float) -> bool:
        count, window_ends = self._offenders.pop(key, (0, 0.0))
        if now >= window_ends:
            count, window_ends = 0, now + limits.strike_window
        assert limits.strikes is not None
        if count + 1 < limits.strikes:
            self._offenders[key] = (count + 1, window_ends)
            _keep(self._offenders, MOST_ADDRESSES)
            return False
        self._refused.pop(key, None)
        self._refused[key] = now + limits.strike_time
        _keep(self._refused, MOST_ADDRESSES)
        return True

    def refuses(self, packed: Any) -> bool:
        """Whether the address is refused now."""
        key = address_key(packed)
        if key is None or key not in self._refused:
            return False
        with self._lock:
            until = self._refused.get(key, 0.0)
            if self._clock() < until:
                return self.limits.strikes is not None
            self._refused.pop(key, None)
        return False

    def counts(self) -> Mapping[str, int]:
        """Offences so far, by kind."""
        with self._lock:
            return dict(self._counts)

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._offenders) + len(self._refused)


def _keep(table: dict[Hashable, Any], most: int) -> None:
    """Forget the oldest of too many; entries come one by one, so one is enough."""
    if len(table) > most:
        del table[next(iter(table))]
