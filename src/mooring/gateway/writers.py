"""How pushes get into the table: many in one commit, or each by a statement of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from ..db import ConnectionPool
from ..threads import Pending
from ..threads.pending import Derived
from .messages import Push
from .tables.pushes import COLUMNS, CONFLICT, KEY, NEW, Pushes, Row, Stored, size_of
from .times import from_column

QUEUE_LIMIT: Final = 50_000
"""Rows that may wait to be stored; a device that pushes more is asked to send it again."""
QUEUE_BYTES: Final = 64 << 20
"""The same in bytes, counted generously; a thousand of the longest pushes are more."""
WRITERS: Final = 1
"""Two would overlap, but within one process they mostly wait for the interpreter, and have smaller batches."""
MOST_ROWS: Final = 1000
"""Rows in one commit."""
QUEUE_TIMEOUT: Final = 10.0
"""Seconds that a row waits while the database is away, before its device is asked to send it again."""

Answer: TypeAlias = bytes | None


class Answering(Protocol):
    """Makes the answer to a push when it is known what became of it, in whatever thread that is."""

    def stored(self, push: Push, stored: Stored) -> Answer:
        """It is stored, or refused as a conflict."""

    def not_stored(self, push: Push, exc: BaseException) -> Answer:
        """It is not, for all that is known: nothing may be acknowledged."""


class Writer(Protocol):
    """Stores the rows of a push, all or none."""

    def add(self, rows: Sequence[Row], push: Push, answering: Answering) -> Pending[Answer]:
        """Store them, and have the answer made. Never raises."""

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
            queue_bytes=QUEUE_BYTES,
            queue_timeout=QUEUE_TIMEOUT,
            writers=WRITERS,
            max_rows=MOST_ROWS,
        )

    def add(self, rows: Sequence[Row], push: Push, answering: Answering) -> Pending[Answer]:
        """See Writer."""
        return self._group.put(rows, Derived(partial(self._answer, rows, push, answering)), size_of(rows))

    def _answer(self, rows: Sequence[Row], push: Push, answering: Answering, exc: BaseException | None) -> Answer:
        is_repeated = bool(self._repeated) and self._take_repeated(rows) == len(rows)
        if exc is None:
            return answering.stored(push, Stored.REPEATED if is_repeated else NEW)
        if isinstance(exc, self._conflict):
            return answering.stored(push, CONFLICT)
        return answering.not_stored(push, exc)

    def close(self) -> None:
        """See Writer."""
        self._group.close()

    def _take_repeated(self, rows: Sequence[Row]) -> int:
        """How many of the rows were there already; forgets them."""
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

    def add(self, rows: Sequence[Row], push: Push, answering: Answering) -> Pending[Answer]:
        """See Writer."""
        pending: Pending[Answer] = Pending()
        try:
            outcome = self._pushes.add(rows)
        except Exception as exc:  # noqa: BLE001 - as with a commit of many: the answer says it
            pending.complete(answering.not_stored(push, exc))
        else:
            pending.complete(answering.stored(push, outcome))
        return pending

    def close(self) -> None:
        """See Writer."""
