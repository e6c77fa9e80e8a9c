"""``mooring serve``: the gateway, or servers of the user's own."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from .. import __version__
from ..errors import MooringError
from ..running import Life, raise_descriptor_limit, run_until_signal
from ..server import Server, log_dump, print_banner
from ..settings import Loaded
from .admin import admin_options, admin_side
from .admin_parts import parts_of
from .applying import make_servers
from .exits import Failed, NotStarted
from .logs import log_payload, set_up_logging
from .reloading import Reloader, spread_of
from .settings import load_settings, read_settings, settings_options
from .standard_streams import fill_standard_streams
from .systemd import Notifier, bind_inherited, inherited_sockets

if TYPE_CHECKING:
    from ..admin.bodies import Drain as DrainRequest  # needs the extra

logger = logging.getLogger("mooring")


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
    fill_standard_streams()
    faulthandler.enable()  # the watchdog's SIGABRT, and a crash in C, leave the stacks in the log
    loaded = read_settings(options, targets)
    log = loaded.settings.log
    set_up_logging(log.level, log.format, log.repeats)
    servers = make_servers(loaded)
    inherited = inherited_sockets(os.environ)
    if inherited and loaded.settings.bind is UNSET:
        try:
            bind_inherited(servers, inherited)
        except ValueError as exc:
            raise NotStarted(str(exc)) from exc
    if log.payload:
        log_payload(servers)
    _run(servers, loaded, lambda: load_settings(options, targets))


def _run(servers: list[Server], loaded: Loaded, read: Callable[[], Loaded]) -> None:
    raise_descriptor_limit()  # before initialize(), which takes the limit of connections from it
    _initialize(servers)
    notifier = Notifier(os.environ)
    life = Life(
        drain_timeout=float(loaded.settings.drain_timeout),
        drain_spread=spread_of(loaded),
        drain_grace=float(loaded.settings.drain_grace or 0.0),
    )
    reloader = Reloader(loaded, read, servers, life)

    def reload() -> None:
        notifier.reloading()
        reloader.reload()
        notifier.ready(servers)

    life.actions = {signal.SIGHUP: reload, signal.SIGUSR2: lambda: log_dump(servers)}
    life.tick = lambda: notifier.tick(servers)
    draining = threading.Lock()  # held from the beginning of the drain on: a second TERM would end it at once

    def stopping() -> None:
        draining.acquire(blocking=False)
        notifier.stopping(life.drain_time)

    def drain(how: DrainRequest) -> None:
        """What the admin side does for `mooring drain`: the same as TERM, with times of its own."""
        if not draining.acquire(blocking=False):
            return
        if how.timeout is not None:
            life.drain_timeout = how.timeout
        if how.spread is not None:
            life.drain_spread = how.spread
        if how.grace is not None:
            life.drain_grace = how.grace
        os.kill(os.getpid(), signal.SIGTERM)

    life.stopping = stopping

    def started() -> None:
        _announce(servers, loaded, facts)
        notifier.ready(servers)

    try:
        parts = {"drain": drain, "settings": loaded.sources, **parts_of(servers)}
        with admin_side(servers, admin_options(loaded), **parts) as facts:
            run_until_signal(servers, started, life=life)
    except MooringError as exc:
        raise Failed(str(exc)) from exc
    finally:
        for server in servers:
            server.stop(0)  # if the admin side kept them from being run
    if loaded.settings.log.format == "json":
        logger.info("stopped")


def _announce(servers: list[Server], loaded: Loaded, facts: list[tuple[str, str]]) -> None:
    """The banner for people, one line of the log for machines, which is kept and so has no token in it."""
    file = str(loaded.file) if loaded.file is not None else ""
    if loaded.settings.log.format != "json":
        introductions = [server.introduction() for server in servers]
        print_banner(introductions, [*facts, *([("settings", file)] if file else [])])
        return
    addresses = [str(address) for server in servers for address in server.addresses]
    names = [server.description for server in servers]
    extra: dict[str, Any] = {word: value.partition("#")[0] for word, value in facts}
    extra |= {"listening": addresses, "servers": names, "version": __version__, "settings": file}
    logger.info("started", extra={key: value for key, value in extra.items() if value})


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
