"""The pools that users make: MySQL, SQLite, or whichever a URL names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .credentials import Password
from .driver import Driver
from .events import PoolEvent
from .options import PoolOptions
from .pool import ConnectionPool
from .sqlite import SQLiteDriver
from .url import MYSQLDB_SCHEMES, DatabaseURL, parse_url


class MySQLConnectionPool(ConnectionPool):
    """A pool of MySQL or MariaDB connections, by PyMySQL; by mysqlclient if the URL begins with ``mysql+mysqldb``.

    The constructor checks its arguments and does nothing else; the first borrowed connection is the first opened.

    Args:
        url: ``mysql://user:password@host:port/database``, with ``?unix_socket=/path``, ``password_file=/path``,
            ``ssl_mode=…``, ``ssl_ca=/path`` and so on; several hosts are separated by commas and tried in their order.
        name: for logs and messages; the URL without its password if empty.
        password: the password, or a function that gives the current one at each connect; goes before the URL's.
        min_size, max_size: connections to keep, and most connections.
        timeout: seconds to wait for a connection.
        autocommit: each statement commits by itself; with False use ``lease.commit()``.
        max_waiting: callers that may wait at the same time; ``10 * max_size`` if None.
        max_lifetime: seconds after which a connection is replaced.
        max_idle: seconds after which an unused connection above ``min_size`` is closed.
        keepalive_interval: seconds after which an idle connection is asked in the background.
        ping_after: seconds of idleness after which a connection is asked before it is lent.
        leak_after: seconds after which the log names who still holds a connection; ``math.inf`` for never.
        fail_fast_after: seconds of the database's absence after which callers get PoolUnavailable at once.
        reset_on_return: ``"rollback"`` ends an open transaction; ``"full"`` also forgets variables, temporary tables
            and locks, for two round trips more; ``"none"`` trusts the borrowers.
        on_connect: called with each new driver connection, and again after each full reset.
        on_event: called with each ``PoolEvent``; must be quick.

    Raises:
        ValueError, TypeError: an argument is wrong; the text names it. ImportError: mysqlclient is not installed.
    """

    def __init__(
        self,
        url: str | DatabaseURL,
        *,
        name: str = "",
        password: Password = None,
        min_size: int = 2,
        max_size: int = 10,
        timeout: float = 5.0,
        autocommit: bool = True,
        max_waiting: int | None = None,
        max_lifetime: float = 1800.0,
        max_idle: float = 600.0,
        keepalive_interval: float = 120.0,
        ping_after: float = 30.0,
        leak_after: float = 60.0,
        fail_fast_after: float = 5.0,
        reset_on_return: str = "rollback",
        on_connect: Callable[[Any], object] | None = None,
        on_event: Callable[[PoolEvent], object] | None = None,
    ) -> None:
        parsed = _parsed(url, "mysql", type(self).__name__)
        options = PoolOptions(
            name=name,
            min_size=min_size,
            max_size=max_size,
            timeout=timeout,
            max_waiting=max_waiting,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            keepalive_interval=keepalive_interval,
            ping_after=ping_after,
            leak_after=leak_after,
            fail_fast_after=fail_fast_after,
            reset_on_return=reset_on_return,
            on_connect=on_connect,
            on_event=on_event,
        )
        super().__init__(parsed, _mysql_driver(parsed, password, autocommit, options), options)


class SQLiteConnectionPool(ConnectionPool):
    """A pool of connections to one SQLite file: any number of readers beside one writer (WAL, ``synchronous=FULL``).

    The constructor checks its arguments and does nothing else; the first borrowed connection opens the file.
    A database in memory (``sqlite:///:memory:``) has exactly one connection and lives as long as its pool.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite:///:memory:``.
        password: not possible with SQLite; None.
        reset_on_return: ``"full"`` is not possible with SQLite.
        others: as in ``MySQLConnectionPool``.

    Raises:
        ValueError, TypeError: an argument is wrong; the text names it.
    """

    def __init__(
        self,
        url: str | DatabaseURL,
        *,
        name: str = "",
        password: None = None,
        min_size: int = 2,
        max_size: int = 10,
        timeout: float = 5.0,
        autocommit: bool = True,
        max_waiting: int | None = None,
        max_lifetime: float = 1800.0,
        max_idle: float = 600.0,
        keepalive_interval: float = 120.0,
        ping_after: float = 30.0,
        leak_after: float = 60.0,
        fail_fast_after: float = 5.0,
        reset_on_return: str = "rollback",
        on_connect: Callable[[Any], object] | None = None,
        on_event: Callable[[PoolEvent], object] | None = None,
    ) -> None:
        parsed = _parsed(url, "sqlite", type(self).__name__)
        if password is not None:
            raise ValueError("SQLite knows no passwords; leave password out")
        if reset_on_return == "full":
            raise ValueError("reset_on_return='full' is not possible with SQLite, which has no such request")
        options = PoolOptions(
            name=name,
            min_size=min_size,
            max_size=max_size,
            timeout=timeout,
            max_waiting=max_waiting,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            keepalive_interval=keepalive_interval,
            ping_after=ping_after,
            leak_after=leak_after,
            fail_fast_after=fail_fast_after,
            reset_on_return=reset_on_return,
            on_connect=on_connect,
            on_event=on_event,
        )
        if parsed.in_memory:
            inf = math.inf
            options = replace(options, min_size=1, max_size=1, max_lifetime=inf, max_idle=inf, ping_after=inf)
        driver = SQLiteDriver(parsed, autocommit=autocommit, reset_on_return=options.reset_on_return)
        super().__init__(parsed, driver, options)

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the limits, as ``ConnectionPool.resize`` does; a database in memory keeps its one connection."""
        if not self.url.in_memory:
            super().resize(min_size, max_size)


def open_pool(url: str | DatabaseURL, **options: Any) -> ConnectionPool:
    """Make the pool that a URL asks for; nothing is opened yet.

    Args:
        url: ``mysql://…``, ``mysql+pymysql://…``, ``mysql+mysqldb://…``, ``mariadb://…`` or ``sqlite://…``.
        options: those of ``MySQLConnectionPool`` or ``SQLiteConnectionPool``.

    Raises:
        ValueError, TypeError: the URL or an option is wrong; the text names it.
    """
    parsed = parse_url(url)
    if parsed.dialect == "mysql":
        return MySQLConnectionPool(parsed, **options)
    return SQLiteConnectionPool(parsed, **options)


def _mysql_driver(url: DatabaseURL, password: Password, autocommit: bool, options: PoolOptions) -> Driver:
    reset = options.reset_on_return
    if url.scheme not in MYSQLDB_SCHEMES:
        from .mysql import MySQLDriver  # PyMySQL with its cryptography is a quarter of what a command would load

        return MySQLDriver(url, password=password, autocommit=autocommit, reset_on_return=reset)
    from .mysqldb import MySQLdbDriver  # an extra: imported when it is asked for

    return MySQLdbDriver(url, password=password, autocommit=autocommit, reset_on_return=reset)


def _parsed(url: str | DatabaseURL, dialect: str, kind: str) -> DatabaseURL:
    parsed = parse_url(url)
    if parsed.dialect != dialect:
        raise ValueError(f"{kind} needs a URL of {dialect}, not {parsed.scheme}://")
    return parsed
