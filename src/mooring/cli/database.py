"""``mooring database``: the gateway's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..db import ConnectionPool, MigrationStatus, open_pool
from ..errors import MooringError
from ..gateway.server import DEFAULT_DATABASE, migrations_of
from .admin_client import admin_client_options, find_client
from .exits import NotStarted
from .logs import set_up_logging
from .options import connection_counts, database_url
from .settings import database_of_settings
from .threads import SERVER

url_option = click.option(
    "--database",
    "url",
    type=database_url,
    metavar="URL",
    default=database_of_settings,
    show_default=f"that of the settings (env: MOORING_DATABASE__URL), or {DEFAULT_DATABASE}",
    help="Which database.",
)


@click.group
def database() -> None:
    """Make or inspect the gateway's tables; resize or evict the pool of a running server."""
    set_up_logging("error")


@database.command
@url_option
def migrate(url: str) -> None:
    """Make the tables, or bring them up to date; `mooring serve` does the same when it starts."""
    with _opened(url) as pool:
        applied = migrations_of(pool).migrate()
        for status in applied:
            click.echo(f"applied {_line(status)}")
        if not applied:
            click.echo(f"{pool.url}: nothing to do, the tables are up to date")


@database.command
@url_option
def status(url: str) -> None:
    """Say of each migration whether it is applied; changes nothing."""
    with _opened(url) as pool:
        for line in migrations_of(pool).status():
            click.echo(f"{line.state:<8} {_line(line)}")


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


@contextmanager
def _opened(url: str) -> Iterator[ConnectionPool]:
    with open_pool(url, min_size=1) as pool:
        try:
            yield pool
        except (MooringError, pool.Error) as exc:
            raise NotStarted(str(exc)) from exc


def _line(status: MigrationStatus) -> str:
    when = f", {status.applied_at:%Y-%m-%d %H:%M:%S} UTC" if status.applied_at is not None else ""
    error = f", {status.error}" if status.error else ""
    return f"{status.version} {status.name}{when}{error}"
