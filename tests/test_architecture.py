"""The house, from the real imports of the source: a row imports only rows below it.

Imports for type checkers count like all others: whoever names a type of a higher row knows of that row, even if
nothing is loaded. What a lower row needs of a higher one it gets as a callable or describes as a Protocol.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import mooring

SOURCE = Path(mooring.__file__).parent

ROWS: dict[int, list[set[str]]] = {
    9: [{"cli", "__main__"}],
    8: [{"gateway"}, {"admin"}, {"bench"}, {"testing"}],
    7: [{"server", "client", "running", "tracing"}],
    6: [{"models"}],
    5: [{"handler", "heartbeat"}],
    4: [{"net"}],
    3: [{"framing"}, {"db"}, {"settings"}],
    2: [{"threads"}],
    1: [{"errors"}],
}
"""Row number -> its places; the names in one place may import each other, two places of one row may not."""

PURE = {"socket", "threading", "time", "os", "select", "selectors", "pathlib", "io", "asyncio", "subprocess"}
"""What framing must do without: sockets, threads, clocks and files."""


class Import(NamedTuple):
    """One import of ours in one file: where it stands and which part of the package it names."""

    file: str
    line: int
    source: str
    target: str

    def __str__(self) -> str:
        source, target = (f"{part} (row {row(part)})" for part in (self.source, self.target))
        return f"{self.file}:{self.line}: {source} imports {target}"


def parts() -> set[str]:
    return {part for places in ROWS.values() for place in places for part in place}


def row(part: str) -> int:
    return next(number for number, places in ROWS.items() if any(part in place for place in places))


def place(part: str) -> set[str]:
    return next(place for places in ROWS.values() for place in places if part in place)


def files(under: str = "") -> list[Path]:
    return sorted((SOURCE / under).rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to: its top folder, or its own name."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, by its absolute name, with the line; also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            # `from package import name` may name a module: both are given, the caller looks at the front part.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = ("mooring", *path.relative_to(SOURCE).parts[:-1])
    base = package[: len(package) - node.level + 1]
    return ".".join((*base, node.module)) if node.module else ".".join(base)


@functools.cache
def imports() -> list[Import]:
    """All imports between the parts of the package; ``__init__`` of the whole hands out names and is not a part."""
    found = []
    for path in files():
        source = part_of(path)
        if source == "__init__":
            continue
        for line, name in imported_names(path):
            front, _, rest = name.partition(".")
            if front == "mooring":
                found.append(Import(str(path.relative_to(SOURCE)), line, source, rest.partition(".")[0]))
    return found


def test_every_file_has_a_row() -> None:
    assert {part_of(path) for path in files()} <= parts() | {"__init__"}


def test_there_are_imports_to_check() -> None:
    pairs = {(found.source, found.target) for found in imports()}
    assert {("server", "net"), ("net", "framing"), ("db", "errors"), ("models", "threads")} <= pairs


def test_a_row_imports_only_rows_below_it() -> None:
    wrong = [
        found
        for found in imports()
        if found.target in parts()
        and found.target not in place(found.source)
        and row(found.target) >= row(found.source)
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_nobody_but_users_imports_the_front_door() -> None:
    """``from mooring import Server`` inside the package would tie every row to all others."""
    assert not [found[:] for found in imports() if found.target not in parts() | {"__version__"}]


@pytest.mark.parametrize("one", ["gateway", "admin", "bench"])
def test_the_parts_above_the_server_do_not_import_each_other(one: str) -> None:
    others = {"gateway", "admin", "bench"} - {one}
    assert not [found for found in imports() if found.source == one and found.target in others]


def test_framing_is_pure() -> None:
    modules = [(path.name, line, name) for path in files("framing") for line, name in imported_names(path)]
    assert modules
    assert not [found for found in modules if found[2].partition(".")[0] in PURE]


def test_the_database_knows_nothing_of_the_server() -> None:
    assert {found.target for found in imports() if found.source == "db"} <= {"db", "threads", "errors"}


def test_the_threads_can_be_used_alone() -> None:
    assert {found.target for found in imports() if found.source == "threads"} <= {"threads", "errors"}
