"""A database that exists only in the test: it refuses, dies and dawdles on command."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from mooring.db.driver import ConnectFailure, DriverErrors, ServerLimits
from mooring.db.options import PoolOptions
from mooring.db.pool import ConnectionPool
from mooring.db.url import parse_url


class Refused(Exception):
    """The database cannot be reached."""


class Denied(Exception):
    """The database refuses us."""


class Deadlock(Exception):
    """A transaction lost against another one."""


class ReadOnly(Exception):
    """The server takes no writes any more."""


class FakeConnection:
    """Remembers what was done to it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True
        self.closed = False
        self.aborted = False
        self.abandoned = False
        self.pings = 0
        self.resets = 0
        self.users = 0  # more than one at a time is a fault of the pool

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


class FakeCursor:
    def __init__(self, connection: FakeConnection, driver: FakeDriver) -> None:
        self.connection = connection
        self.driver = driver

    def execute(self, sql: str, params: Any = (), /) -> None:
        if self.driver.query_error is not None:
            error, self.driver.query_error = self.driver.query_error, None
            raise error

    executemany = execute


class FakeDriver:
    """Opens ``FakeConnection``. ``gate`` cleared: connects hang until it is set. ``down``: raised by each connect."""

    dialect = "sqlite"
    errors = DriverErrors.of(sqlite3)

    def __init__(self, *, inline: bool) -> None:
        self.opens_inline = inline
        self.connections: list[FakeConnection] = []
        self.attempts = 0
        self.down: Exception | None = None
        self.query_error: BaseException | None = None
        self.server_limits: ServerLimits | None = None
        self.reset_error: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        self.connecting = threading.Semaphore(0)  # released once for each connect that has begun

    def connect(self, *, read_timeout: float | None = None) -> FakeConnection:
        with self.lock:
            self.attempts += 1
        self.connecting.release()
        assert self.gate.wait(30)
        if self.down is not None:
            raise self.down
        with self.lock:
            connection = FakeConnection(len(self.connections))
            self.connections.append(connection)
        return connection

    def explain(self, exc: BaseException) -> ConnectFailure:
        return ConnectFailure(f"explained: {exc}", fatal=isinstance(exc, Denied))

    def close(self, connection: FakeConnection) -> None:
        assert not connection.closed, "closed twice"
        connection.closed = True

    def abort(self, connection: FakeConnection) -> None:
        connection.aborted = True

    def abandon(self, connection: FakeConnection) -> None:
        connection.abandoned = True

    def renew(self) -> None:
        self.lock = threading.Lock()

    def limits(self, connection: FakeConnection) -> ServerLimits | None:
        return self.server_limits

    def fileno(self, connection: FakeConnection) -> int | None:
        return None

    def ping(self, connection: FakeConnection) -> None:
        connection.pings += 1
        if not connection.alive:
            raise Refused("gone")

    def reset(self, connection: FakeConnection) -> bool:
        connection.resets += 1
        if self.reset_error is not None:
            error, self.reset_error = self.reset_error, None
            raise error
        return connection.alive

    def breaks(self, exc: BaseException) -> bool:
        return not isinstance(exc, Exception) or isinstance(exc, Refused)

    def may_repeat(self, exc: BaseException) -> bool:
        return isinstance(exc, Deadlock)

    def may_pass(self, exc: BaseException) -> bool:
        return False

    def lost_writer(self, exc: BaseException) -> bool:
        return isinstance(exc, ReadOnly)

    def cursor(self, connection: FakeConnection) -> Any:
        return FakeCursor(connection, self)

    def literals(self, connection: Any) -> Callable[[Any], str]:
        return repr

    def begin(self, connection: FakeConnection, isolation: str | None, read_only: bool) -> None: ...

    def open_connections(self) -> list[FakeConnection]:
        with self.lock:
            return [connection for connection in self.connections if not connection.closed]


def make_fake_pool(driver: FakeDriver, clock: Any = None, **options: Any) -> ConnectionPool:
    """A pool over the fake driver; with ``clock`` its ages are those of the test."""
    url = parse_url("sqlite:///fake.db")
    settings = PoolOptions(**{"name": "fake", "min_size": 1, "max_size": 2, **options})
    if clock is None:
        return ConnectionPool(url, driver, settings)
    return ConnectionPool(url, driver, settings, clock=clock)
