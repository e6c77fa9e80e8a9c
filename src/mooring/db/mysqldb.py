"""MySQL and MariaDB behind the pool, by mysqlclient (``MySQLdb``): faster at large results, and an extra to install."""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from . import mysql, mysql_errors
from .credentials import Password, current_password, ssl_mode
from .driver import ConnectFailure, Cursor, DriverErrors, ServerLimits
from .url import DatabaseURL

try:
    MySQLdb: Any = import_module("MySQLdb")
except ImportError as exc:
    raise ImportError(
        f"mysql+mysqldb:// needs the package mysqlclient: pip install 'mooring[mysqlclient]' ({exc}); "
        "mysql:// needs nothing more"
    ) from exc

_cursors: Any = import_module("MySQLdb.cursors")
_connections: Any = import_module("MySQLdb.connections")
_SSL_MODES: Final = {
    "disabled": "DISABLED",
    "preferred": "PREFERRED",
    "required": "REQUIRED",
    "verify_ca": "VERIFY_CA",
    "verify_identity": "VERIFY_IDENTITY",
}
# Connections that belong to the parent of this process; their finaliser would say goodbye in its name.
_abandoned: Final[list[Any]] = []


class MySQLdbCursor(_cursors.Cursor):  # type: ignore[misc]
    """mysqlclient's cursor, except that no parameters means "send as is", and a cursor remembers interruptions."""

    def execute(self, query: str, args: Any = ()) -> Any:
        try:
            return super().execute(query, args or None)
        except Exception:
            raise
        except BaseException:
            self.connection.was_interrupted = True
            raise


class MySQLdbConnection(_connections.Connection):  # type: ignore[misc]
    """mysqlclient's connection, which knows its cursors; ``was_interrupted``: half an answer is on the wire."""

    def __init__(self, **options: Any) -> None:
        self.open_cursors: weakref.WeakSet[Any] = weakref.WeakSet()
        self.was_interrupted = False
        self.is_closed = False
        super().__init__(**options)


class MySQLdbDriver:
    """mysqlclient, set up for a pool; the arguments are those of ``MySQLDriver``.

    The C library dials: of several hosts a silent one costs the whole connect time-out before the next is tried.
    """

    dialect = "mysql"
    opens_inline = False
    errors = DriverErrors.of(MySQLdb)

    def __init__(
        self,
        url: DatabaseURL,
        *,
        password: Password = None,
        autocommit: bool = True,
        reset_on_return: str = "rollback",
    ) -> None:
        self._url = url
        self._reset_on_return = reset_on_return
        self._password = password
        self._autocommit = autocommit

    def connect(self, *, read_timeout: float | None = None) -> MySQLdbConnection:
        """Log in at the first host that lets us; every wait ends after a time (whole seconds, at least 1)."""
        *others, last = self._url.hosts
        for host, port in others:
            try:
                connection = self._log_in(host, port, read_timeout)
            except MySQLdb.OperationalError as exc:
                if self.explain(exc).fatal:
                    raise
                continue
            if self._takes_writes(connection):
                return connection
            self.close(connection)
        return self._log_in(*last, read_timeout)

    def _log_in(self, host: str, port: int, read_timeout: float | None) -> MySQLdbConnection:
        url, mode = self._url, ssl_mode(self._url, host)
        files = {"ca": url.ssl_ca, "cert": url.ssl_cert, "key": url.ssl_key}
        options: dict[str, Any] = {"host": host, "port": port}
        if url.unix_socket is not None:
            options = {"unix_socket": url.unix_socket}
        if mode not in ("disabled", "preferred"):
            options["ssl"] = {key: value for key, value in files.items() if value is not None}
            options["ssl_mode"] = _SSL_MODES[mode]
        connection = MySQLdbConnection(
            user=url.user,
            password=current_password(url, self._password),
            database=url.database,
            charset="utf8mb4",
            autocommit=self._autocommit,
            connect_timeout=_whole(url.connect_timeout or mysql.CONNECT_TIMEOUT),
            read_timeout=_whole(read_timeout or url.read_timeout or mysql.READ_TIMEOUT),
            write_timeout=_whole(url.write_timeout or mysql.WRITE_TIMEOUT),
            **options,
        )
        self._choose_collation(connection)
        return connection

    def _choose_collation(self, connection: MySQLdbConnection) -> None:
        if self._url.collation is not None:
            connection.set_character_set("utf8mb4", self._url.collation)

    def _takes_writes(self, connection: MySQLdbConnection) -> bool:
        return str(_ask(connection, "SELECT @@global.read_only")[0]) in ("0", "OFF")

    def explain(self, exc: BaseException) -> ConnectFailure:
        return mysql_errors.explain(self._url, exc)

    def close(self, connection: MySQLdbConnection) -> None:
        if connection.is_closed:
            return
        connection.is_closed = True
        try:
            connection.close()
        except MySQLdb.Error:
            pass

    def abort(self, connection: MySQLdbConnection) -> None:
        # Only the socket is touched: the thread that waits on it owns everything else.
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as sock:
                sock.shutdown(socket.SHUT_RDWR)
        except (MySQLdb.Error, OSError):
            pass

    def abandon(self, connection: MySQLdbConnection) -> None:
        _abandoned.append(connection)

    def renew(self) -> None:
        pass

    def limits(self, connection: MySQLdbConnection) -> ServerLimits | None:
        wait_timeout, max_connections, version = _ask(connection, "SELECT @@wait_timeout, @@max_connections, @@version")
        return ServerLimits(float(wait_timeout), int(max_connections), str(version))

    def fileno(self, connection: MySQLdbConnection) -> int | None:
        descriptor: int = connection.fileno()
        return descriptor

    def ping(self, connection: MySQLdbConnection) -> None:
        connection.ping()

    def reset(self, connection: MySQLdbConnection) -> bool:
        if connection.is_closed or connection.was_interrupted:
            return False
        for cursor in list(connection.open_cursors):
            cursor.connection = cursor._executed = None
        connection.open_cursors.clear()
        if self._reset_on_return == "full":
            self._start_over(connection)
        if self._reset_on_return != "rollback":
            return True
        # The library does not say whether a transaction is open, so each return costs this round trip.
        connection.rollback()
        if self._autocommit and not connection.get_autocommit():
            connection.autocommit(True)
        return True

    def _start_over(self, connection: MySQLdbConnection) -> None:
        # The library's request to reset is not offered by mysqlclient; logging in once more does as much.
        url = self._url
        connection.change_user(url.user, current_password(url, self._password), url.database)
        connection.set_character_set("utf8mb4")
        self._choose_collation(connection)
        connection.autocommit(self._autocommit)

    def breaks(self, exc: BaseException) -> bool:
        return not isinstance(exc, Exception) or mysql_errors.is_disconnect(exc)

    def may_repeat(self, exc: BaseException) -> bool:
        return mysql_errors.may_repeat(exc)

    def may_pass(self, exc: BaseException) -> bool:
        return mysql_errors.may_pass(exc)

    def lost_writer(self, exc: BaseException) -> bool:
        return mysql_errors.lost_writer(exc)

    def cursor(self, connection: MySQLdbConnection) -> Cursor:
        cursor: Cursor = connection.cursor(MySQLdbCursor)
        connection.open_cursors.add(cursor)
        return cursor

    def literals(self, connection: MySQLdbConnection) -> Callable[[Any], str]:
        def literal(value: Any) -> str:
            if isinstance(value, bytes | bytearray | memoryview):
                return f"X'{bytes(value).hex()}'"
            text: bytes = connection.literal(value)
            return text.decode()

        return literal

    def begin(self, connection: MySQLdbConnection, isolation: str | None, read_only: bool) -> None:
        cursor = connection.cursor(MySQLdbCursor)
        if isolation is not None:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        cursor.execute("START TRANSACTION READ ONLY" if read_only else "START TRANSACTION")


def _ask(connection: MySQLdbConnection, sql: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchone()


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
