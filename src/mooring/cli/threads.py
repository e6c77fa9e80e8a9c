"""``mooring threads``: resize, pause or resume the thread pool of a running server."""

from __future__ import annotations

import click

from .admin_client import admin_client_options, find_client
from .options import thread_counts

SERVER = click.option("--server", metavar="NAME", help="Which server, if the process has several.")


@click.group
def threads() -> None:
    """Resize, pause or resume the thread pool of a running server."""


@threads.command
@click.argument("sizes", metavar="MIN:MAX", type=thread_counts)
@SERVER
@admin_client_options
def resize(sizes: tuple[int, int], server: str | None, url: str | None, token_file: str | None) -> None:
    """Give the pool new bounds."""
    client = find_client(url, token_file)
    smallest, largest = sizes
    answer = client.post(f"{client.path_of(server)}/threads/resize", min_size=smallest, max_size=largest)
    click.echo(answer["detail"])


@threads.command
@SERVER
@admin_client_options
def pause(server: str | None, url: str | None, token_file: str | None) -> None:
    """Let no handler start until `mooring threads resume`."""
    client = find_client(url, token_file)
    click.echo(client.post(f"{client.path_of(server)}/threads/pause")["detail"])


@threads.command
@SERVER
@admin_client_options
def resume(server: str | None, url: str | None, token_file: str | None) -> None:
    """Let handlers start again."""
    client = find_client(url, token_file)
    click.echo(client.post(f"{client.path_of(server)}/threads/resume")["detail"])
