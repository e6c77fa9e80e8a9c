"""What MySQL's error numbers mean for a pool, and what to tell the person who runs the program.

Numbers: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html and client-error-reference.html.
"""

from __future__ import annotations

import errno
import ssl
from typing import Final

from .driver import ConnectFailure
from .url import DatabaseURL

# The connection is gone or out of step: server gone, lost, out of sync, SSL lost, killed, shut down, closed for idling.
DISCONNECT: Final = frozenset(
    {2006, 2013, 2014, 2045, 2055, 1927, 4031, 1053, 1079, 1080, 1152, 1158, 1159, 1160, 1161}
)
# Trying again helps without anybody doing something: unreachable, too many connections, lost in the handshake.
TRANSIENT: Final = frozenset({2002, 2003, 2005, 2006, 2013, 1040, 1053, 1203, 1226, 2055})
# The transaction lost against another one: deadlock, lock wait time-out, MariaDB's changed record.
MAY_REPEAT: Final = frozenset({1213, 1205, 1020})
# The database as a whole cannot do it now: disk or table full, out of memory or locks, a storage engine in trouble, the
# statement killed or too slow, a node of a cluster that is not ready.
_FULL: Final = frozenset({3, 28, 1021, 1026, 1028, 1037, 1038, 1041, 1114, 1206})
MAY_PASS: Final = _FULL | {1030, 1047, 1180, 1181, 1207, 1317, 1969, 3024, 3100, 3168}
# Only for a read-only server: 1290 has further causes, and says which.
READ_ONLY: Final = frozenset({1792, 1836})


def is_disconnect(exc: BaseException) -> bool:
    """Whether the connection on which this was raised is lost, or no longer in step with the server."""
    if _is_a(exc, "InterfaceError"):
        return True  # PyMySQL's "(0, '')": the socket is closed already
    if _is_a(exc, "InternalError") and not _number(exc):
        return True  # "Packet sequence number wrong"
    return _is_a(exc, "MySQLError") and _number(exc) in DISCONNECT


def may_repeat(exc: BaseException) -> bool:
    """Whether a transaction that ended so may succeed the next time."""
    return _is_a(exc, "MySQLError") and _number(exc) in MAY_REPEAT


def may_pass(exc: BaseException) -> bool:
    """Whether a statement failed because of the state of the whole database, and not by its own fault."""
    return _is_a(exc, "MySQLError") and _number(exc) in MAY_PASS


def lost_writer(exc: BaseException) -> bool:
    """Whether a write was refused because the server has become read-only."""
    if not _is_a(exc, "MySQLError"):
        return False
    number = _number(exc)
    return number in READ_ONLY or (number == 1290 and "read" in str(exc) and "only" in str(exc))


def explain(url: DatabaseURL, exc: BaseException) -> ConnectFailure:
    """Say why connecting to ``url`` failed, and whether trying again can help."""
    number = _number(exc)
    if not _is_a(exc, "MySQLError"):
        return _explain_foreign(url, exc)
    user, place, name = url.user, url.place, url.database
    if number == 1045:
        return ConnectFailure(
            f"access denied for {user!r} at {place}: wrong user or password, or the user may not come from this host; "
            "write @ in a password as %40",
            fatal=True,
        )
    if number == 1044:
        detail = (
            f"access denied for {user!r} to database {name!r} on {place}; let it in with: GRANT ALL ON {name}.* TO …"
        )
        return ConnectFailure(detail, fatal=True)
    if number == 1049:
        detail = f"unknown database {name!r} on {place}; create it with: CREATE DATABASE {name} CHARACTER SET utf8mb4"
        return ConnectFailure(detail, fatal=True)
    if number == 1040:
        return ConnectFailure(f"{place} has too many connections; raise its max_connections", fatal=False)
    certificate = _certificate_error(exc)
    if certificate is not None:
        return ConnectFailure(
            f"the certificate of {place} is not accepted: {certificate}; name the authority that signed it with "
            "ssl_ca=/path, and connect by the name that stands in it",
            fatal=True,
        )
    if number == 2026:
        return ConnectFailure(f"no encrypted connection to {place}: {exc.args[-1]}", fatal=True)
    if number in (2002, 2003, 2005):
        return ConnectFailure(f"cannot reach a database server at {place}: {_reason(exc)}", fatal=False)
    if not number:
        return _not_mysql(url, exc)
    return ConnectFailure(f"connecting to {place} failed: {exc}", fatal=number not in TRANSIENT)


def _explain_foreign(url: DatabaseURL, exc: BaseException) -> ConnectFailure:
    if isinstance(exc, RuntimeError) and "cryptography" in str(exc):
        detail = f"{url.place} wants a login that needs the package cryptography; pip install 'PyMySQL[rsa]'"
        return ConnectFailure(detail, fatal=True)
    if isinstance(exc, FileNotFoundError) and exc.filename == url.password_file:
        return ConnectFailure(f"the password_file {url.password_file} does not exist", fatal=True)
    if isinstance(exc, OSError):
        return ConnectFailure(f"connecting to {url.place} failed: {exc}", fatal=exc.errno != errno.EMFILE)
    return _not_mysql(url, exc)


def _not_mysql(url: DatabaseURL, exc: BaseException) -> ConnectFailure:
    detail = f"{url.place} does not answer like a MySQL server ({type(exc).__name__}: {exc}); is the port right?"
    return ConnectFailure(detail, fatal=True)


def _is_a(exc: BaseException, name: str) -> bool:
    # By name, because PyMySQL and mysqlclient have the same classes, and neither is always there.
    return any(kind.__name__ == name for kind in type(exc).__mro__)


def _number(exc: BaseException) -> int:
    first = exc.args[0] if exc.args else 0
    return first if isinstance(first, int) else 0


def _certificate_error(exc: BaseException) -> str | None:
    original = exc.__cause__ or getattr(exc, "original_exception", None)
    return original.verify_message if isinstance(original, ssl.SSLCertVerificationError) else None


def _reason(exc: BaseException) -> str:
    original = exc.__cause__ or getattr(exc, "original_exception", None)
    if isinstance(original, TimeoutError):
        return "it does not answer"
    if isinstance(original, OSError) and original.strerror:
        return f"{original.strerror.lower()}; is it running, and is the port right?"
    return str(original or exc)
