"""What a device keeps on its disk: pushes until they are acknowledged, those refused, the commands it has run."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from ...errors import QueueFull
from ..json_lines import encode
from ..messages import Done, Push
from .journal import FORGOTTEN, INTERRUPTED, KEPT

SETTLED_BATCH: Final = 64
"""Acknowledged pushes that are taken from the disk together; one that is still there after a crash is sent again."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS pushes (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER UNIQUE, at REAL NOT NULL,
    data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (seq INTEGER NOT NULL, at REAL NOT NULL, data TEXT NOT NULL, code TEXT NOT NULL,
    detail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS commands (id INTEGER PRIMARY KEY, answer TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value);
"""


@dataclass(frozen=True)
class Refused:
    """A push that the gateway will never take.

    Args:
        seq, at, data: of the push; data is JSON text.
        code, detail: why.
    """

    seq: int
    at: float
    data: str
    code: str
    detail: str


class Disk:
    """Queue and Journal over one SQLite file. For any thread; the lock guards the connection and ``_settled``.

    A push gets its seq when it is first sent, in the same commit that makes it known: so a device whose file is new
    goes on above what the gateway has of it, and what was sent once keeps its seq over any restart.

    Args:
        path: of the file; None: nothing outlives the process.
        name: of the device that it belongs to.
        limit: pushes that may wait.

    Raises:
        ValueError: the file belongs to another device.
        sqlite3.Error, OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | None, name: str, limit: int) -> None:
        self._lock = threading.RLock()
        self._limit = limit
        self._settled: list[int] = []
        self._database = sqlite3.connect(
            ":memory:" if path is None else os.fspath(path), isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(name)
        except BaseException:
            self._database.close()
            raise
        self._count = self._number("SELECT COUNT(*) FROM pushes")
        self._highest = self._number("SELECT COALESCE(MAX(value), 0) FROM facts WHERE name = 'highest_seq'")

    def _set_up(self, name: str) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._database.execute("INSERT OR IGNORE INTO facts VALUES ('device', ?)", (name,))
        owner = self._database.execute("SELECT value FROM facts WHERE name = 'device'").fetchone()[0]
        if owner != name:
            raise ValueError(f"the queue belongs to the device {owner!r}, not to {name!r}; give each a file of its own")

    def close(self) -> None:
        """Write what is left and close the file. Twice is harmless."""
        with self._lock:
            try:
                self._drop_settled()
            except sqlite3.ProgrammingError:
                return  # closed already
            self._database.close()

    # Queue ------------------------------------------------------------------------------------------------------------

    def append(self, data: str, at: float) -> None:
        """Keep a push; it is on the disk when this returns.

        Raises:
            QueueFull: ``limit`` pushes wait already. sqlite3.Error: the disk does not take it.
        """
        with self._lock:
            if self._count >= self._limit:
                raise QueueFull(f"{self._count} pushes wait to be sent; no more are taken")
            self._database.execute("INSERT INTO pushes (at, data) VALUES (?, ?)", (at, data))
            self._count += 1

    @property
    def waiting(self) -> int:
        """Pushes that are neither acknowledged nor refused."""
        return self._count

    def begin(self, last_seq: int) -> None:
        """See Queue."""
        with self._lock:
            self._highest = max(self._highest, last_seq)

    def unacknowledged(self) -> list[int]:
        """See Queue."""
        with self._lock:
            self._drop_settled()
            return [row[0] for row in self._database.execute("SELECT seq FROM pushes WHERE seq > 0 ORDER BY seq")]

    def take(self, count: int) -> list[int]:
        """See Queue."""
        with self._lock:
            rows = self._database.execute(
                "SELECT number FROM pushes WHERE seq IS NULL ORDER BY number LIMIT ?", (count,)
            ).fetchall()
            if not rows:
                return []
            seqs = [self._highest + index for index in range(1, len(rows) + 1)]
            with self._commit():
                numbered = zip(seqs, (row[0] for row in rows), strict=True)
                self._database.executemany("UPDATE pushes SET seq = ? WHERE number = ?", list(numbered))
                self._database.execute("INSERT OR REPLACE INTO facts VALUES ('highest_seq', ?)", (seqs[-1],))
            self._highest = seqs[-1]
            return seqs

    def line(self, seq: int) -> bytes | None:
        """See Queue."""
        with self._lock:
            row = self._database.execute("SELECT at, data FROM pushes WHERE seq = ?", (seq,)).fetchone()
        return line_of(seq, row[0], row[1]) if row is not None and seq not in self._settled else None

    def settle(self, seq: int) -> None:
        """See Queue."""
        with self._lock:
            if seq in self._settled:
                return
            if self._database.execute("SELECT 1 FROM pushes WHERE seq = ?", (seq,)).fetchone() is None:
                return
            self._settled.append(seq)
            self._count -= 1
            if len(self._settled) >= SETTLED_BATCH or not self._count:
                self._drop_settled()

    def refuse(self, seq: int, code: str, detail: str) -> None:
        """See Queue."""
        with self._lock, self._commit():
            moved = self._database.execute(
                "INSERT INTO refused SELECT seq, at, data, ?, ? FROM pushes WHERE seq = ?", (code, detail, seq)
            ).rowcount
            self._database.execute("DELETE FROM pushes WHERE seq = ?", (seq,))
            self._count -= moved

    def refused(self) -> list[Refused]:
        """What was put aside, in the order in which that happened."""
        with self._lock:
            rows = self._database.execute("SELECT seq, at, data, code, detail FROM refused ORDER BY rowid").fetchall()
        return [Refused(*row) for row in rows]

    def forget_refused(self) -> None:
        """Drop what was put aside."""
        with self._lock:
            self._database.execute("DELETE FROM refused")

    # Journal ----------------------------------------------------------------------------------------------------------

    def earlier(self, id: int) -> Done | None:
        """See Journal."""
        with self._lock:
            row = self._database.execute("SELECT answer FROM commands WHERE id = ?", (id,)).fetchone()
            lowest = self._number("SELECT COALESCE(MIN(id), 0) FROM commands")
            count = self._number("SELECT COUNT(*) FROM commands")
        if row is None:
            return Done(id, error=FORGOTTEN) if count >= KEPT and id < lowest else None
        return Done(id, error=INTERRUPTED) if row[0] is None else msgspec.json.decode(row[0], type=Done)

    def begin_command(self, id: int) -> None:
        """See Journal.begin."""
        with self._lock, self._commit():
            self._database.execute("INSERT INTO commands VALUES (?, NULL)", (id,))
            self._database.execute(
                f"DELETE FROM commands WHERE id NOT IN (SELECT id FROM commands ORDER BY id DESC LIMIT {KEPT})"  # noqa: S608
            )

    def finish(self, done: Done) -> None:
        """See Journal."""
        with self._lock:
            self._database.execute("UPDATE commands SET answer = ? WHERE id = ?", (encode(done).decode(), done.id))

    # Inside -----------------------------------------------------------------------------------------------------------

    def _number(self, sql: str) -> int:
        return int(self._database.execute(sql).fetchone()[0])

    def _drop_settled(self) -> None:
        with self._commit():
            self._database.executemany("DELETE FROM pushes WHERE seq = ?", [(seq,) for seq in self._settled])
        self._settled.clear()

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.rollback()
            raise
        self._database.commit()


class DiskJournal:
    """The journal's face of a Disk, whose ``begin`` is the queue's."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.earlier = disk.earlier
        self.finish = disk.finish
        self.begin = disk.begin_command


def line_of(seq: int, at: float, data: str) -> bytes:
    """A push as it goes over the wire."""
    return encode(Push(seq, msgspec.Raw(data.encode()), at)) + b"\n"
