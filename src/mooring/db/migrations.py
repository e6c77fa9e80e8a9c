"""Bringing a database's schema up to date: each numbered file once, in order, by one process at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from os import PathLike
from typing import Final

from .driver import Driver
from .history import LOCK_TIMEOUT, Entry, History, check_table_name
from .migration_files import Migration, MigrationError, read_migrations
from .pool import ConnectionPool

__all__ = ["Migration", "MigrationError", "MigrationState", "MigrationStatus", "Migrations"]

_log = logging.getLogger("mooring.db")
STATEMENT_TIMEOUT: Final = 3600.0  # changing a big table takes its time


class MigrationState(StrEnum):
    """What became of a migration."""

    PENDING = "pending"
    APPLIED = "applied"
    FAILED = "failed"
    CHANGED = "changed"  # applied, but the file is another one now
    MISSING = "missing"  # applied, but there is no file


@dataclass(frozen=True)
class MigrationStatus:
    """One line of ``status()``; ``applied_at`` (UTC), ``milliseconds`` and ``error`` are None while pending."""

    version: int
    name: str
    state: MigrationState
    applied_at: datetime | None = None
    milliseconds: int | None = None
    error: str | None = None


class Migrations:
    """A folder of migrations and the database that they are for.

    Args:
        pool: names the database; migrations run on a connection of their own.
        driver: the pool's.
        folder: of ``V0001__name.sql`` files.
        history: the table that keeps what was applied. Owners who share a database use one table each.
    """

    def __init__(self, pool: ConnectionPool, driver: Driver, folder: str | PathLike[str], history: str) -> None:
        self._pool = pool
        self._driver = driver
        self._folder = folder
        self._history = check_table_name(history)

    def migrate(self) -> list[MigrationStatus]:
        """Apply what is pending; see ``ConnectionManager.migrate``."""
        applied = []
        with self._open() as history:
            while (status := self._apply_next(history)) is not None:
                applied.append(status)
        return applied

    def status(self) -> list[MigrationStatus]:
        """Compare folder and database; nothing is changed."""
        with self._open() as history:
            return _compare(self._read(), history.entries())

    def repair(self) -> list[MigrationStatus]:
        """Forget failed migrations and accept changed files; returns what they were."""
        migrations = {migration.version: migration for migration in self._read()}
        with self._open() as history, history.locked():
            faults = [
                status
                for status in _compare(list(migrations.values()), history.entries())
                if status.state in (MigrationState.FAILED, MigrationState.CHANGED)
            ]
            for status in faults:
                if status.state is MigrationState.FAILED:
                    history.remove(status.version)
                else:
                    history.set_checksum(migrations[status.version])
        return faults

    # --------------------------------------------------------------------------------------------------- inside

    def _read(self) -> list[Migration]:
        return read_migrations(self._folder, self._driver.dialect)

    @contextmanager
    def _open(self) -> Iterator[History]:
        self._pool.create_connections(1)  # says in words what is wrong, if something is
        if self._pool.url.in_memory:
            with self._pool.connection() as lease:  # the only connection there can be
                yield History(self._driver, lease.raw, self._history)
            return
        patience = LOCK_TIMEOUT if self._driver.dialect == "sqlite" else STATEMENT_TIMEOUT
        connection = self._driver.connect(read_timeout=patience)
        try:
            yield History(self._driver, connection, self._history)
        finally:
            self._driver.close(connection)

    def _apply_next(self, history: History) -> MigrationStatus | None:
        """Apply the first pending migration; None if there is none. Another process may have applied it meanwhile."""
        migrations = self._read()
        try:
            with history.locked():
                migration = _next_pending(migrations, history.entries(), rolls_back=self._driver.dialect == "sqlite")
                return self._apply(history, migration) if migration is not None else None
        except _Failed as failed:
            return self._explain_failure(history, failed)

    def _apply(self, history: History, migration: Migration) -> MigrationStatus:
        if self._driver.dialect == "mysql":
            # Each change of a table commits by itself: without this row, a crash here would leave no trace.
            history.write(migration, 0, success=False, error="begun and never finished")
        started = time.monotonic()
        for number, statement in enumerate(migration.statements, 1):
            try:
                history.run(statement)
            except self._driver.errors.Error as exc:
                raise _Failed(migration, number, exc) from exc
        milliseconds = round((time.monotonic() - started) * 1000)
        history.write(migration, milliseconds, success=True)
        _log.info("%s: applied %s in %d ms", self._pool.name, migration.label, milliseconds)
        return next(s for s in _compare([migration], history.entries()) if s.version == migration.version)

    def _explain_failure(self, history: History, failed: _Failed) -> MigrationStatus:
        migration = failed.migration
        where = f"statement {failed.number} of {len(migration.statements)}"
        error = f"{where}: {failed.cause}"
        try:
            with history.locked():
                history.write(migration, 0, success=False, error=error)
        except (self._driver.errors.Error, MigrationError):
            _log.warning("%s: the failure of %s could not be recorded", self._pool.name, migration.label)
        advice = (
            "nothing of it was kept; correct the file and migrate again"
            if self._driver.dialect == "sqlite"
            else f"MySQL keeps what statements before it did; undo them or bring them into the state before "
            f"{migration.label}, correct the file, then call repair() and migrate again"
        )
        raise MigrationError(
            f"{migration.path}, {error}\n  {_first_line(failed.statement)}\n{advice}"
        ) from failed.cause


class _Failed(Exception):
    """A statement of a migration failed."""

    def __init__(self, migration: Migration, number: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.migration, self.number, self.cause = migration, number, cause
        self.statement = migration.statements[number - 1]


def _compare(migrations: list[Migration], entries: list[Entry]) -> list[MigrationStatus]:
    files = {migration.version: migration for migration in migrations}
    rows = {entry.version: entry for entry in entries}
    return [_status(files.get(version), rows.get(version)) for version in sorted(files.keys() | rows.keys())]


def _status(migration: Migration | None, entry: Entry | None) -> MigrationStatus:
    if entry is None:
        assert migration is not None
        return MigrationStatus(migration.version, migration.name, MigrationState.PENDING)
    if not entry.success:
        state = MigrationState.FAILED
    elif migration is None:
        state = MigrationState.MISSING
    else:
        state = MigrationState.APPLIED if migration.sha256 == entry.sha256 else MigrationState.CHANGED
    return MigrationStatus(entry.version, entry.name, state, entry.applied_at, entry.milliseconds, entry.error)


def _next_pending(migrations: list[Migration], entries: list[Entry], *, rolls_back: bool) -> Migration | None:
    """The first migration to apply, or None.

    Raises:
        MigrationError: folder and database contradict each other.
    """
    files = {migration.version: migration for migration in migrations}
    newest_file = max(files, default=0)
    newest_applied = 0
    pending: list[int] = []
    for status in _compare(migrations, entries):
        if status.state is MigrationState.PENDING or (status.state is MigrationState.FAILED and rolls_back):
            pending.append(status.version)
            continue
        _refuse_contradiction(status, files.get(status.version), newest_file)
        newest_applied = max(newest_applied, status.version)
    late = [version for version in pending if version < newest_applied and version in files]
    if late:
        raise MigrationError(
            f"{files[late[0]].label} has a lower number than {newest_applied}, which is applied already; "
            "give it the next free number"
        )
    return next((files[version] for version in pending if version in files), None)


def _refuse_contradiction(status: MigrationStatus, migration: Migration | None, newest_file: int) -> None:
    if status.state is MigrationState.FAILED:
        raise MigrationError(
            f"migration {status.version} ({status.name}) failed before: {status.error}; "
            "bring the tables into the state before or after it, then call repair()"
        )
    if status.state is MigrationState.CHANGED and migration is not None:
        raise MigrationError(
            f"{migration.path} was changed after it had been applied; restore it and write a new migration, "
            "or accept it as it is with repair()"
        )
    if status.state is MigrationState.MISSING and status.version < newest_file:
        raise MigrationError(f"migration {status.version} ({status.name}) is applied, but its file is missing")
    if status.state is MigrationState.MISSING:
        _log.warning(
            "the database has migration %d (%s), which this program does not know", status.version, status.name
        )


def _first_line(statement: str) -> str:
    line = statement.strip().split("\n", 1)[0]
    return line if len(line) <= 200 else line[:200] + "…"
