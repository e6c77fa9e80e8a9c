"""Faults at a chosen statement of a pool: raised before it is run, or after it, when its answer would have come."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pymysql
import pytest

from mooring.db import ConnectionPool
from mooring.db.mysql_connection import MySQLConnection
from mooring.db.sqlite import SQLiteConnection


class Exit(SystemExit):
    """What no handler of ``Exception`` sees."""


class Faults:
    """Counts begin, statements and commits of a pool, and raises at one of them.

    Attributes:
        steps: what was run, in order.
        at: the number of the step that fails; the step itself, and no other, does so.
        is_after: it is run first, and then fails.
        make: makes the exception; gets the driver's connection.
    """

    def __init__(self, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.at = -1
        self.is_after = False
        self.make: Callable[[Any], BaseException] = lambda _: RuntimeError("fault")
        self.hold: threading.Event | None = None
        self.held = threading.Event()
        self._lock = threading.Lock()
        driver = pool._driver
        make_cursor, begin = driver.cursor, driver.begin

        def cursor(connection: Any) -> Any:
            return _Cursor(make_cursor(connection), connection, self)

        def faulty_begin(connection: Any, isolation: str | None, read_only: bool) -> None:
            self.step("begin", connection, lambda: begin(connection, isolation, read_only))

        monkeypatch.setattr(driver, "cursor", cursor)
        monkeypatch.setattr(driver, "begin", faulty_begin)
        for kind in (SQLiteConnection, MySQLConnection):
            monkeypatch.setattr(kind, "commit", self._faulty_commit(kind.commit))

    def _faulty_commit(self, commit: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda connection: self.step("commit", connection, lambda: commit(connection))

    def step(self, name: str, connection: Any, run: Callable[[], Any]) -> Any:
        with self._lock:
            number = len(self.steps)
            self.steps.append(name)
        if self.hold is not None:
            self.held.set()
            assert self.hold.wait(30)
        if number == self.at and not self.is_after:
            raise self.make(connection)
        result = run()
        if number == self.at:
            raise self.make(connection)
        return result


class _Cursor:
    def __init__(self, cursor: Any, connection: Any, faults: Faults) -> None:
        self._cursor = cursor
        self._connection = connection
        self._faults = faults

    def execute(self, sql: str, params: Any = ()) -> Any:
        return self._faults.step(sql.split()[0], self._connection, lambda: self._cursor.execute(sql, params))

    def executemany(self, sql: str, rows: Any) -> Any:
        return self._faults.step(sql.split()[0], self._connection, lambda: self._cursor.executemany(sql, rows))

    def __iter__(self) -> Any:
        return iter(self._cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def lost(connection: Any) -> BaseException:
    """The connection is lost."""
    if isinstance(connection, MySQLConnection):
        connection.drop()
    return pymysql.OperationalError(2013, "Lost connection to MySQL server during query")


def deadlock(connection: Any) -> BaseException:
    """The transaction is rolled back for another one's sake."""
    return _refusal(connection, 1213, sqlite3.SQLITE_BUSY, "Deadlock found when trying to get lock")


def lock_wait(connection: Any) -> BaseException:
    """The statement is rolled back, because a lock did not come."""
    return _refusal(connection, 1205, sqlite3.SQLITE_BUSY, "Lock wait timeout exceeded")


def disk_full(connection: Any) -> BaseException:
    """The disk is full."""
    return _refusal(connection, 1114, sqlite3.SQLITE_FULL, "The table is full")


def out_of_memory(connection: Any) -> BaseException:
    """Our own process is short of something."""
    return MemoryError("no memory")


def system_exit(connection: Any) -> BaseException:
    """Something wants to end the thread."""
    return Exit("over")


def _refusal(connection: Any, number: int, code: int, text: str) -> BaseException:
    if not isinstance(connection, SQLiteConnection):
        return pymysql.OperationalError(number, text)
    exc = sqlite3.OperationalError(text)
    exc.sqlite_errorcode = code
    return exc
