"""``mooring devices``: who may log in with a token."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from ..gateway.names import check_name
from ..gateway.tables.devices import DeviceExists
from ..gateway.tokens import hash_of, make_token
from .databases import opened_store, url_option
from .exits import Failed
from .logs import set_up_logging
from .tables import json_option, print_json, print_table


@click.group
def devices() -> None:
    """Let devices in by tokens, list them, let them in no longer."""
    set_up_logging("error")


@devices.command
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@url_option
@json_option
def add(names: tuple[str, ...], url: str, as_json: bool) -> None:
    """Give each device a token and print it.

    It is printed this once: only its hash is kept. A device that has a token already is refused; remove it first.
    """
    for name in names:
        fault = check_name(name)
        if fault is not None:
            raise click.BadParameter(fault, param_hint="NAME")
    with opened_store(url) as store:
        for name in names:
            token = make_token()
            try:
                store.devices.add(name, hash_of(token), time.time())
            except DeviceExists as exc:
                raise Failed(f"{exc}; take it away first: mooring devices remove {name}") from exc
            if as_json:
                print_json({"device": name, "token": token})
            else:
                click.echo(token if len(names) == 1 else f"{name}  {token}")


@devices.command(name="list")
@url_option
@json_option
def list_devices(url: str, as_json: bool) -> None:
    """List all devices, with when they were here; times are UTC."""
    with opened_store(url) as store:
        if as_json:
            for row in store.devices.rows():
                print_json(asdict(row))
        else:
            titles = ("NAME", "TOKEN", "CREATED", "CONNECTED", "LAST SEEN")
            print_table(titles, (tuple(asdict(row).values()) for row in store.devices.rows()))


@devices.command
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@url_option
def remove(names: tuple[str, ...], url: str) -> None:
    """Take the devices' tokens away: they are sent away within 10 s and can log in no more.

    What they have pushed stays. Under --auth none a name needs no token, so there this keeps nobody out.
    """
    with opened_store(url) as store:
        missing = [name for name in names if not store.devices.take_token(name)]
    if missing:
        raise Failed(f"no device with a token: {', '.join(missing)}")
