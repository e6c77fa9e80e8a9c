"""How pushes get into the table: many in one commit, or each by a statement of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from ..db import ConnectionPool
from ..threads import Pending
from .tables.pushes import COLUMNS, KEY, Pushes, Row, Stored
from .times import from_column

QUEUE_LIMIT: Final = 50_000
"""Rows that may wait to be stored; a device that pushes more is asked to send it again."""
QUEUE_TIMEOUT: Final = 10.0
"""Seconds that a row waits while the database is away, before its device is asked to send it again."""

Answer: TypeAlias = bytes | None
OnStored: TypeAlias = Callable[[Stored], Answer]
OnFailed: TypeAlias = Callable[[BaseException], Answer]


class Writer(Protocol):
    """Stores the rows of a push, all or none."""

    def add(self, rows: Sequence[Row], stored: OnStored, failed: OnFailed) -> Pending[Answer]:
        """Store them; one of the two functions makes the answer when it is known what became of them.

        Never raises. What ``failed`` gets is an error after which nothing may be acknowledged.
        """

    def close(self) -> None:
        """Store what waits."""


class GroupCommits:
    """Pushes of many devices in one commit; what arrives meanwhile is the next one. Nobody waits in ``add``.

    Args:
        pool: with the table in it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._conflict: type[BaseException] = pool.IntegrityError
        self._repeated: set[tuple[int, int]] = set()  # written and read by the thread that commits those rows
        self._group = pool.group_commit(
            "pushes",
            COLUMNS,
            key=KEY,
            on_duplicate="repeat",
            compare=self._is_same,
            order_by="device_id",
            queue_limit=QUEUE_LIMIT,
            queue_timeout=QUEUE_TIMEOUT,
        )

    def add(self, rows: Sequence[Row], stored: OnStored, failed: OnFailed) -> Pending[Answer]:
        """See Writer."""

        def done(_: None) -> Answer:
            return stored(Stored.REPEATED if self._take_repeated(rows) == len(rows) else Stored.NEW)

        def not_done(exc: BaseException) -> Answer:
            self._take_repeated(rows)
            return stored(Stored.CONFLICT) if isinstance(exc, self._conflict) else failed(exc)

        pending = self._group.add(rows[0]) if len(rows) == 1 else self._group.add_many(rows)
        return pending.then(done, error=not_done)

    def close(self) -> None:
        """See Writer."""
        self._group.close()

    def _take_repeated(self, rows: Sequence[Row]) -> int:
        """How many of the rows were there already; forgets them."""
        if not self._repeated:
            return 0
        found = self._repeated.intersection(row[:2] for row in rows)
        self._repeated.difference_update(found)
        return len(found)

    def _is_same(self, stored: Sequence[Any], offered: Sequence[Any]) -> bool:
        """Whether a row that is there already is the very push, sent before."""
        device_id, seq, at, received_at, data = stored
        row = Row(*offered)
        same = row.is_same(Row(device_id, seq, from_column(at), from_column(received_at), data))
        if same:
            self._repeated.add((row.device_id, row.seq))
        return same


class SingleInserts:
    """An INSERT and a commit for each push, in the calling thread."""

    def __init__(self, pushes: Pushes) -> None:
        self._pushes = pushes

    def add(self, rows: Sequence[Row], stored: OnStored, failed: OnFailed) -> Pending[Answer]:
        """See Writer."""
        pending: Pending[Answer] = Pending()
        try:
            outcome = self._pushes.add(rows)
        except Exception as exc:  # noqa: BLE001 - as with a commit of many: the answer says it
            pending.complete(failed(exc))
        else:
            pending.complete(stored(outcome))
        return pending

    def close(self) -> None:
        """See Writer."""
