"""``mooring connections``: list or close the connections of a running server."""

from __future__ import annotations

import json
from typing import Any

import click

from .admin_client import admin_client_options, find_client

COLUMNS = ("id", "server", "name", "peer", "silence", "messages", "waiting")


@click.group
def connections() -> None:
    """List or close the connections of a running server."""


@connections.command("list")
@click.option("--search", metavar="TEXT", help="Part of a name, an address or a number.")
@click.option(
    "--sort",
    type=click.Choice(["id", "name", "peer", "connected", "silence", "messages", "waiting"]),
    default="id",
    show_default=True,
)
@click.option("--reverse", is_flag=True, help="The largest first.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many rows.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, a row a line.")
@admin_client_options
def list_connections(
    search: str | None, sort: str, reverse: bool, limit: int, as_json: bool, url: str | None, token_file: str | None
) -> None:
    """List connections."""
    client = find_client(url, token_file)
    rows: list[dict[str, Any]] = []
    while len(rows) < limit:
        size = min(200, limit - len(rows))
        order = "desc" if reverse else "asc"
        page = client.get("/connections", search=search, sort=sort, order=order, offset=len(rows), limit=size)
        rows += page["rows"]
        if len(page["rows"]) < size:
            break
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    for line in table([[_shown(row, column) for column in COLUMNS] for row in rows]):
        click.echo(line)
    click.echo(f"{len(rows)} of {page['matching']} connections", err=True)


@connections.command("close")
@click.argument("id", type=click.IntRange(min=0))
@click.option("--abort", is_flag=True, help="Reset it at once, without the replies that are due.")
@admin_client_options
def close_connection(id: int, abort: bool, url: str | None, token_file: str | None) -> None:
    """Close the connection with this number."""
    client = find_client(url, token_file)
    click.echo(client.post(f"/connections/{id}/close", abort=abort)["detail"])


def _shown(row: dict[str, Any], column: str) -> str:
    value = row[column]
    if value is None:
        return "-"
    if column == "silence":
        return f"{value:.0f} s"
    # What a device calls itself must not reach the terminal as control characters.
    return "".join(char if char.isprintable() else "?" for char in str(value))


def table(rows: list[list[str]]) -> list[str]:
    """Rows in columns, under the names of these."""
    lines = [list(COLUMNS), *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
