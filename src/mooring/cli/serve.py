"""``mooring serve``: the gateway, or servers of the user's own."""

from __future__ import annotations

import traceback
from typing import Any

import click

from ..errors import MooringError
from ..running import raise_descriptor_limit
from ..server import Server, run
from .applying import make_servers
from .exits import Failed, NotStarted
from .logs import set_up_logging
from .settings import read_settings, settings_options


@click.command
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@settings_options
def serve(targets: tuple[str, ...], **options: Any) -> None:
    """Run servers until TERM or Ctrl-C.

    TARGET is MODULE[:ATTRIBUTE], the attribute being `server` by default and a mooring.Server. What is set by option,
    environment or file replaces the Server's own. Without a TARGET the gateway is run: devices log in by JSON lines,
    and what they push is stored in the database.

    Exit codes: 0 clean, 1 failed while running, 2 usage, 3 could not start, 4 TARGET cannot be loaded, 78 settings are
    wrong.
    """
    loaded = read_settings(options, targets)
    set_up_logging(loaded.settings.log.level)
    _run(make_servers(loaded))


def _run(servers: list[Server]) -> None:
    raise_descriptor_limit()  # before initialize(), which takes the limit of connections from it
    _initialize(servers)
    try:
        run(*servers)
    except MooringError as exc:
        raise Failed(str(exc)) from exc


def _initialize(servers: list[Server]) -> None:
    """Open everything; what fails here could not start."""
    try:
        for server in servers:
            server.initialize()
    except BaseException as exc:
        for server in servers:
            server.stop(0)
        if isinstance(exc, MooringError | OSError | ValueError):
            raise NotStarted(str(exc)) from exc
        if isinstance(exc, Exception):  # the user's own lifespan
            click.echo("".join(traceback.format_exception(exc)).rstrip(), err=True)
            raise NotStarted(f"{exc!r}") from exc
        raise
