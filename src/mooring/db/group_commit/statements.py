"""The SQL of a group commit: one way to write each statement, for each database.

There is no INSERT IGNORE in it, which would turn every fault of a row into a warning. A row that is there already is
left as it is by an update that changes nothing: the count of affected rows tells how many were new.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..driver import Row
from ..lease import Lease

OnDuplicate = typing.Literal["fail", "repeat", "update"]
Literal = Callable[[Any], str]

_NAME: Final = re.compile(r"[\w$]+")
_ESCAPED: Final = re.compile(r"['\\]")
_BYTES: Final = (bytes, bytearray, memoryview)
_HEAD: Final = 1024
"""Bytes that are kept free of rows in a statement; its real head and tail are added to it."""

UNKNOWN_PACKET: Final = 1 << 20
"""Bytes of a statement before the server has said what it takes: every version in use takes so many by default."""


class Dialect(StrEnum):
    """Databases that differ in how they write an upsert."""

    SQLITE = "sqlite"
    MARIADB = "mariadb"  # and MySQL before 8.0.19
    MYSQL = "mysql"


@dataclass(frozen=True)
class Server:
    """What the writers must know of the database.

    Args:
        dialect: which one it is.
        most_bytes: bytes of the largest statement that it takes.
    """

    dialect: Dialect
    most_bytes: int

    @classmethod
    def of(cls, lease: Lease, dialect: str) -> Server:
        """Ask a connection; SQLite need not be asked."""
        if dialect == "sqlite":
            return cls(Dialect.SQLITE, 1 << 62)
        version, most_bytes = lease.execute("SELECT @@version, @@max_allowed_packet").fetchone()
        kind = Dialect.MYSQL if _has_row_alias(str(version)) else Dialect.MARIADB
        return cls(kind, int(most_bytes))


def _has_row_alias(version: str) -> bool:
    """Whether it is a MySQL of 8.0.19 or later, which knows ``AS new`` and warns of ``VALUES()``."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return "mariadb" not in version.lower() and numbers >= (8, 0, 19)


@dataclass(frozen=True)
class Insert:
    """A statement that is ready to be run.

    Args:
        sql: its text.
        rows: parameters, one for each run of it; None: everything is in the text.
    """

    sql: str
    rows: Sequence[Row] | None

    def run(self, lease: Lease) -> int:
        """Store the rows; returns how many are new, where that can be told (mode ``repeat``)."""
        if self.rows is None:
            return lease.execute(self.sql).rowcount
        return lease.executemany(self.sql, self.rows).rowcount


class Statements:
    """Writes and runs the statements of one table.

    Args:
        table: its name, or ``database.name``.
        columns: those that are given.
        key: those of them that make a row unique.

    Attributes:
        head_size: bytes of a statement besides its rows, at most.

    Raises:
        ValueError: a name with other characters than letters, digits, ``_`` and ``$``.
    """

    def __init__(self, table: str, columns: Sequence[str], key: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.key = tuple(key)
        for name in (*table.split("."), *columns):
            if not _NAME.fullmatch(name):
                raise ValueError(f"group_commit: {name!r} is no plain name of a table or column")
        self._table = table
        self._places = f"({','.join(['%s'] * len(self.columns))})"
        modes: tuple[OnDuplicate, ...] = typing.get_args(OnDuplicate) if key else ("fail",)
        self._around = {
            (dialect, mode): (self._head(dialect), self._tail(dialect, mode)) for dialect in Dialect for mode in modes
        }
        self.head_size = _HEAD + 8 * sum(len(name.encode()) + 4 for name in (*self.columns, *self.key, self._table))

    def insert(self, server: Server, mode: OnDuplicate, rows: Sequence[Row], literal: Literal) -> Insert:
        """Write the statement that stores rows.

        Args:
            literal: writes a value as SQL; SQLite does without.

        Raises:
            Whatever a value causes that cannot be written: before anything is sent.
        """
        dialect = server.dialect
        head, tail = self._around[dialect, mode]
        if dialect is Dialect.SQLITE:
            return Insert(head + self._places + tail, rows)
        sql = head + _written(rows, literal) + tail
        sql.encode()
        return Insert(sql, None)

    def select(self, lease: Lease, server: Server, keys: Sequence[Row]) -> list[Row]:
        """The stored rows of some keys, with the columns that are given."""
        dialect = server.dialect
        marks = ",".join([f"({','.join(['%s'] * len(self.key))})"] * len(keys))
        if dialect is Dialect.SQLITE:
            marks = f"VALUES {marks}"
        # Names were checked by the constructor.
        head = f"SELECT {self._names(dialect, self.columns)} FROM {_quoted(dialect, self._table)}"  # noqa: S608
        sql = f"{head} WHERE ({self._names(dialect, self.key)}) IN ({marks})"
        return list(lease.execute(sql, [value for key in keys for value in key]).fetchall())

    def _head(self, dialect: Dialect) -> str:
        # Names were checked by the constructor.
        return f"INSERT INTO {_quoted(dialect, self._table)} ({self._names(dialect, self.columns)}) VALUES "  # noqa: S608

    def _tail(self, dialect: Dialect, mode: OnDuplicate) -> str:
        if mode == "fail":
            return ""
        others = [name for name in self.columns if name not in self.key]
        if dialect is Dialect.SQLITE:
            target = f" ON CONFLICT ({self._names(dialect, self.key)}) DO "
            if mode == "repeat" or not others:
                return target + "NOTHING"
            return f"{target}UPDATE SET " + ",".join(f'"{name}"=excluded."{name}"' for name in others)
        if mode == "repeat" or not others:
            return f" ON DUPLICATE KEY UPDATE `{self.key[0]}`=`{self.key[0]}`"
        if dialect is Dialect.MARIADB:
            return " ON DUPLICATE KEY UPDATE " + ",".join(f"`{name}`=VALUES(`{name}`)" for name in others)
        return " AS `new row` ON DUPLICATE KEY UPDATE " + ",".join(f"`{name}`=`new row`.`{name}`" for name in others)

    def _names(self, dialect: Dialect, names: Sequence[str]) -> str:
        return ",".join(_quoted(dialect, name) for name in names)


def _quoted(dialect: Dialect, name: str) -> str:
    mark = '"' if dialect is Dialect.SQLITE else "`"
    return ".".join(f"{mark}{part}{mark}" for part in name.split("."))


def _written(rows: Sequence[Row], literal: Literal) -> str:
    """All rows as SQL: ``(1,'a'),(2,'b')``."""
    plain = _written_plainly(rows)
    return plain if plain is not None else ",".join([f"({','.join(map(literal, row))})" for row in rows])


def _written_plainly(rows: Sequence[Row]) -> str | None:
    """The same for columns of nothing but int or nothing but str, several times as fast; None: it takes ``literal``.

    Texts are written as they are, which is right if there is no quote and no backslash in any: one look at the whole.
    """
    kinds = [set(map(type, column)) for column in zip(*rows, strict=True)]
    if not all(kind == {int} or kind == {str} for kind in kinds):
        return None
    places = ["%d" if kind == {int} else "'%s'" for kind in kinds]
    form = f"({','.join(places)})"
    text = ",".join([form % row for row in rows])
    is_plain = "\\" not in text and text.count("'") == 2 * places.count("'%s'") * len(rows)
    return text if is_plain else None


def most_size(row: Row) -> int:
    """Bytes that a row takes in a statement, at most: quoted, escaped, in UTF-8. Cheap enough to be asked always."""
    size = 3
    for value in row:
        kind = type(value)
        if kind is int:
            size += 40
        elif kind is str or issubclass(kind, str):
            size += 4 + (2 * len(value) if value.isascii() else 4 * len(value))
        elif issubclass(kind, _BYTES):
            size += 12 + 2 * len(value)
        else:
            size += 40
    return size


def least_size(row: Row) -> int:
    """Bytes that a row takes at least: counted, not estimated, where values may be long."""
    size = 2
    for value in row:
        if isinstance(value, str):
            size += 3 + len(value.encode("utf-8", "replace")) + len(_ESCAPED.findall(value))
        elif isinstance(value, _BYTES):
            size += 3 + len(value)
        else:
            size += 2
    return size
