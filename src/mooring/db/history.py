"""The table in which a database keeps what has been done to its schema, and the lock around changing it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from .driver import Cursor, Driver
from .migration_files import Migration, MigrationError

LOCK_TIMEOUT: Final = 60.0
_TABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CREATE: Final = {
    "mysql": """CREATE TABLE IF NOT EXISTS {table} (
        version BIGINT NOT NULL PRIMARY KEY,
        name VARCHAR(255) NOT NULL,
        sha256 CHAR(64) NOT NULL,
        applied_at DATETIME(3) NOT NULL,
        milliseconds BIGINT NOT NULL,
        success TINYINT NOT NULL,
        error TEXT
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
    "sqlite": """CREATE TABLE IF NOT EXISTS {table} (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        applied_at TEXT NOT NULL,
        milliseconds INTEGER NOT NULL,
        success INTEGER NOT NULL,
        error TEXT
    )""",
}
_EXISTS: Final = {
    "mysql": "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
    "sqlite": "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = %s",
}


@dataclass(frozen=True)
class Entry:
    """One row of the history."""

    version: int
    name: str
    sha256: str
    applied_at: datetime
    milliseconds: int
    success: bool
    error: str | None


class History:
    """The history table over one connection that belongs to nobody else.

    Args:
        driver, connection: an open connection in autocommit.
        table: its name; letters, digits and ``_``.
    """

    def __init__(self, driver: Driver, connection: Any, table: str) -> None:
        self._driver = driver
        self._connection = connection
        self._table = check_table_name(table)

    def run(self, sql: str, *params: object) -> Cursor:
        """Run one statement."""
        cursor = self._driver.cursor(self._connection)
        cursor.execute(sql, params)
        return cursor

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this table against all other processes, and see to it that the table is there.

        MySQL: a named lock, which goes with the connection if the process dies. SQLite: the write lock, held by a
        transaction; it is committed at the end of the block and rolled back by an exception.

        Raises:
            MigrationError: somebody else holds the lock for longer than a minute.
        """
        with self._named_lock() if self._driver.dialect == "mysql" else self._transaction():
            self.run(_CREATE[self._driver.dialect].format(table=self._table))
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self.run("BEGIN IMMEDIATE")
        except self._driver.errors.OperationalError as exc:
            raise MigrationError(f"the database is locked by another process: {exc}") from exc
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise

    @contextmanager
    def _named_lock(self) -> Iterator[None]:
        name = self._lock_name()
        deadline = time.monotonic() + LOCK_TIMEOUT
        # Short waits, so that the socket's read time-out never cuts one off.
        while self.run("SELECT GET_LOCK(%s, 5)", name).fetchone()[0] != 1:
            if time.monotonic() >= deadline:
                raise MigrationError(f"another process has been migrating for more than {LOCK_TIMEOUT:.0f} s ({name})")
        try:
            yield
        finally:
            try:
                self.run("SELECT RELEASE_LOCK(%s)", name)
            except self._driver.errors.Error:
                pass  # the connection is lost, and the lock with it

    def _lock_name(self) -> str:
        # Named locks belong to the whole server and may have at most 64 characters.
        database = self.run("SELECT DATABASE()").fetchone()[0]
        return "mooring-" + sha256(f"{database}/{self._table}".encode()).hexdigest()[:48]

    def entries(self) -> list[Entry]:
        """All rows by version; none if there is no table yet."""
        if not self.run(_EXISTS[self._driver.dialect], self._table).fetchone()[0]:
            return []
        columns = "version, name, sha256, applied_at, milliseconds, success, error"
        return [
            Entry(int(version), name, digest, _as_datetime(at), int(milliseconds), bool(success), error)
            for version, name, digest, at, milliseconds, success, error in self.run(
                f"SELECT {columns} FROM {self._table} ORDER BY version"  # noqa: S608 - a checked name
            )
        ]

    def write(self, migration: Migration, milliseconds: int, *, success: bool, error: str | None = None) -> None:
        """Set the row of a migration."""
        self.remove(migration.version)
        self.run(
            f"INSERT INTO {self._table} (version, name, sha256, applied_at, milliseconds, success, error)"  # noqa: S608
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            migration.version,
            migration.name,
            migration.sha256,
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            milliseconds,
            int(success),
            error,
        )

    def set_checksum(self, migration: Migration) -> None:
        """Take the file as it is now for the one that was applied."""
        self.run(
            f"UPDATE {self._table} SET sha256 = %s, name = %s WHERE version = %s",  # noqa: S608 - a checked name
            migration.sha256,
            migration.name,
            migration.version,
        )

    def remove(self, version: int) -> None:
        """Delete a row."""
        self.run(f"DELETE FROM {self._table} WHERE version = %s", version)  # noqa: S608 - a checked name


def check_table_name(table: str) -> str:
    """Refuse what cannot stand in a statement unquoted.

    Raises:
        ValueError: with the rule.
    """
    if not _TABLE_NAME.fullmatch(table):
        raise ValueError(f"history must be a table name of letters, digits and _, not {table!r}")
    return table


def _as_datetime(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at.replace(tzinfo=UTC)
