"""``mooring check``: everything that would keep the server from starting, all of it at once, without starting it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..db import ConnectionPool
from ..db.url import DatabaseURL
from ..errors import BindError, MooringError
from ..net.address import Address
from ..net.tls.context import make_context
from ..server import Server
from ..settings import Loaded
from .applying import make_server, refuse_nonsense
from .exits import BAD_SETTINGS, BadSettings, NoTarget
from .settings import load_settings, settings_options


@click.command
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--probe", is_flag=True, help="Connect to the database, too.")
@settings_options
def check(targets: tuple[str, ...], probe: bool, **options: Any) -> None:
    """Say what is wrong, all of it, before the server starts; nothing is bound, made or changed.

    Reads the settings, imports the TARGETs, opens the files that are named, resolves the addresses, and with --probe
    connects to the database. Exit code 78 if anything is wrong.
    """
    loaded = load_settings(options, targets)
    problems = [str(problem) for problem in loaded.problems]
    servers = _servers(loaded, problems)
    for server in servers:
        problems += [f"{server.description}: {problem}" for problem in _faults(server, probe)]
    for problem in problems:
        click.echo(f"mooring: {problem}", err=True)
    if problems:
        count = len(problems)
        click.echo(f"{count} problem{'s' if count > 1 else ''}", err=True)
        raise SystemExit(BAD_SETTINGS)
    for server in servers:
        click.echo(f"{server.description}: {_summary(server)}")
    click.echo(
        f"settings: {loaded.file or 'no file'}, no problem found" + ("" if probe else "; --probe tries the database")
    )


def _servers(loaded: Loaded, problems: list[str]) -> list[Server]:
    """Each target by itself, so that what is wrong with one does not hide the others."""
    servers: list[Server] = []
    makers: list[Callable[[Loaded], Server | None]] = [refuse_nonsense]
    makers += [partial(make_server, target=target) for target in loaded.settings.targets or (None,)]
    for make in makers:
        try:
            made = make(loaded)
        except BadSettings as exc:
            problems += [str(problem) for problem in exc.problems]
        except NoTarget as exc:
            problems.append(str(exc))
        else:
            servers += [made] if made is not None else []
    return servers


def _faults(server: Server, probe: bool) -> Iterator[str]:
    for address in server.configuration.bind:
        yield from _unresolved(address)
    if server.configuration.tls is not None:
        try:
            make_context(server.configuration.tls)
        except BindError as exc:
            yield str(exc)
    pool = server.database
    if pool is None:
        return
    missing = list(_missing_files(pool.url))
    yield from missing
    if probe and not missing:
        yield from _no_database(pool)


def _unresolved(address: Address) -> Iterator[str]:
    if address.is_unix:
        folder = Path(address.path).parent
        if not folder.is_dir():
            yield f"{address}: the folder {folder} does not exist"
        elif not os.access(folder, os.W_OK):
            yield f"{address}: the folder {folder} cannot be written to"
        return
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        yield f"{address}: {exc.strerror}; is the host name right?"
        return
    if not any(_is_ours(family, sockaddr) for family, _, _, _, sockaddr in found):
        yield f"{address}: no interface of this machine has that address; 0.0.0.0 and [::] stand for all"


def _is_ours(family: int, sockaddr: Any) -> bool:
    """Whether this machine has the address: a socket is bound to it on a port that the kernel chooses, and closed."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((sockaddr[0], 0, *sockaddr[2:]))
    except OSError:
        return False
    return True


def _missing_files(url: DatabaseURL) -> Iterator[str]:
    for name in ("password_file", "ssl_ca", "ssl_cert", "ssl_key"):
        path = getattr(url, name)
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as exc:
                yield f"{url}: {name} {path} cannot be read: {exc.strerror}"
    if url.dialect == "sqlite" and not url.in_memory:
        folder = Path(url.database).absolute().parent
        if not folder.is_dir():
            yield f"{url}: the folder {folder} does not exist; create it first"
        elif not os.access(folder, os.W_OK):
            yield f"{url}: the folder {folder} cannot be written to"


def _no_database(pool: ConnectionPool) -> Iterator[str]:
    """Try it; SQLite's file is not made if it is not there yet."""
    url = pool.url
    if url.dialect == "sqlite" and not url.in_memory and not Path(url.database).exists():
        return
    try:
        connection = pool.create_new_connection(timeout=0.0)  # one attempt, which has time-outs of its own
        connection.close()
    except (MooringError, pool.Error) as exc:
        yield f"{url}: {exc}"


def _summary(server: Server) -> str:
    binds = ", ".join(map(str, server.configuration.bind))
    storing = f", storing into {server.database.url}" if server.database is not None else ""
    return f"model {server.model}, listening on {binds}{storing}"
