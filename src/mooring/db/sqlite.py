"""SQLite behind the pool: WAL with ``synchronous=FULL``, autocommit, ``%s`` parameters.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from .driver import ConnectFailure, Cursor, DriverErrors, ServerLimits
from .sql_text import to_question_marks
from .url import DatabaseURL
from .write_turn import WriteTurn, is_write

BUSY_TIMEOUT: Final = 5.0
_abandoned: Final[list[sqlite3.Connection]] = []
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_MAY_PASS: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOLFS,
    }
)


class SQLiteCursor(sqlite3.Cursor):
    """A cursor that takes ``%s``, waits for its turn to write, and is known to its connection."""

    connection: SQLiteConnection

    def __init__(self, connection: SQLiteConnection) -> None:
        super().__init__(connection)
        connection.cursors.add(self)

    def execute(self, sql: str, params: Any = (), /) -> SQLiteCursor:
        statement = to_question_marks(sql) if params else sql
        if is_write(sql):
            self.connection.take_turn()
        try:
            super().execute(statement, params or ())
        finally:
            self.connection.yield_turn()
        return self

    def executemany(self, sql: str, rows: Iterable[Any], /) -> SQLiteCursor:
        """All rows or none, in one commit: SQLite by itself would commit, and sync the disk, for each row."""
        connection = self.connection
        statement = to_question_marks(sql)
        connection.take_turn()
        try:
            if connection.in_transaction or connection.isolation_level is not None:
                super().executemany(statement, rows)
            else:
                self._in_one_commit(statement, rows)
        finally:
            connection.yield_turn()
        return self

    def _in_one_commit(self, statement: str, rows: Iterable[Any]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            super().executemany(statement, rows)
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise


class SQLiteConnection(sqlite3.Connection):
    """A connection that takes turns with the other writers of its pool, and knows its open cursors.

    An open cursor matters because an unfinished SELECT holds on to an old snapshot.
    """

    def __init__(self, path: str, *, turn: WriteTurn, timeout: float, **options: Any) -> None:
        super().__init__(path, timeout=timeout, **options)
        self.cursors: weakref.WeakSet[SQLiteCursor] = weakref.WeakSet()
        self.read_only = False
        self._turn = turn
        self._has_turn = False
        self._turn_timeout = timeout

    def take_turn(self) -> None:
        """Wait until no other connection of the pool writes.

        Raises:
            sqlite3.OperationalError: SQLite's own ``database is locked``, after the same time.
        """
        if self._has_turn:
            return
        if not self._turn.acquire(self._turn_timeout):
            exc = sqlite3.OperationalError("database is locked")
            exc.sqlite_errorcode, exc.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
            raise exc
        self._has_turn = True

    def yield_turn(self) -> None:
        """Let the next one write, unless a transaction is still open."""
        if self._has_turn and not self.in_transaction:
            self._has_turn = False
            self._turn.release()

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            self.yield_turn()

    def rollback(self) -> None:
        try:
            super().rollback()
        finally:
            self.yield_turn()

    def close(self) -> None:
        super().close()
        if self._has_turn:
            self._has_turn = False
            self._turn.release()


class SQLiteDriver:
    """The standard library's ``sqlite3``, set up for a server."""

    dialect = "sqlite"
    opens_inline = True
    errors = DriverErrors.of(sqlite3)

    def __init__(self, url: DatabaseURL, *, autocommit: bool = True, reset_on_return: str = "rollback") -> None:
        self._url = url
        self._rolls_back = reset_on_return != "none"
        self._path = url.database if url.in_memory else str(Path(url.database).absolute())
        self._turn = WriteTurn()
        self._isolation_level: Any = None if autocommit else "DEFERRED"

    def connect(self, *, read_timeout: float | None = None) -> SQLiteConnection:
        """Open the file; ``read_timeout`` is how long a statement waits for another writer (default 5 s)."""
        connection = SQLiteConnection(
            self._path,
            turn=self._turn,
            timeout=BUSY_TIMEOUT if read_timeout is None else read_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: SQLiteConnection) -> None:
        if not self._url.in_memory:
            _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.isolation_level = self._isolation_level

    def explain(self, exc: BaseException) -> ConnectFailure:
        folder = Path(self._path).parent
        if not self._url.in_memory and not folder.is_dir():
            return ConnectFailure(f"the folder {folder} does not exist; create it first", fatal=True)
        if not self._url.in_memory and Path(self._path).is_dir():
            return ConnectFailure(f"{self._path} is a folder; name a file in it", fatal=True)
        return ConnectFailure(f"cannot open {self._path}: {exc}", fatal=not _is_locked(exc))

    def close(self, connection: SQLiteConnection) -> None:
        connection.close()

    def abort(self, connection: SQLiteConnection) -> None:
        connection.interrupt()

    def abandon(self, connection: SQLiteConnection) -> None:
        # Closing it would touch the parent's files (https://www.sqlite.org/howtocorrupt.html, section 2.6).
        _abandoned.append(connection)

    def renew(self) -> None:
        self._turn = WriteTurn()

    def limits(self, connection: SQLiteConnection) -> ServerLimits | None:
        return None

    def fileno(self, connection: SQLiteConnection) -> int | None:
        return None

    def ping(self, connection: SQLiteConnection) -> None:
        sqlite3.Cursor(connection).execute("SELECT 1").fetchone()

    def reset(self, connection: SQLiteConnection) -> bool:
        for cursor in list(connection.cursors):
            cursor.close()
        if not self._rolls_back:
            return True
        if connection.in_transaction:
            connection.rollback()
        if connection.read_only:
            connection.execute("PRAGMA query_only=OFF")
            connection.read_only = False
        return not connection.in_transaction

    def breaks(self, exc: BaseException) -> bool:
        """Never: the library is in a defined state after every error, and ``reset`` rolls back what is left."""
        return False

    def may_repeat(self, exc: BaseException) -> bool:
        return _is_locked(exc)

    def may_pass(self, exc: BaseException) -> bool:
        return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _MAY_PASS

    def lost_writer(self, exc: BaseException) -> bool:
        return False

    def cursor(self, connection: SQLiteConnection) -> Cursor:
        return SQLiteCursor(connection)

    def literals(self, connection: SQLiteConnection) -> Callable[[Any], str]:
        return str  # never asked for: parameters cost nothing here

    def begin(self, connection: SQLiteConnection, isolation: str | None, read_only: bool) -> None:
        """Begin; a writer takes the write lock now, because a lock taken later can fail half-way.

        Every isolation level is granted: SQLite's transactions are always serializable.
        """
        if read_only:
            connection.read_only = True
            connection.execute("PRAGMA query_only=ON")
        SQLiteCursor(connection).execute("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Set WAL mode, once per file. The switch does not wait for other processes, so the waiting is done here."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as exc:
            if not _is_locked(exc) or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)


def _is_locked(exc: BaseException) -> bool:
    # The low byte is the primary code; the rest says which kind of BUSY it was.
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _LOCKED
