"""Taking old rows out of the tables, a few at a time, so that nobody waits for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..times import to_text
from .database import Database, marks

BATCH: Final = 500
PAUSE: Final = 0.005
"""Seconds between two batches, in which others get their turn."""


@dataclass
class Pruned:
    """How many rows were deleted of each table; uploads count once, whatever the number of their blocks."""

    pushes: int = 0
    commands: int = 0
    uploads: int = 0


class Retention:
    """Deletes rows, in batches of one commit each. Usable beside running servers.

    Args:
        database: with the tables.
        pause: seconds between two batches.
    """

    def __init__(self, database: Database, pause: float = PAUSE) -> None:
        self._database = database
        self._pause = pause

    def prune(self, before: float) -> Pruned:
        """Delete what is older: pushes by ``at``, commands by ``done_at``, uploads by ``stored_at``.

        The push with the highest seq of each device stays, whatever its age: from it ``last_seq`` is known. What is not
        finished stays, too: commands without an answer, uploads that still grow.

        Args:
            before: Unix seconds.

        Raises:
            Unavailable: what was deleted before stays deleted; run it again.
        """
        when = to_text(before)
        return Pruned(
            pushes=sum(self._prune_device(number, when) for number in self._devices()),
            commands=self._prune_by_id("commands", "done_at", when),
            uploads=self._prune_by_id("uploads", "stored_at", when),
        )

    def _devices(self) -> Iterator[int]:
        last = 0
        while True:
            with self._database.lease() as lease:
                rows = lease.execute("SELECT id FROM devices WHERE id > %s ORDER BY id LIMIT 1000", (last,)).fetchall()
            for row in rows:
                last = int(row[0])
                yield last
            if len(rows) < 1000:
                return

    def _prune_device(self, number: int, when: str) -> int:
        with self._database.lease() as lease:
            highest = lease.execute("SELECT MAX(seq) FROM pushes WHERE device_id = %s", (number,)).fetchone()[0]
        if highest is None:
            return 0
        deleted = 0
        while True:
            with self._database.lease() as lease:
                found = lease.execute(
                    f"SELECT seq FROM pushes WHERE device_id = %s AND at < %s AND seq <> %s ORDER BY at LIMIT {BATCH}",
                    (number, when, highest),
                ).fetchall()
                if found:
                    seqs = sorted(int(row[0]) for row in found)
                    lease.execute(
                        f"DELETE FROM pushes WHERE device_id = %s AND seq IN ({marks(len(seqs))})", (number, *seqs)
                    )
            deleted += len(found)
            if len(found) < BATCH:
                return deleted
            time.sleep(self._pause)

    def _prune_by_id(self, table: str, column: str, when: str) -> int:
        deleted = 0
        size = BATCH if table == "commands" else 1  # an upload has up to 2048 blocks
        while True:
            with self._database.transaction() as lease:
                sql = f"SELECT id FROM {table} WHERE {column} < %s ORDER BY {column} LIMIT {size}"
                numbers = [int(row[0]) for row in lease.execute(sql, (when,)).fetchall()]
                if numbers and table == "uploads":
                    lease.execute(f"DELETE FROM upload_blocks WHERE upload_id IN ({marks(len(numbers))})", numbers)
                if numbers:
                    lease.execute(f"DELETE FROM {table} WHERE id IN ({marks(len(numbers))})", numbers)
            deleted += len(numbers)
            if len(numbers) < size:
                return deleted
            time.sleep(self._pause)
