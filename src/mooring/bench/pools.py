"""Connection pools behind one small interface: ours and those of others, over a real database or over none at all."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

from ..db import ConnectionPool, MySQLConnectionPool
from ..db.driver import ConnectFailure, DriverErrors, ServerLimits
from ..db.options import PoolOptions
from ..db.url import DatabaseURL, parse_url
from .contenders import Package

MOORING: Final = "Mooring"
SQLALCHEMY: Final = "SQLAlchemy QueuePool"
DBUTILS: Final = "DBUtils PooledDB"
CONNECTOR: Final = "mysql-connector pool"
BARE: Final = "bare PyMySQL"
FAIR: Final = "smallest fair hand-over"
PACKAGES: Final = {
    SQLALCHEMY: Package("sqlalchemy", "SQLAlchemy"),
    DBUTILS: Package("dbutils", "DBUtils"),
    CONNECTOR: Package("mysql.connector", "mysql-connector-python"),
}


@dataclass(frozen=True)
class Lender:
    """A pool.

    Args:
        name: for the report.
        borrow: gives something with ``cursor()``.
        give_back: takes it.
        close: ends the pool.
    """

    name: str
    borrow: Callable[[], Any]
    give_back: Callable[[Any], object]
    close: Callable[[], object]

    def ask(self) -> None:
        """Borrow, ``SELECT 1``, return."""
        connection = self.borrow()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            cursor.close()
        finally:
            self.give_back(connection)

    def pass_through(self) -> None:
        """Borrow, return."""
        self.give_back(self.borrow())


class FairQueue:
    """First come, first served, in as few lines as can be: what the switches between threads cost by themselves.

    ``_mutex`` guards both queues.
    """

    def __init__(self, size: int) -> None:
        self._mutex = threading.Lock()
        self._free: deque[object] = deque(range(size))
        self._waiting: deque[tuple[threading.Lock, list[object]]] = deque()

    def borrow(self) -> object:
        """One that is free, or the next one that is returned."""
        with self._mutex:
            if self._free:
                return self._free.pop()
            baton, given = threading.Lock(), list[object]()
            baton.acquire()
            self._waiting.append((baton, given))
        baton.acquire()
        return given[0]

    def give_back(self, one: object) -> None:
        """To whoever waits longest."""
        with self._mutex:
            if not self._waiting:
                self._free.append(one)
                return
            baton, given = self._waiting.popleft()
        given.append(one)
        baton.release()


def connector_is_compiled() -> bool:
    """Whether mysql-connector runs its C part; on a system with an older OpenSSL it says nothing and does without."""
    return bool(import_module("mysql.connector").HAVE_CEXT)


def fair_lender(size: int) -> Lender:
    """``FairQueue``, to compare with."""
    queue = FairQueue(size)
    return Lender(FAIR, queue.borrow, queue.give_back, lambda: None)


class NoConnection:
    """A connection to nothing, which costs nothing."""

    def rollback(self) -> None:
        """Nothing to do."""

    def commit(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def cursor(self) -> Any:
        """Nothing to ask."""


class NoDriver:
    """What our pool needs of a driver, without a database; see ``mooring.db.driver.Driver``."""

    dialect = "sqlite"
    errors = DriverErrors.of(sqlite3)
    opens_inline = False

    def connect(self, *, read_timeout: float | None = None) -> NoConnection:
        return NoConnection()

    def explain(self, exc: BaseException) -> ConnectFailure:
        return ConnectFailure(str(exc), fatal=True)

    def close(self, connection: Any) -> None: ...

    def abort(self, connection: Any) -> None: ...

    def abandon(self, connection: Any) -> None: ...

    def renew(self) -> None: ...

    def limits(self, connection: Any) -> ServerLimits | None:
        return None

    def fileno(self, connection: Any) -> int | None:
        return None

    def ping(self, connection: Any) -> None: ...

    def reset(self, connection: Any) -> bool:
        connection.rollback()
        return True

    def breaks(self, exc: BaseException) -> bool:
        return False

    def may_repeat(self, exc: BaseException) -> bool:
        return False

    def may_pass(self, exc: BaseException) -> bool:
        return False

    def lost_writer(self, exc: BaseException) -> bool:
        return False

    def cursor(self, connection: Any) -> Any:
        return connection.cursor()

    def literals(self, connection: Any) -> Callable[[Any], str]:
        return repr

    def begin(self, connection: Any, isolation: str | None, read_only: bool) -> None: ...


def lenders_without_database(size: int) -> dict[str, Callable[[], Lender]]:
    """Pools of connections to nothing; mysql-connector's cannot do without a server."""
    return {
        MOORING: lambda: _ours(
            ConnectionPool(
                parse_url("sqlite:///nothing.db"),
                NoDriver(),
                PoolOptions(name="bench", min_size=size, max_size=size, max_waiting=1000, timeout=60.0),
            )
        ),
        SQLALCHEMY: lambda: _sqlalchemy(NoConnection, size),
        DBUTILS: lambda: _dbutils(_module_of_nothing(), size),
    }


def lenders(url: str, size: int) -> dict[str, Callable[[], Lender]]:
    """Pools over a real database, all of PyMySQL but the connector's."""
    parsed = parse_url(url)
    return {
        BARE: lambda: _bare(parsed),
        MOORING: lambda: _ours(MySQLConnectionPool(url, min_size=size, max_size=size, timeout=60.0)),
        SQLALCHEMY: lambda: _sqlalchemy(lambda: pymysql_connection(parsed), size, pre_ping=True),
        DBUTILS: lambda: _dbutils(lambda: pymysql_connection(parsed), size),
        CONNECTOR: lambda: _connector(parsed, size),
    }


def pymysql_connection(url: DatabaseURL) -> Any:
    """A connection of the driver alone, in autocommit."""
    import pymysql

    return pymysql.connect(**_arguments(url), autocommit=True, charset="utf8mb4", ssl_disabled=True, read_timeout=30)


def _arguments(url: DatabaseURL) -> dict[str, Any]:
    place = {"unix_socket": url.unix_socket} if url.unix_socket else {"host": url.host, "port": url.port}
    return {**place, "user": url.user, "password": url.password or "", "database": url.database}


def _ours(pool: ConnectionPool) -> Lender:
    pool.create_connections()
    return Lender(MOORING, pool.get_connection, pool.return_connection, lambda: pool.close(0.0))


def _bare(url: DatabaseURL) -> Lender:
    connection = pymysql_connection(url)
    return Lender(BARE, lambda: connection, lambda _: None, connection.close)


def _sqlalchemy(connect: Callable[[], Any], size: int, *, pre_ping: bool = False) -> Lender:
    make: Any = import_module("sqlalchemy.pool").QueuePool
    pool = make(connect, pool_size=size, max_overflow=0, timeout=60.0, pre_ping=pre_ping)
    if pre_ping:
        dialect: Any = import_module("sqlalchemy.dialects.mysql.pymysql").MySQLDialect_pymysql
        pool._dialect = dialect(dbapi=dialect.import_dbapi())
    return Lender(SQLALCHEMY, pool.connect, lambda connection: connection.close(), pool.dispose)


def _dbutils(connect: Any, size: int) -> Lender:
    make: Any = import_module("dbutils.pooled_db").PooledDB
    pool = make(connect, mincached=size, maxcached=size, maxconnections=size, blocking=True)
    # Not shared between threads, as the others are not.
    return Lender(DBUTILS, lambda: pool.connection(shareable=False), lambda one: one.close(), pool.close)


def _module_of_nothing() -> Any:
    return SimpleNamespace(connect=NoConnection, threadsafety=1, Error=sqlite3.Error, **_errors())


def _errors() -> dict[str, Any]:
    return {
        name: getattr(sqlite3, name)
        for name in ("OperationalError", "InterfaceError", "InternalError", "ProgrammingError", "DatabaseError")
    }


def _connector(url: DatabaseURL, size: int) -> Lender:
    make: Any = import_module("mysql.connector.pooling").MySQLConnectionPool
    options = {**_arguments(url), "autocommit": True, "collation": "utf8mb4_general_ci", "ssl_disabled": True}
    pool = make(pool_name="bench", pool_size=min(size, 32), **options)
    return Lender(CONNECTOR, pool.get_connection, lambda one: one.close(), pool._remove_connections)
