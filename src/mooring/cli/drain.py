"""``mooring drain``: end a running server in order."""

from __future__ import annotations

import click

from .admin_client import admin_client_options, find_client


@click.command
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Then what is left is reset.")
@admin_client_options
def drain(timeout: float | None, url: str | None, token_file: str | None) -> None:
    """End a running server: what was read is served and answered, then the process ends."""
    client = find_client(url, token_file)
    click.echo(client.post("/drain", timeout=timeout)["detail"])
