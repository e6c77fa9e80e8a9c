"""The gateway's tables: devices and what they pushed. The only place of the gateway with SQL in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..db import ConnectionPool, Lease
from ..errors import MooringError, PoolError
from .messages import Push
from .times import from_column, to_text

MOST_DEVICES: Final = 100_000
"""Names in the table, beyond which nobody gets in by a new one while any name may log in."""


class Unavailable(MooringError):
    """The database could not do it now; nothing may be acknowledged. ``__cause__`` is the database's error."""


class TooManyDevices(MooringError):
    """The table of devices has as many names as are taken without tokens."""


class Stored(Enum):
    """What became of a push."""

    NEW = "new"
    REPEATED = "repeated"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Device:
    """A device that has logged in.

    Args:
        id: its number in the tables.
        name: what it calls itself.
    """

    id: int
    name: str


class Store:
    """Reads and writes the tables. Usable from any thread; it keeps nothing but the pool.

    Args:
        pool: with the tables in it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def log_in(self, name: str, now: float, limit: int = MOST_DEVICES) -> tuple[Device, int]:
        """Find the device, or enter a new one.

        Args:
            name: checked already.
            now: Unix time in seconds.
            limit: devices in the table, beyond which a new one is refused.

        Returns:
            The device and the highest seq that is stored of it, 0 if there is none.

        Raises:
            TooManyDevices, Unavailable.
        """
        with self._lease() as lease:
            number = self._find(lease, name)
            if number is None:
                number = self._enter(lease, name, now, limit)
            row = lease.execute("SELECT MAX(seq) FROM pushes WHERE device_id = %s", (number,)).fetchone()
        return Device(number, name), row[0] or 0

    def push(self, device: Device, push: Push, received_at: float) -> Stored:
        """Store a push once; a repeated one is compared with what is there.

        Args:
            received_at: Unix time in seconds; counts as ``at`` for a push without one.

        Raises:
            Unavailable: it may be stored or not, so it must not be acknowledged.
        """
        received = to_text(received_at)
        at = to_text(push.at) if push.at is not None else received
        data = bytes(push.data).decode()
        with self._lease() as lease:
            try:
                lease.execute(
                    "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)",
                    (device.id, push.seq, at, received, data),
                )
            except self._pool.IntegrityError:
                return self._compare(lease, device, push, at, data)
        return Stored.NEW

    def note_presence(self, rows: list[tuple[float | None, float, int]]) -> None:
        """Write when devices connected (None: no change) and were last heard of, in one commit.

        Args:
            rows: (connected at, last seen at, device id), times as Unix seconds.

        Raises:
            Unavailable: nothing was written.
        """
        with self._available(), self._pool.transaction() as lease:
            # In the order of the key, as every writer does it, so that two of them cannot block each other.
            for connected_at, last_seen_at, number in sorted(rows, key=lambda row: row[2]):
                lease.execute(
                    "UPDATE devices SET connected_at = COALESCE(%s, connected_at), last_seen_at = %s WHERE id = %s",
                    (to_text(connected_at) if connected_at is not None else None, to_text(last_seen_at), number),
                )

    def pushes(self, name: str, first: int, last: int) -> Iterator[tuple[int, str, str]]:
        """The pushes of a device as (seq, at, data), by ascending seq, a thousand at a time.

        Raises:
            Unavailable.
        """
        with self._lease() as lease:
            number = self._find(lease, name)
            while number is not None and first <= last:
                rows = lease.execute(
                    "SELECT seq, at, data FROM pushes WHERE device_id = %s AND seq BETWEEN %s AND %s "
                    "ORDER BY seq LIMIT 1000",
                    (number, first, last),
                ).fetchall()
                for seq, at, data in rows:
                    yield seq, from_column(at), data
                if len(rows) < 1000:
                    return
                first = rows[-1][0] + 1

    @contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except (PoolError, self._pool.Error) as exc:
            raise Unavailable(f"the database is not available: {exc}") from exc

    @contextmanager
    def _lease(self) -> Iterator[Lease]:
        with self._available(), self._pool.connection() as lease:
            yield lease

    def _find(self, lease: Lease, name: str) -> int | None:
        row = lease.execute("SELECT id FROM devices WHERE name = %s", (self._bytes(name),)).fetchone()
        return int(row[0]) if row is not None else None

    def _enter(self, lease: Lease, name: str, now: float, limit: int) -> int:
        if lease.execute("SELECT COUNT(*) FROM devices").fetchone()[0] >= limit:
            raise TooManyDevices(f"{limit} devices are known already; no new name is taken without tokens")
        try:
            cursor = lease.execute(
                "INSERT INTO devices (name, created_at) VALUES (%s, %s)", (self._bytes(name), to_text(now))
            )
        except self._pool.IntegrityError:  # the same name came in by another connection just now
            number = self._find(lease, name)
            if number is None:
                raise
            return number
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _bytes(self, name: str) -> str | bytes:
        return name.encode() if self._pool.dialect == "mysql" else name

    def _compare(self, lease: Lease, device: Device, push: Push, at: str, data: str) -> Stored:
        """The seq is taken: by this very push, or by another one?"""
        row = lease.execute(
            "SELECT at, received_at, data FROM pushes WHERE device_id = %s AND seq = %s", (device.id, push.seq)
        ).fetchone()
        if row is None:
            raise Unavailable(f"push {push.seq} was refused as a repetition, but it is not there")
        stored_at, stored_received, stored_data = from_column(row[0]), from_column(row[1]), row[2]
        # A push without a time was stored with the time of its receipt.
        same_time = stored_at == (at if push.at is not None else stored_received)
        return Stored.REPEATED if same_time and stored_data == data else Stored.CONFLICT
