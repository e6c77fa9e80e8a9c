"""``mooring listeners``: suspend or resume accepting, by one listener of a running server or by all."""

from __future__ import annotations

from typing import Any

import click

from .admin_client import AdminClient, admin_client_options, find_client

SERVER = click.option("--server", metavar="NAME", help="Which server, if the process has several.")
ADDRESS = click.argument("address", metavar="[ADDRESS]", required=False)


@click.group
def listeners() -> None:
    """Suspend or resume accepting, by one listener of a running server or by all."""


@listeners.command("list")
@SERVER
@admin_client_options
def list_listeners(server: str | None, url: str | None, token_file: str | None) -> None:
    """List where a server listens, and whether it accepts there."""
    client = find_client(url, token_file)
    found: list[dict[str, Any]] = client.server(server)["server"]["listeners"]
    width = max((len(one["address"]) for one in found), default=0)
    for one in found:
        state = "accepting" if one["accepting"] else "suspended"
        click.echo(f"{one['address']:<{width}}  {state}  {one['accepted']} accepted")


@listeners.command
@ADDRESS
@SERVER
@admin_client_options
def suspend(address: str | None, server: str | None, url: str | None, token_file: str | None) -> None:
    """Accept nobody at ADDRESS, or anywhere, until `mooring listeners resume`; clients wait in the kernel."""
    _set(find_client(url, token_file), server, address, accepting=False)


@listeners.command
@ADDRESS
@SERVER
@admin_client_options
def resume(address: str | None, server: str | None, url: str | None, token_file: str | None) -> None:
    """Accept again at ADDRESS, or everywhere."""
    _set(find_client(url, token_file), server, address, accepting=True)


def _set(client: AdminClient, server: str | None, address: str | None, *, accepting: bool) -> None:
    answer = client.post(f"{client.path_of(server)}/accepting", accepting=accepting, address=address)
    click.echo(answer["detail"])
