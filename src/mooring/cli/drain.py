"""``mooring drain``: end a running server in order."""

from __future__ import annotations

import time
from typing import Any, Final

import click

from .admin_client import AdminClient, Unreachable, admin_client_options, find_client
from .options import time_of_a_drain

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks at a server that drains."""


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
@click.option(
    "--wait", is_flag=True, help="Return when it has ended, and tell meanwhile how many connections are left."
)
@admin_client_options
def drain(
    timeout: float | None,
    spread: float | None,
    grace: float | None,
    wait: bool,
    url: str | None,
    token_file: str | None,
) -> None:
    """End a running server: what was read is served and answered, then the process ends."""
    client = find_client(url, token_file)
    draining = _look(client) if wait else None
    click.echo(client.post("/drain", timeout=timeout, spread=spread, grace=grace)["detail"])
    if draining is not None:
        _wait(client, *draining)


def _wait(client: AdminClient, process: Any, count: int) -> None:
    """Until the process does not answer any more, or another one answers in its place.

    Raises:
        Failed: the server runs, but does not answer in time.
    """
    told = -1
    while True:
        if count != told:
            click.echo(f"{count:,} connection{'' if count == 1 else 's'} left")
            told = count
        time.sleep(LOOK_INTERVAL)
        try:
            now, count = _look(client)
        except Unreachable as exc:
            if isinstance(exc.__cause__, TimeoutError):
                raise
            break
        if now != process:
            break
    click.echo("drained")


def _look(client: AdminClient) -> tuple[Any, int]:
    """Which process answers, and how many connections it has."""
    snapshot = client.get("/snapshot")
    process = snapshot["process"]
    return (process["pid"], process["started_at"]), sum(one["connections"]["open"] for one in snapshot["servers"])
