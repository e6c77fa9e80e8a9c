"""MySQL and MariaDB behind the pool, by PyMySQL: autocommit, utf8mb4, and no wait without an end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final

import pymysql
from pymysql.constants import CR, SERVER_STATUS

from . import mysql_errors
from .credentials import Password, SharedTLS, current_password, ssl_mode
from .dialing import dial, dial_unix
from .driver import ConnectFailure, Cursor, DriverErrors, ServerLimits
from .mysql_connection import MySQLConnection, MySQLCursor
from .url import DatabaseURL

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 30.0
WRITE_TIMEOUT: Final = 30.0


class MySQLDriver:
    """PyMySQL, set up for a pool.

    Args:
        url: where to; a ``password_file`` in it is read at each connect.
        password: a password, or a function that gives the current one at each connect; goes before the URL's.
        autocommit: whether each statement commits by itself.
        reset_on_return: one of ``options.RESETS``.
    """

    dialect = "mysql"
    opens_inline = False
    errors = DriverErrors.of(pymysql)

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
        self._tls = SharedTLS(url)

    def connect(self, *, read_timeout: float | None = None) -> MySQLConnection:
        """Log in, at the first host that takes writes; every read, write and the connect itself end after a time.

        Args:
            read_timeout: longest silence of the server during a statement, in seconds (default: the URL's, or 30).
        """
        hosts = list(self._url.hosts)
        connection = self._log_in_somewhere(hosts)
        if self._url.others:
            connection = self._find_writer(connection, hosts)
        # From here on statements may take longer than a handshake may.
        connection._read_timeout = read_timeout or self._url.read_timeout or READ_TIMEOUT
        return connection

    def _connect_timeout(self) -> float:
        return self._url.connect_timeout or CONNECT_TIMEOUT

    def _log_in_somewhere(self, hosts: list[tuple[str, int]]) -> MySQLConnection:
        while True:
            try:
                return self._log_in(hosts)
            except pymysql.MySQLError as exc:
                if not hosts or self.explain(exc).fatal:
                    raise

    def _find_writer(self, first: MySQLConnection, hosts: list[tuple[str, int]]) -> MySQLConnection:
        """The first connection, or another one if that one's server is read-only and another server is not."""
        connection = first
        while not _takes_writes(connection):
            if connection is not first:
                self.close(connection)
            if not hosts:
                return first
            try:
                connection = self._log_in_somewhere(hosts)
            except pymysql.MySQLError:
                return first
        if connection is not first:
            self.close(first)
        return connection

    def _log_in(self, hosts: list[tuple[str, int]]) -> MySQLConnection:
        """Connect to the first of ``hosts`` that answers, and take it off the list."""
        deadline = time.monotonic() + self._connect_timeout()
        sock, number = self._dial(hosts)
        try:
            connection = self._unconnected(*hosts.pop(number))
        except BaseException:
            sock.close()
            raise
        # Over a Unix socket a password may go in clear, as the driver knows only of sockets that it made itself.
        connection._secure = self._url.unix_socket is not None
        with connection.until(deadline):
            connection.connect(sock)
        return connection

    def _dial(self, hosts: list[tuple[str, int]]) -> tuple[socket.socket, int]:
        """Connect the socket. PyMySQL's own way forgets to close it when a Unix socket refuses.

        Raises:
            pymysql.OperationalError: 2002 or 2003, as PyMySQL's own. Then no host is left to be tried.
        """
        path, timeout = self._url.unix_socket, self._connect_timeout()
        try:
            return (dial_unix(path, timeout), 0) if path is not None else dial(hosts, timeout)
        except OSError as exc:
            hosts.clear()
            number = CR.CR_CONN_HOST_ERROR if path is None else CR.CR_CONNECTION_ERROR
            text = f"Can't connect to MySQL server on {self._url.place!r} ({exc})"
            raise pymysql.OperationalError(number, text) from exc

    def _unconnected(self, host: str, port: int) -> MySQLConnection:
        url, mode = self._url, ssl_mode(self._url, host)
        return MySQLConnection(
            self._tls.context,
            host=host,
            port=port,
            unix_socket=url.unix_socket,
            user=url.user or None,
            # Bytes, because PyMySQL would encode a str as Latin-1.
            password=current_password(url, self._password).encode(),
            database=url.database,
            charset="utf8mb4",
            collation=url.collation,
            autocommit=self._autocommit,
            cursorclass=MySQLCursor,
            connect_timeout=self._connect_timeout(),
            read_timeout=self._connect_timeout(),  # bounds the handshake; connect_timeout ends with the TCP connect
            write_timeout=url.write_timeout or WRITE_TIMEOUT,
            ssl=None if mode in ("disabled", "preferred") else self._tls.context(),
            ssl_disabled=mode == "disabled",
            program_name="mooring",
            defer_connect=True,
        )

    def explain(self, exc: BaseException) -> ConnectFailure:
        return mysql_errors.explain(self._url, exc)

    def close(self, connection: MySQLConnection) -> None:
        if connection._result is not None:
            # Else its finaliser tries to read the remaining rows from the closed socket.
            connection._result.unbuffered_active = False
        try:
            if connection.open:
                connection.close()
        except pymysql.Error:
            connection.drop()

    def abort(self, connection: MySQLConnection) -> None:
        # Only the socket is touched: the thread that waits on it owns everything else.
        sock = connection._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def abandon(self, connection: MySQLConnection) -> None:
        connection.drop()

    def renew(self) -> None:
        self._tls.renew()

    def limits(self, connection: MySQLConnection) -> ServerLimits | None:
        cursor = connection.cursor()
        # Still a part of connecting: a server that stands still here must not hold an opener for longer.
        with connection.until(time.monotonic() + self._connect_timeout()):
            cursor.execute("SELECT @@wait_timeout, @@max_connections, @@version")
        wait_timeout, max_connections, version = cursor.fetchone()
        return ServerLimits(float(wait_timeout), int(max_connections), str(version))

    def fileno(self, connection: MySQLConnection) -> int | None:
        sock = connection._sock
        return sock.fileno() if sock is not None else None

    def ping(self, connection: MySQLConnection) -> None:
        with connection.until(time.monotonic() + self._connect_timeout()):
            connection.ping(reconnect=False)

    def reset(self, connection: MySQLConnection) -> bool:
        if connection._sock is None or _has_unread_result(connection):
            return False
        connection.loan += 1
        if connection.cursors:
            connection.forget_cursors()
        if self._reset_on_return != "rollback":
            if self._reset_on_return == "full":
                connection.start_over(self._url.collation, autocommit=self._autocommit)
            return True
        if not self._autocommit:
            # The status flag is not refreshed by result sets, so a SELECT may have begun a transaction unseen.
            connection.rollback()
            return True
        status = connection.server_status
        if status & SERVER_STATUS.SERVER_STATUS_IN_TRANS or not status & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT:
            connection.rollback()
        if not status & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT:
            connection.autocommit(True)
        return True

    def breaks(self, exc: BaseException) -> bool:
        return not isinstance(exc, Exception) or mysql_errors.is_disconnect(exc)

    def may_repeat(self, exc: BaseException) -> bool:
        return mysql_errors.may_repeat(exc)

    def may_pass(self, exc: BaseException) -> bool:
        return mysql_errors.may_pass(exc)

    def lost_writer(self, exc: BaseException) -> bool:
        return mysql_errors.lost_writer(exc)

    def cursor(self, connection: MySQLConnection) -> Cursor:
        return MySQLCursor(connection)

    def literals(self, connection: MySQLConnection) -> Callable[[Any], str]:
        """Several times as fast as PyMySQL's own for text with double quotes in it, such as JSON."""
        escape: Callable[[Any], str] = connection.escape
        no_backslashes = connection.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES

        def literal(value: Any) -> str:
            kind = type(value)
            if kind is str:
                # In single quotes only they and backslashes mean something else than themselves
                # (https://dev.mysql.com/doc/c-api/8.4/en/mysql-real-escape-string-quote.html).
                if "\\" in value and not no_backslashes:
                    value = value.replace("\\", "\\\\")
                if "'" in value:
                    value = value.replace("'", "''")
                return f"'{value}'"
            if kind is int:
                return str(value)
            if isinstance(value, bytes | bytearray | memoryview):
                # PyMySQL 1.1 writes bytes into the text as they are, which no longer is text that can be encoded.
                return f"X'{bytes(value).hex()}'"
            return escape(value)

        return literal

    def begin(self, connection: MySQLConnection, isolation: str | None, read_only: bool) -> None:
        cursor = connection.cursor()
        if isolation is not None:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        cursor.execute("START TRANSACTION READ ONLY" if read_only else "START TRANSACTION")


def _has_unread_result(connection: MySQLConnection) -> bool:
    result = connection._result
    return result is not None and bool(result.unbuffered_active or result.has_next)


def _takes_writes(connection: MySQLConnection) -> bool:
    cursor = connection.cursor()
    cursor.execute("SELECT @@global.read_only")
    return str(cursor.fetchone()[0]) in ("0", "OFF")
