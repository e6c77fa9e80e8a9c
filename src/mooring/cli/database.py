"""``mooring database``: the gateway's tables."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from ..db import MigrationStatus
from ..gateway.server import migrations_of
from ..gateway.tables.retention import Retention
from .admin_client import admin_client_options, find_client
from .databases import opened, opened_store, url_option
from .logs import set_up_logging
from .options import connection_counts, duration
from .tables import json_option, print_json
from .threads import SERVER


@click.group
def database() -> None:
    """Make or inspect the gateway's tables; resize or evict the pool of a running server."""
    set_up_logging("error")


@database.command
@url_option
@json_option
def migrate(url: str, as_json: bool) -> None:
    """Make the tables, or bring them up to date; `mooring serve` does the same when it starts."""
    with opened(url) as pool:
        applied = migrations_of(pool).migrate()
        for status in applied:
            if as_json:
                print_json(asdict(status))
            else:
                click.echo(f"applied {_line(status)}")
        if not applied and not as_json:
            click.echo(f"{pool.url}: nothing to do, the tables are up to date")


@database.command
@url_option
@json_option
def status(url: str, as_json: bool) -> None:
    """Say of each migration whether it is applied; changes nothing."""
    with opened(url) as pool:
        for line in migrations_of(pool).status():
            if as_json:
                print_json(asdict(line))
                continue
            click.echo(f"{line.state:<8} {_line(line)}")


@database.command
@click.option("--older", type=duration, metavar="TIME", required=True, help="What is older than this, such as 30d.")
@url_option
@json_option
def prune(older: float, url: str, as_json: bool) -> None:
    """Delete old pushes, and commands and uploads that were finished long ago.

    Pushes go by the device's time. It is done in small portions, beside running servers. The last push of each device
    stays, so that the gateway still knows its `last_seq`.
    """
    with opened_store(url) as store:
        pruned = Retention(store.database).prune(max(0.0, time.time() - older))
    if as_json:
        print_json(asdict(pruned))
    else:
        click.echo(f"deleted {pruned.pushes} pushes, {pruned.commands} commands, {pruned.uploads} uploads")


@database.command
@click.argument("sizes", metavar="MIN:MAX", type=connection_counts)
@SERVER
@admin_client_options
def resize(sizes: tuple[int, int], server: str | None, url: str | None, token_file: str | None) -> None:
    """Give the pool of a running server new bounds."""
    client = find_client(url, token_file)
    smallest, largest = sizes
    answer = client.post(f"{client.path_of(server)}/database/resize", min_size=smallest, max_size=largest)
    click.echo(answer["detail"])


@database.command
@SERVER
@admin_client_options
def evict(server: str | None, url: str | None, token_file: str | None) -> None:
    """Replace all connections of a running server to its database."""
    client = find_client(url, token_file)
    click.echo(client.post(f"{client.path_of(server)}/database/evict")["detail"])


def _line(status: MigrationStatus) -> str:
    when = f", {status.applied_at:%Y-%m-%d %H:%M:%S} UTC" if status.applied_at is not None else ""
    error = f", {status.error}" if status.error else ""
    return f"{status.version} {status.name}{when}{error}"
