"""Numbered SQL files: finding them, reading them, refusing what is ambiguous.

V0001__devices.sql              for every database
V0002__pushes.mysql.sql         for MySQL, and
V0002__pushes.sqlite.sql        the same step for SQLite
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Final

from ..errors import MooringError
from .sql_text import UnclosedQuote, split_statements

_NAME: Final = re.compile(r"V(\d{1,18})__([A-Za-z0-9][A-Za-z0-9_-]*)(?:\.(mysql|sqlite))?\.sql")


class MigrationError(MooringError):
    """The migrations and the database do not fit together, or one of them failed; the text says what to do."""


@dataclass(frozen=True)
class Migration:
    """One numbered step.

    Args:
        version: the number.
        name: what stands between ``__`` and the first dot.
        path: the file.
        sha256: of its text, with all line ends made ``\\n``.
        statements: its SQL, taken apart.
    """

    version: int
    name: str
    path: Path
    sha256: str
    statements: tuple[str, ...] = field(repr=False)

    @property
    def label(self) -> str:
        """For messages: the name of the file."""
        return self.path.name


def read_migrations(folder: str | PathLike[str], dialect: str) -> list[Migration]:
    """Read all migrations for one kind of database, in the order of their numbers.

    Args:
        folder: with files as drawn above; files that do not end in ``.sql`` are ignored.
        dialect: ``"mysql"`` or ``"sqlite"``. A file of this dialect goes before one for every database.

    Raises:
        MigrationError: no such folder, a name that is none, one number twice, an unclosed quote, an empty file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MigrationError(f"the folder of migrations {folder} does not exist")
    chosen: dict[int, tuple[bool, Path, str]] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path}: not the name of a migration; write V0001__what_it_does.sql")
        version, name, only = int(match[1]), match[2], match[3]
        if only not in (None, dialect):
            continue
        other = chosen.get(version)
        if other is not None and other[0] == (only is not None):
            raise MigrationError(f"{path.name} and {other[1].name} have the same number; give one of them another")
        if other is None or only is not None:
            chosen[version] = (only is not None, path, name)
    return [_read(version, name, path, dialect) for version, (_, path, name) in sorted(chosen.items())]


def _read(version: int, name: str, path: Path, dialect: str) -> Migration:
    try:
        text = path.read_text(encoding="utf-8-sig")  # opened in text mode: all line ends become \n
        statements = tuple(split_statements(text, dialect))
    except UnicodeDecodeError as exc:
        raise MigrationError(f"{path}: not UTF-8: {exc}") from exc
    except UnclosedQuote as exc:
        raise MigrationError(f"{path}: {exc}") from exc
    if not statements:
        raise MigrationError(f"{path}: there is no statement in it")
    return Migration(version, name, path, hashlib.sha256(text.encode()).hexdigest(), statements)
