"""How pushes get into the table: each by a statement of its own, or many in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..threads import Pending
from .tables.pushes import Pushes, Row, Stored


class Writer(Protocol):
    """Stores the rows of a push, all or none."""

    def add(self, rows: Sequence[Row]) -> Pending[Stored]:
        """Never raises: the Pending fails with Unavailable or Busy, and then nothing may be acknowledged."""

    def close(self) -> None:
        """Wait for what is under way."""


class SingleInserts:
    """An INSERT and a commit for each push, in the calling thread."""

    def __init__(self, pushes: Pushes) -> None:
        self._pushes = pushes

    def add(self, rows: Sequence[Row]) -> Pending[Stored]:
        """See Writer."""
        pending: Pending[Stored] = Pending()
        try:
            stored = self._pushes.add(rows)
        except Exception as exc:  # noqa: BLE001 - whoever listens decides
            pending.fail(exc)
        else:
            pending.complete(stored)
        return pending

    def close(self) -> None:
        """See Writer."""
