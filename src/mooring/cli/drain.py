"""``mooring drain``: end a running server in order."""

from __future__ import annotations

import click

from .admin_client import admin_client_options, find_client
from .options import time_of_a_drain


@click.command
@click.option(
    "--timeout",
    type=time_of_a_drain,
    metavar="TIME",
    help="So long after the last connection's turn what is left is reset.  [default: the setting drain_timeout]",
)
@click.option(
    "--spread",
    type=time_of_a_drain,
    metavar="TIME",
    help="Close the connections over this time, a few at a time.  [default: the setting drain_spread]",
)
@click.option(
    "--grace",
    type=time_of_a_drain,
    metavar="TIME",
    help="Let /readyz fail for so long before that.  [default: the setting drain_grace]",
)
@admin_client_options
def drain(
    timeout: float | None, spread: float | None, grace: float | None, url: str | None, token_file: str | None
) -> None:
    """End a running server: what was read is served and answered, then the process ends."""
    client = find_client(url, token_file)
    click.echo(client.post("/drain", timeout=timeout, spread=spread, grace=grace)["detail"])
