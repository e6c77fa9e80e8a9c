"""Tables for people, and JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from .printable import printable

json_option: Final = click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs.")


def print_json(value: Mapping[str, Any]) -> None:
    """One object on a line of its own."""
    click.echo(printable(msgspec.json.encode(value).decode()))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as what is in them; None is an empty cell."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))
