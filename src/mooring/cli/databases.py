"""Opening the gateway's database from a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from ..db import ConnectionPool, open_pool
from ..errors import MooringError
from ..gateway.server import DEFAULT_DATABASE, migrations_of
from ..gateway.store import Store
from .exits import NotStarted
from .options import database_url
from .settings import database_of_settings

url_option: Final = click.option(
    "--database",
    "url",
    type=database_url,
    metavar="URL",
    default=database_of_settings,
    show_default=f"that of the settings (env: MOORING_DATABASE__URL), or {DEFAULT_DATABASE}",
    help="Which database.",
)


@contextmanager
def opened(url: str) -> Iterator[ConnectionPool]:
    """A small pool; what the database refuses ends the command with one line."""
    with open_pool(url, min_size=1, max_size=2) as pool:
        try:
            yield pool
        except (MooringError, pool.Error) as exc:
            raise NotStarted(str(exc)) from exc


@contextmanager
def opened_store(url: str) -> Iterator[Store]:
    """The gateway's tables, made or brought up to date as `mooring serve` does it."""
    with opened(url) as pool:
        migrations_of(pool).migrate()
        yield Store(pool)
