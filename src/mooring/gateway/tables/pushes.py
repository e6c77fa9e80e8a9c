"""The table ``pushes``: what devices pushed, each once, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from ...db import Lease
from ..messages import Push
from ..times import from_column, to_text
from .database import Database, Unavailable, text_of
from .devices import Device

COLUMNS: Final = ("device_id", "seq", "at", "received_at", "data")
KEY: Final = ("device_id", "seq")
HEAD: Final = f"INSERT INTO pushes ({', '.join(COLUMNS)}) VALUES"
INSERT: Final = f"{HEAD} (%s, %s, %s, %s, %s)"
PAGE: Final = 1000
ATTEMPTS: Final = 3
ROW_SIZE: Final = 200
"""Bytes of a row in a statement besides its data, at most: two numbers of 20 digits, two times of 23 characters, which
may all be escaped, quotes and commas."""


class Stored(Enum):
    """What became of a push."""

    NEW = "new"
    REPEATED = "repeated"
    CONFLICT = "conflict"


NEW: Final = Stored.NEW
CONFLICT: Final = Stored.CONFLICT
"""For what is done for each push: to look a member up in its class takes CPython 3.11 as long as to take a lock."""


class Row(NamedTuple):
    """A row of the table; times as text. A push without a time of its own has ``at`` equal to ``received_at``."""

    device_id: int
    seq: int
    at: str
    received_at: str
    data: str

    def is_same(self, stored: Row) -> bool:
        """Whether what is stored is this very push, sent before."""
        # A push without a time of its own has another time each time it comes. So may have, by chance, one with it.
        had_no_time = self.at == self.received_at and stored.at == stored.received_at
        return stored.data == self.data and (stored.at == self.at or had_no_time)


_new_row: Final = tuple.__new__
"""``Row(…)`` without the call of Python code that it is: there is one for each push."""


class Arrival(NamedTuple):
    """A row as it came in, at a time that another one was perhaps tried before."""

    name: str
    row: Row


def rows_of(device: Device, push: Push, received_at: float) -> list[Row]:
    """The rows of a push: one, or one for each item of its batch.

    Args:
        received_at: Unix time in seconds; counts as ``at`` for what has no time of its own.
    """
    received = to_text(received_at)
    if push.batch is None:
        at = to_text(push.at) if push.at is not None else received
        return [_new_row(Row, (device.id, push.seq, at, received, str(push.data, "utf-8")))]
    return [
        Row(device.id, seq, to_text(item.at) if item.at is not None else received, received, bytes(item.data).decode())
        for seq, item in enumerate(push.batch, push.seq)
    ]


def size_of(rows: Sequence[Row]) -> int:
    """Bytes that rows take in a statement, at most: in UTF-8, every one of them escaped. Only data differ in size."""
    size = ROW_SIZE * len(rows)
    for row in rows:
        data = row[4]
        size += (2 if data.isascii() else 4) * len(data)
    return size


class Pushes:
    """Reads and writes the table. Usable from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[Row]) -> Stored:
        """Store the rows of a push once, all or none; a repeated push is compared with what is there.

        Raises:
            Unavailable: they may be stored or not, so they must not be acknowledged.
        """
        if self._insert(rows):
            return Stored.NEW
        for _ in range(ATTEMPTS):
            missing = self.missing(rows)
            if missing is None:
                return Stored.CONFLICT
            if not missing:
                return Stored.REPEATED
            if self._insert(missing):
                return Stored.NEW
        raise Unavailable(f"push {rows[0].seq} was refused as a repetition, but it is not there")

    def _insert(self, rows: Sequence[Row]) -> bool:
        """False: a row of one of the keys is there already; nothing was stored."""
        pool = self._database.pool
        try:
            with self._database.available():
                if len(rows) == 1:
                    with pool.connection() as lease:
                        self._insert_one(lease, rows[0])
                else:
                    # Drivers cut long lists of rows into several statements, each of which would commit by itself.
                    pool.run_transaction(lambda lease: lease.executemany(INSERT, rows))
        except Unavailable as exc:
            if not isinstance(exc.__cause__, pool.IntegrityError):
                raise
            return False
        return True

    def _insert_one(self, lease: Lease, row: Row) -> None:
        if not self._database.is_mysql:
            lease.execute(INSERT, row)
            return
        literal = self._database.pool._driver.literals(lease.raw)  # quicker than the driver's own parameters
        lease.execute(f"{HEAD} ({', '.join(map(literal, row))})")

    def missing(self, rows: Sequence[Row]) -> list[Row] | None:
        """Those of a push's rows that are not stored yet; None: another row stands in the place of one of them.

        Raises:
            Unavailable.
        """
        first, last = rows[0], rows[-1]
        with self._database.lease() as lease:
            found = self._read(lease, first.device_id, first.seq, last.seq, len(rows))
        stored = {row.seq: row for row in found}
        missing = []
        for row in rows:
            other = stored.get(row.seq)
            if other is None:
                missing.append(row)
            elif not row.is_same(other):
                return None
        return missing

    def of_device(self, name: str, first: int, last: int) -> Iterator[Row]:
        """The pushes of a device with these seqs, by ascending seq, a thousand at a time.

        Raises:
            Unavailable.
        """
        with self._database.lease() as lease:
            row = lease.execute("SELECT id FROM devices WHERE name = %s", (self._database.key(name),)).fetchone()
            while row is not None and first <= last:
                page = self._read(lease, int(row[0]), first, last, PAGE)
                yield from page
                if len(page) < PAGE:
                    return
                first = page[-1].seq + 1

    def newest(self, count: int, name: str | None = None) -> list[Arrival]:
        """The last pushes that came in, oldest first.

        Args:
            name: of one device; None: of all.

        Raises:
            Unavailable.
        """
        arrivals = self._arrivals(name, "", (), f"received_at DESC, device_id DESC, seq DESC LIMIT {int(count)}")
        return arrivals[::-1]

    def since(self, received_at: str, name: str | None = None, count: int = PAGE) -> list[Arrival]:
        """Pushes that came in at this time or later, oldest first.

        Raises:
            Unavailable.
        """
        order = f"received_at, device_id, seq LIMIT {int(count)}"
        return self._arrivals(name, "received_at >= %s", (received_at,), order)

    def _arrivals(self, name: str | None, where: str, parameters: tuple[str, ...], order: str) -> list[Arrival]:
        conditions = [where] if where else []
        values: list[str | bytes] = list(parameters)
        if name is not None:
            conditions.append("name = %s")
            values.append(self._database.key(name))
        clause = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        sql = (
            "SELECT name, device_id, seq, at, received_at, data FROM pushes JOIN devices ON devices.id = device_id "
            f"{clause}ORDER BY {order}"
        )
        with self._database.lease() as lease:
            found = lease.execute(sql, tuple(values)).fetchall()
        return [Arrival(text_of(row[0]), _row(row[1:])) for row in found]

    @staticmethod
    def _read(lease: Lease, device_id: int, first: int, last: int, count: int) -> list[Row]:
        sql = (
            f"SELECT {', '.join(COLUMNS)} FROM pushes WHERE device_id = %s AND seq BETWEEN %s AND %s "
            f"ORDER BY seq LIMIT {count}"
        )
        return [_row(row) for row in lease.execute(sql, (device_id, first, last)).fetchall()]


def _row(values: Sequence[object]) -> Row:
    device_id, seq, at, received_at, data = values
    return Row(int(str(device_id)), int(str(seq)), from_column(at), from_column(received_at), str(data))  # type: ignore[arg-type]
