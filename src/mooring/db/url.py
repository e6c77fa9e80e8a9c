"""Database URLs as SQLAlchemy writes them, taken apart and checked.

sqlite:///relative.db        sqlite:////absolute.db        sqlite:///:memory:
mysql://user:password@host:3306/database?unix_socket=/run/mysqld/mysqld.sock&password_file=/run/secrets/db
mysql://user:password@first:3306,second:3306/database?ssl_mode=verify_identity&ssl_ca=/etc/ssl/our.pem
mysql://user:password@host/database?read_timeout=300&collation=utf8mb4_bin
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

MYSQLDB_SCHEMES: Final = ("mysql+mysqldb", "mariadb+mysqldb")
MYSQL_SCHEMES: Final = ("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql", *MYSQLDB_SCHEMES)
SQLITE_SCHEMES: Final = ("sqlite", "sqlite+pysqlite")
MEMORY: Final = ":memory:"
MYSQL_PORT: Final = 3306

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATHS = ("unix_socket", "password_file", "ssl_ca", "ssl_cert", "ssl_key")
_TIMEOUTS = ("connect_timeout", "read_timeout", "write_timeout")
_MYSQL_OPTIONS = (*_PATHS, "ssl_mode", "charset", "collation", *_TIMEOUTS)
_COLLATION = re.compile(r"utf8mb4_[a-z0-9_]{1,50}")
LONGEST_TIMEOUT: Final = 86400.0
SSL_MODES: Final = ("disabled", "preferred", "required", "verify_ca", "verify_identity")


@dataclass(frozen=True)
class DatabaseURL:
    """A database address; ``str()`` of it never shows the password.

    Args:
        scheme: as written, for example ``mysql+pymysql``.
        dialect: ``"mysql"`` or ``"sqlite"``.
        user, password, host, port: of MySQL; ``host`` is ``localhost`` where the URL names none.
        database: the name of the database, or the path of the SQLite file as it was written.
        unix_socket: path of MySQL's socket, used instead of host and port.
        password_file: a file whose first line is the password, read at each connect.
        ssl_mode: one of ``SSL_MODES``; "" for ``preferred`` to other machines, ``disabled`` to this one.
        ssl_ca: file of the certificates to trust; the system's if None. Without ``ssl_mode`` it means
            ``verify_identity``.
        ssl_cert, ssl_key: files of our own certificate and its key.
        others: further hosts with their ports, in the order in which they are tried.
        connect_timeout: seconds for connecting and logging in; 5 if None.
        read_timeout, write_timeout: longest silence of the server during a statement, in seconds; 30 if None.
        collation: of the connection; the server's for utf8mb4 if None.
    """

    scheme: str
    dialect: str
    database: str
    user: str = ""
    password: str | None = field(default=None, repr=False)
    host: str = ""
    port: int = MYSQL_PORT
    unix_socket: str | None = None
    password_file: str | None = None
    ssl_mode: str = ""
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    others: tuple[tuple[str, int], ...] = ()
    connect_timeout: float | None = None
    read_timeout: float | None = None
    write_timeout: float | None = None
    collation: str | None = None

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """All hosts with their ports, the preferred one first."""
        return ((self.host, self.port), *self.others)

    @property
    def place(self) -> str:
        """Where the server is, for messages: the socket, ``host`` or ``host:port``, or several of them."""
        return self.unix_socket or self._address()

    def _address(self) -> str:
        return ",".join(
            (f"[{host}]" if ":" in host else host) + ("" if port == MYSQL_PORT else f":{port}")
            for host, port in self.hosts
        )

    @property
    def in_memory(self) -> bool:
        """Whether this is SQLite's database without a file."""
        return self.dialect == "sqlite" and self.database == MEMORY

    def __str__(self) -> str:
        if self.dialect == "sqlite":
            return f"{self.scheme}:///{quote(self.database, safe='/:')}"
        user = quote(self.user, safe="") + (":***" if self.password is not None else "")
        values = ((key, getattr(self, key)) for key in (*_PATHS, "ssl_mode", "collation", *_TIMEOUTS))
        options = [f"{key}={quote(str(value), safe='/')}" for key, value in values if value]
        query = "?" + "&".join(options) if options else ""
        database = quote(self.database, safe="")
        return f"{self.scheme}://{user}{'@' if user else ''}{self._address()}/{database}{query}"


def parse_url(url: str | DatabaseURL) -> DatabaseURL:
    """Take a database URL apart.

    Args:
        url: the text; a ``DatabaseURL`` is handed back as it is.

    Raises:
        ValueError: a part is wrong; the text names the part and never the password.
    """
    if isinstance(url, DatabaseURL):
        return url
    if not isinstance(url, str):
        raise TypeError(f"a database URL is a str, not {type(url).__name__}")
    match = _SCHEME.match(url)
    if match is None:
        raise ValueError("database URL: no scheme; write sqlite:///file.db or mysql://user:password@host/database")
    scheme, rest = match[1].lower(), url[match.end() :]
    if scheme in SQLITE_SCHEMES:
        return _parse_sqlite(scheme, rest)
    if scheme in MYSQL_SCHEMES:
        return _parse_mysql(scheme, rest)
    known = ", ".join((*MYSQL_SCHEMES, *SQLITE_SCHEMES))
    raise ValueError(f"database URL: unknown scheme {scheme!r}; known are {known}")


def _parse_sqlite(scheme: str, rest: str) -> DatabaseURL:
    path, question, query = rest.partition("?")
    if query or question:
        raise ValueError(f"database URL: {scheme} takes no options, so {'?' + query!r} is not understood")
    if path in ("", "/"):
        return DatabaseURL(scheme, "sqlite", MEMORY)
    if not path.startswith("/"):
        raise ValueError(
            f"database URL: {scheme}://{path} has two slashes; write {scheme}:///{path} for a file in the working "
            f"directory, {scheme}:////{path} for an absolute path"
        )
    database = _unquote("path", path[1:])
    if "\0" in database:
        raise ValueError("database URL: the path has a NUL character in it")
    return DatabaseURL(scheme, "sqlite", database)


def _parse_mysql(scheme: str, rest: str) -> DatabaseURL:
    address, _, query = rest.partition("?")
    if "#" in address:
        raise ValueError("database URL: '#' has no meaning here; write # in a user or password as %23")
    authority, slash, database = address.partition("/")
    credentials, at, place = authority.rpartition("@")
    if "@" in credentials or "@" in database or (at and not slash and "/" in credentials):
        raise ValueError("database URL: more than one '@'; write @ in a password as %40, / as %2F, : as %3A")
    options = _mysql_options(query)
    hosts = [_host_and_port(one) for one in place.split(",")]
    if len(hosts) > 1 and (not all(place.split(",")) or "unix_socket" in options):
        raise ValueError("database URL: several hosts are written as first:3306,second:3306, without a unix_socket")
    user, colon, password = credentials.partition(":")
    if not database or "/" in database:
        raise ValueError(
            f"database URL: {'no database' if not database else 'a / in the database name'}; "
            f"write {scheme}://user:password@host/database (and / in a password as %2F)"
        )
    return DatabaseURL(
        scheme,
        "mysql",
        _unquote("database name", database),
        user=_unquote("user", user),
        password=_unquote("password", password) if colon else None,
        host=hosts[0][0],
        port=hosts[0][1],
        others=tuple(hosts[1:]),
        ssl_mode=options.get("ssl_mode", "verify_identity" if "ssl_ca" in options else ""),
        collation=options.get("collation"),
        connect_timeout=_seconds(options, "connect_timeout"),
        read_timeout=_seconds(options, "read_timeout"),
        write_timeout=_seconds(options, "write_timeout"),
        **{key: options.get(key) for key in _PATHS},
    )


def _host_and_port(place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, after = place[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError("database URL: an IPv6 host is written in brackets, as [::1]:3306")
        return host, _port(after[1:])
    if place.count(":") > 1:
        raise ValueError("database URL: more than one ':' in the host; an IPv6 host is written in brackets, as [::1]")
    host, _, port = place.partition(":")
    return _unquote("host", host) or "localhost", _port(port)


def _port(text: str) -> int:
    if not text:
        return MYSQL_PORT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 65535:
        # The text may be the tail of a password with a raw @ or : in it, so it is not repeated.
        raise ValueError(
            "database URL: the port must be a number from 1 to 65535; write @ in a password as %40, / as %2F, : as %3A"
        )
    return int(text)


def _mysql_options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _MYSQL_OPTIONS:
            raise ValueError(f"database URL: unknown option {key!r}; known are {', '.join(_MYSQL_OPTIONS)}")
        if key in options:
            raise ValueError(f"database URL: option {key!r} is given twice")
        if key == "charset" and value.lower() != "utf8mb4":
            raise ValueError(f"database URL: charset={value} is not possible; connections always use utf8mb4")
        if key == "ssl_mode":
            value = value.lower().replace("-", "_")
            if value not in SSL_MODES:
                raise ValueError(f"database URL: unknown ssl_mode {value!r}; known are {', '.join(SSL_MODES)}")
        if key == "collation" and not _COLLATION.fullmatch(value):
            raise ValueError(f"database URL: collation must be one of utf8mb4, such as utf8mb4_bin, not {value!r}")
        if key in _PATHS and not Path(value).is_absolute():
            raise ValueError(f"database URL: option {key!r} needs an absolute path, not {value!r}")
        options[key] = value
    if "ssl_key" in options and "ssl_cert" not in options:
        raise ValueError("database URL: option 'ssl_key' needs 'ssl_cert' beside it")
    return options


def _seconds(options: dict[str, str], key: str) -> float | None:
    if key not in options:
        return None
    try:
        seconds = float(options[key])
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise ValueError(
            f"database URL: option {key!r} must be a number of seconds over 0 and up to {LONGEST_TIMEOUT:.0f}, "
            f"not {options[key]!r}; no wait is endless"
        )
    return seconds


def _unquote(part: str, text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"database URL: a % in the {part} is not followed by two hex digits; write % itself as %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"database URL: the percent codes of the {part} are not UTF-8") from None
