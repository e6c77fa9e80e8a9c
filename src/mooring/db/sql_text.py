"""Reading SQL text without understanding it: where quotes and comments are, and what lies between them.

>>> split_statements("INSERT INTO t VALUES (';'); -- done;\\nSELECT 1", "sqlite")
["INSERT INTO t VALUES (';')", 'SELECT 1']
>>> to_question_marks("SELECT '%s' FROM t WHERE a = %s AND b LIKE 'x%%'")
"SELECT '%s' FROM t WHERE a = ? AND b LIKE 'x%'"
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

# MySQL: backslash escapes in strings, `#` comments, and `--` only before a blank
# (https://dev.mysql.com/doc/refman/8.4/en/comments.html). SQLite: none of that, but [names] in brackets.
# Every repetition is possessive: an unclosed quote costs one pass, never a search.
_MYSQL_OPAQUE: Final = (
    r"'(?:[^'\\]|\\.|'')*+'|\"(?:[^\"\\]|\\.|\"\")*+\"|`[^`]*+`|--(?=[\s]|\Z)[^\n]*+|\#[^\n]*+|/\*(?:(?!\*/).)*+\*/"
)
_SQLITE_OPAQUE: Final = r"'[^']*+'|\"[^\"]*+\"|`[^`]*+`|\[[^\]]*+\]|--[^\n]*+|/\*(?:(?!\*/).)*+(?:\*/|\Z)"
_DELIMITER: Final = r"^[ \t]*DELIMITER[ \t]+(?P<delimiter>\S+)[^\n]*+"

_SCANNERS: Final = {
    "mysql": re.compile(f"(?P<opaque>{_MYSQL_OPAQUE})|{_DELIMITER}", re.DOTALL | re.MULTILINE | re.IGNORECASE),
    "sqlite": re.compile(f"(?P<opaque>{_SQLITE_OPAQUE})", re.DOTALL),
}
_COMMENT = {"mysql": ("--", "#", "/*"), "sqlite": ("--", "/*")}
_PLACEHOLDER = re.compile(rf"(?P<opaque>{_SQLITE_OPAQUE})|%(?P<mark>s|%|\((?P<name>[A-Za-z_]\w*)\)s)?", re.DOTALL)


class UnclosedQuote(ValueError):
    """A quote or comment in a SQL text is opened and never closed."""


@lru_cache(maxsize=1024)
def to_question_marks(sql: str) -> str:
    """Turn ``%s`` into ``?``, ``%(name)s`` into ``:name`` and ``%%`` into ``%``, for SQLite.

    Placeholders inside quotes and comments stay as they are. ``%%`` becomes ``%`` everywhere, because MySQL's
    driver does so too. The last 1,024 statements are remembered.

    Raises:
        sqlite3.ProgrammingError: a ``%`` that is neither.
    """
    return _PLACEHOLDER.sub(_replace, sql)


def _replace(match: re.Match[str]) -> str:
    if match["opaque"] is not None:
        return match["opaque"].replace("%%", "%")
    if match["name"]:
        return ":" + match["name"]
    if match["mark"] is None:
        raise sqlite3.ProgrammingError(
            f"a % at position {match.start()} of the statement: with parameters, write %s for a value and %% for a %"
        )
    return "?" if match["mark"] == "s" else "%"


def split_statements(text: str, dialect: str) -> list[str]:
    """Split a SQL file into its statements, without their semicolons.

    Semicolons inside quotes and comments do not count. SQLite's triggers are kept whole; a MySQL file sets another
    delimiter around its triggers and procedures with ``DELIMITER //``, as for the ``mysql`` command.
    Pieces that hold only comments are left out.

    Raises:
        UnclosedQuote: with the line in which the quote or comment begins.
    """
    return [piece for piece, has_code in _pieces(text, dialect) if has_code]


def _pieces(text: str, dialect: str) -> Iterator[tuple[str, bool]]:
    delimiter, start, has_code = ";", 0, False
    for kind, at, end in _tokens(text, dialect):
        if kind == "delimiter":
            yield text[start:at].strip(), has_code
            delimiter, start, has_code = text[at:end].split()[1], end, False
        elif kind == "code":
            position = at
            while (found := text.find(delimiter, position, end)) >= 0:
                position = found + len(delimiter)
                has_code = has_code or bool(text[at:found].strip())
                if dialect == "sqlite" and has_code and not sqlite3.complete_statement(text[start:position]):
                    continue
                yield text[start:found].strip(), has_code
                start, at, has_code = position, position, False
            has_code = has_code or bool(text[at:end].strip())
        else:
            has_code = has_code or not text.startswith(_COMMENT[dialect], at) or text.startswith("/*!", at)
    yield text[start:].strip(), has_code


def _tokens(text: str, dialect: str) -> Iterator[tuple[str, int, int]]:
    """Cut the text into code, opaque stretches (quotes, comments) and DELIMITER lines: kind, start, end."""
    position = 0
    for match in _SCANNERS[dialect].finditer(text):
        if match.start() > position:
            _refuse_unclosed(text, position, match.start())
            yield "code", position, match.start()
        yield "opaque" if match["opaque"] is not None else "delimiter", match.start(), match.end()
        position = match.end()
    if position < len(text):
        _refuse_unclosed(text, position, len(text))
        yield "code", position, len(text)


def _refuse_unclosed(text: str, start: int, end: int) -> None:
    found = re.search(r"['\"`]|/\*", text[start:end])
    if found is not None:
        line = text.count("\n", 0, start + found.start()) + 1
        raise UnclosedQuote(f"line {line}: {found[0]} is opened and never closed")
