"""PyMySQL's connection and cursor, made fit for a pool: every wait ends, and a cursor ends with its lease."""

from __future__ import annotations

import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR

RETURNED: Final = "its connection has been returned to the pool"
RESET_CONNECTION: Final = (
    0x1F  # https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_reset_connection.html
)

if TYPE_CHECKING:
    _Base = Connection[pymysql.cursors.Cursor]
else:
    _Base = Connection


class MySQLCursor(pymysql.cursors.Cursor):
    """PyMySQL's cursor, except that no parameters means "send as is", and that it ends with its lease."""

    _executed: Any

    def __init__(self, connection: MySQLConnection) -> None:
        super().__init__(connection)
        self._loan = connection.loan

    def execute(self, query: str, args: Any = ()) -> int:
        return super().execute(query, args or None)

    def close(self) -> None:
        if self._is_over():
            self.connection = None  # type: ignore[assignment]
        super().close()

    def _is_over(self) -> bool:
        connection: Any = self.connection
        return connection is not None and connection.loan != self._loan

    def _get_db(self) -> Any:
        # Called four times for each statement, so it asks nobody else.
        connection: Any = self.connection
        if connection is not None and connection.loan == self._loan:
            return connection
        raise pymysql.ProgrammingError("Cursor closed" + (": " + RETURNED if connection is not None else ""))

    def _check_executed(self) -> None:
        if self._is_over():
            raise pymysql.ProgrammingError(f"Cursor closed: {RETURNED}")
        super()._check_executed()  # type: ignore[misc]


class MySQLConnection(_Base):
    """PyMySQL's connection with the TLS context of its pool, a memory of its cursors, and one user at a time.

    PyMySQL from 1.2 on builds a context for every connection that does not forbid TLS, which costs 28 ms of CPU.

    Args:
        tls_context: gives the context that all connections of the pool share.
        options: those of PyMySQL.

    Attributes:
        loan: counts the loans; cursors of an earlier one are closed.
        cursors: those of other classes than ours, which do not know about loans.
    """

    # Declared here because the stubs leave them out.
    _read_timeout: float | None
    _current_timeout: float | None
    _sock: Any
    _rfile: Any
    _result: Any
    _secure: bool
    _read_bytes: Any
    server_status: int

    def __init__(self, tls_context: Callable[[], ssl.SSLContext], **options: Any) -> None:
        self._tls_context = tls_context
        self.loan = 0
        self.cursors: weakref.WeakSet[Any] = weakref.WeakSet()
        self._deadline = 0.0
        self._in_use = threading.Lock()
        super().__init__(**options)

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        return self._tls_context()

    def query(self, sql: Any, unbuffered: bool = False) -> int:
        self._begin_use()
        try:
            return super().query(sql, unbuffered)
        except Exception:
            raise
        except BaseException:
            # Half a question or half an answer is on the wire: the next user would read the rest of it.
            self.drop()
            raise
        finally:
            self._in_use.release()

    def commit(self) -> None:
        self._begin_use()
        try:
            super().commit()
        finally:
            self._in_use.release()

    def rollback(self) -> None:
        self._begin_use()
        try:
            super().rollback()
        finally:
            self._in_use.release()

    def _begin_use(self) -> None:
        """Refuse a second thread: both would read each other's answers, or find packets out of their order."""
        if not self._in_use.acquire(blocking=False):
            raise pymysql.ProgrammingError("this connection is in use by another thread; borrow one for each thread")

    def cursor(self, cursor: Any = None) -> Any:
        made = super().cursor(cursor)
        if not isinstance(made, MySQLCursor):
            self.cursors.add(made)
        return made

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Have all that is read in the block come by ``deadline``, on the monotonic clock.

        Elsewhere PyMySQL's own way is quicker: each piece has its time-out.
        """
        self._deadline = deadline
        self._read_bytes = self._read_bytes_until_deadline
        try:
            yield
        finally:
            del self._read_bytes

    def _read_bytes_until_deadline(self, num_bytes: int) -> bytes:
        try:
            return self._read_until_deadline(num_bytes, self._deadline)
        except OSError as exc:
            self.drop()
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server ({exc})") from exc
        except BaseException:
            self.drop()
            raise

    def _read_until_deadline(self, size: int, deadline: float) -> bytes:
        """Read piece by piece: a time-out for each piece never ends where a server sends drop by drop."""
        data = b""
        self._current_timeout = None  # PyMySQL remembers which time-out the socket has
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
            ready = self._rfile.peek(1)  # at most one look at the socket
            if not ready:
                raise ConnectionResetError("closed by the server")
            data += self._rfile.read(min(len(ready), size - len(data)))
        return data

    def drop(self) -> None:
        """Close the socket and nothing else."""
        self._force_close()  # type: ignore[attr-defined]

    def start_over(self, collation: str | None, *, autocommit: bool) -> None:
        """Make the session as new: transaction, variables, temporary tables, locks and all."""
        self._execute_command(RESET_CONNECTION, b"")  # type: ignore[attr-defined]
        self._read_ok_packet()  # type: ignore[attr-defined]
        # The server's own defaults have come back with it, for these two as well.
        self.set_character_set("utf8mb4", collation)
        self.autocommit(autocommit)

    def forget_cursors(self) -> None:
        """Close the cursors of other classes, without the I/O of their own ``close``: nothing is unread any more."""
        for cursor in list(self.cursors):
            cursor.connection = cursor._executed = None
        self.cursors.clear()
