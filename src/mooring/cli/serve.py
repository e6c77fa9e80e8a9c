"""``mooring serve``: the gateway, or servers of the user's own."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import click

from ..errors import MooringError
from ..gateway.codec import check_codec
from ..gateway.json_lines import JSON_LINES
from ..gateway.server import AUTHS, DEFAULT_DATABASE, make_heartbeat
from ..gateway.server import server as make_gateway
from ..heartbeat import Heartbeat
from ..running import raise_descriptor_limit
from ..server import MODELS, Server, run
from .exits import Failed, NotStarted
from .logs import LEVELS, set_up_logging
from .options import address, database_url, heartbeat_times, thread_counts
from .targets import load_object, load_target


@click.command
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--app-dir", metavar="DIR", help="Where to look for TARGET first; the working directory by default.")
@click.option("--factory", is_flag=True, help="TARGET is a function that returns the Server.")
@click.option(
    "--bind",
    "binds",
    type=address,
    metavar="ADDRESS",
    multiple=True,
    help="tcp://HOST:PORT or unix:PATH; may be given several times.  [default: tcp://127.0.0.1:7000]",
)
@click.option("--model", type=click.Choice(MODELS), help="How handlers run.  [default: hybrid]")
@click.option("--threads", type=thread_counts, metavar="MIN:MAX", help="Size of the thread pool.  [default: 2:64]")
@click.option("--database", type=database_url, metavar="URL", help=f"Where to store.  [default: {DEFAULT_DATABASE}]")
@click.option(
    "--heartbeat",
    type=heartbeat_times,
    metavar="INTERVAL[:TIMEOUT]",
    help="Seconds of silence until a ping, and until the end.  [default: 30:90]",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    metavar="N",
    help="More are closed at once.  [default: 0.8 of the limit of open files]",
)
@click.option(
    "--auth",
    type=click.Choice(AUTHS),
    help="Who may log in to the gateway: any name, or devices with a token.  "
    "[default: none while only this machine can reach it, else token]",
)
@click.option("--codec", metavar="MODULE:ATTRIBUTE", help="What the gateway's devices speak.  [default: JSON lines]")
@click.option("--files", type=click.Path(), metavar="DIR", help="Files that the gateway's devices may pull.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="The least to show.")
def serve(targets: tuple[str, ...], app_dir: str | None, factory: bool, log_level: str, **options: Any) -> None:
    """Run servers until TERM or Ctrl-C.

    TARGET is MODULE[:ATTRIBUTE], the attribute being `server` by default and a mooring.Server. Options that are given
    replace the Server's own. Without a TARGET the gateway is run: devices log in by JSON lines, and what they push is
    stored in the database.

    Exit codes: 0 clean, 1 failed while running, 2 usage, 3 could not start, 4 TARGET cannot be loaded.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    set_up_logging(log_level)
    if targets:
        _refuse_nonsense(targets, given)
        servers = [_configured(load_target(target, app_dir=app_dir, factory=factory), given) for target in targets]
    elif factory or (app_dir is not None and "codec" not in given):
        raise click.UsageError("--factory and --app-dir say where a TARGET comes from; name one")
    else:
        servers = [_gateway(given, app_dir)]
    _run(servers)


def _refuse_nonsense(targets: tuple[str, ...], given: dict[str, Any]) -> None:
    for name in ("auth", "codec", "files"):
        if name in given:
            raise click.UsageError(f"--{name} is the gateway's; leave it out with a TARGET")
    if len(targets) > 1 and "binds" in given:
        raise click.UsageError("--bind would put several TARGETs on one address; set `bind` in each of them")
    if len(set(targets)) < len(targets):
        raise click.UsageError("a TARGET is named twice")


def _gateway(given: dict[str, Any], app_dir: str | None) -> Server:
    options = dict(given)
    if "binds" in options:
        options["bind"] = options.pop("binds")
    try:
        if "codec" in options:
            options["codec"] = check_codec(load_object(options["codec"], "codec", app_dir=app_dir))
        if "heartbeat" in options:
            interval, timeout = options["heartbeat"]
            options["heartbeat"] = make_heartbeat(interval, timeout, options.get("codec", JSON_LINES))
        return make_gateway(**options)
    except (ValueError, TypeError) as exc:
        raise click.UsageError(str(exc)) from exc


def _configured(server: Server, given: dict[str, Any]) -> Server:
    options = dict(given)
    try:
        if "database" in options:
            server.database = options.pop("database")
        if "heartbeat" in options:
            options["heartbeat"] = _heartbeat(server, *options["heartbeat"])
        if "binds" in options:
            options["bind"] = options.pop("binds")
        server.reconfigure(**options)
    except (ValueError, RuntimeError) as exc:
        raise click.UsageError(str(exc)) from exc
    return server


def _heartbeat(server: Server, interval: float, timeout: float) -> Heartbeat:
    """The server's own heartbeat with other times: only it knows what to say to its devices."""
    own = server._heartbeat
    if own is None or own.message is None:
        raise ValueError(
            "--heartbeat: the server has no message to send every interval; give it a `heartbeat` with one"
        )
    return replace(own, interval=interval, timeout=timeout)


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
