"""The table ``commands``: what devices shall do, and what they answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..times import from_column, to_seconds, to_text
from .database import Database, marks

EXPIRED: Final = "expired"
"""The error of a command that was not answered in time. An answer that comes later takes its place."""
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class DueCommand:
    """A command that may be sent; times are Unix seconds."""

    id: int
    device_id: int
    data: str
    expires_at: float | None


@dataclass(frozen=True)
class CommandRow:
    """What has become of a command; times are UTC as text, None while it has not happened."""

    id: int
    sent_at: str | None
    done_at: str | None
    result: str | None
    error: str | None


class Commands:
    """Reads and writes the table. Usable from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, device_id: int, data: str, now: float, expires_at: float | None) -> int:
        """Enter a command; whichever server has the device sends it.

        Args:
            data: JSON, checked already.
            now, expires_at: Unix seconds; None: it never expires.

        Returns:
            Its id.

        Raises:
            Unavailable.
        """
        expires = to_text(expires_at) if expires_at is not None else None
        with self._database.lease() as lease:
            cursor = lease.execute(
                "INSERT INTO commands (device_id, data, created_at, expires_at) VALUES (%s, %s, %s, %s)",
                (device_id, data, to_text(now), expires),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def find(self, number: int) -> CommandRow | None:
        """What has become of a command, or None if there is none of this id.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            row = lease.execute(
                "SELECT id, sent_at, done_at, result, error FROM commands WHERE id = %s", (number,)
            ).fetchone()
        if row is None:
            return None
        sent, done = (from_column(time) if time is not None else None for time in row[1:3])
        return CommandRow(int(row[0]), sent, done, row[3], row[4])

    def highest(self) -> int:
        """The highest id there is, 0 if there is none.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            return lease.execute("SELECT MAX(id) FROM commands").fetchone()[0] or 0

    def after(self, number: int) -> list[tuple[int, int]]:
        """(id, device) of the open commands with ids above this one, ascending, at most a thousand.

        Raises:
            Unavailable.
        """
        sql = "SELECT id, device_id FROM commands WHERE id > %s AND done_at IS NULL ORDER BY id LIMIT 1000"
        with self._database.lease() as lease:
            return [(int(row[0]), int(row[1])) for row in lease.execute(sql, (number,)).fetchall()]

    def waiting(self, devices: Sequence[int]) -> set[int]:
        """Those of these devices for which a command is open.

        Raises:
            Unavailable.
        """
        found: set[int] = set()
        for first in range(0, len(devices), BATCH):
            some = tuple(devices[first : first + BATCH])
            sql = f"SELECT DISTINCT device_id FROM commands WHERE device_id IN ({marks(len(some))}) AND done_at IS NULL"
            with self._database.lease() as lease:
                found.update(int(row[0]) for row in lease.execute(sql, some).fetchall())
        return found

    def next_for(self, devices: Sequence[int], now: float) -> list[DueCommand]:
        """The oldest open command of each of these devices that has one which has not expired.

        Raises:
            Unavailable.
        """
        due: list[DueCommand] = []
        for first in range(0, len(devices), BATCH):
            some = tuple(devices[first : first + BATCH])
            with self._database.lease() as lease:
                rows = lease.execute(
                    "SELECT id, device_id, data, expires_at FROM commands WHERE id IN ("
                    f"SELECT MIN(id) FROM commands WHERE device_id IN ({marks(len(some))}) AND done_at IS NULL "
                    "AND (expires_at IS NULL OR expires_at > %s) GROUP BY device_id)",
                    (*some, to_text(now)),
                ).fetchall()
            due.extend(
                DueCommand(int(row[0]), int(row[1]), row[2], to_seconds(row[3]) if row[3] is not None else None)
                for row in rows
            )
        return due

    def note_sent(self, numbers: Sequence[int], now: float) -> None:
        """These are about to be sent.

        Raises:
            Unavailable: then they must not be sent.
        """
        with self._database.lease() as lease:
            sql = f"UPDATE commands SET sent_at = %s WHERE id IN ({marks(len(numbers))})"
            lease.execute(sql, (to_text(now), *numbers))

    def finish(self, number: int, device_id: int, now: float, result: str | None, error: str | None) -> bool:
        """Record a device's answer; the first one counts, be it that the command has expired meanwhile.

        Returns:
            Whether the device has a command of this id.

        Raises:
            Unavailable: nothing may be acknowledged.
        """
        with self._database.lease() as lease:
            changed = lease.execute(
                "UPDATE commands SET done_at = %s, result = %s, error = %s WHERE id = %s AND device_id = %s "
                "AND (done_at IS NULL OR error = %s)",
                (to_text(now), result, error, number, device_id, EXPIRED),
            ).rowcount
            if changed:
                return True
            found = lease.execute(
                "SELECT COUNT(*) FROM commands WHERE id = %s AND device_id = %s", (number, device_id)
            ).fetchone()[0]
        return bool(found)

    def expire(self, now: float) -> int:
        """End the open commands whose time is over; a portion of them, if they are many.

        Returns:
            How many.

        Raises:
            Unavailable.
        """
        when = to_text(now)
        with self._database.lease() as lease:
            found = lease.execute(
                f"SELECT id FROM commands WHERE done_at IS NULL AND expires_at <= %s ORDER BY id LIMIT {BATCH}", (when,)
            ).fetchall()
            if not found:
                return 0
            numbers = [int(row[0]) for row in found]
            lease.execute(
                f"UPDATE commands SET done_at = %s, error = %s WHERE id IN ({marks(len(numbers))}) AND done_at IS NULL",
                (when, EXPIRED, *numbers),
            )
        return len(numbers)
