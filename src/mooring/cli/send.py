"""``mooring send``: a command to a device, through the database, from any machine that reaches it."""

from __future__ import annotations

import sys
import time
from typing import Final

import click
import msgspec

from ..gateway.checks import find_fault
from ..gateway.messages import END_OF_TIME
from ..gateway.store import Store
from ..gateway.tables.commands import CommandRow
from .databases import opened_store, url_option
from .exits import Failed
from .logs import set_up_logging
from .options import duration
from .printable import printable
from .tables import json_option, print_json

LARGEST_COMMAND: Final = 60_000
"""Bytes: it goes in one line of at most 65,536, with an id and a time beside it."""
LOOK_INTERVAL: Final = 0.1


@click.command
@click.argument("device")
@click.argument("data", metavar="JSON")
@click.option(
    "--expires", type=duration, metavar="TIME", help="Not after this time, such as 90s or 1h.  [default: never]"
)
@click.option("--wait", type=duration, metavar="TIME", help="Wait for the answer, at most so long.")
@url_option
@json_option
def send(device: str, data: str, expires: float | None, wait: float | None, url: str, as_json: bool) -> None:
    """Command a device to do something.

    JSON is what the device gets, `-` reads it from stdin. A server that the device is connected to sends it within a
    second; else the device gets it when it logs in. With --wait the answer is printed.

    Exit codes: 0 sent (with --wait: done), 1 no such device, an error, or no answer in time, 3 no database.
    """
    set_up_logging("error")
    text = sys.stdin.read() if data == "-" else data
    text = text.strip()
    fault = find_fault(text.encode("utf-8", "surrogateescape"))
    if fault is None and len(text.encode()) > LARGEST_COMMAND:
        fault = f"a command has at most {LARGEST_COMMAND} bytes"
    if fault is not None:
        raise click.BadParameter(fault, param_hint="JSON")
    if "\n" in text or "\r" in text:  # laid out for people; it goes in one line
        text = msgspec.json.format(text.encode(), indent=-1).decode()
    with opened_store(url) as store:
        number = _enter(store, device, text, expires)
        row = _await(store, number, wait) if wait is not None else None
    _report(device, number, row, as_json)
    if wait is not None and (row is None or row.done_at is None):
        raise Failed(f"{device} has not answered command {number} within {wait:g} s")
    if row is not None and row.error is not None:
        raise Failed(printable(f"{device}: {row.error}"))


def _enter(store: Store, device: str, text: str, expires: float | None) -> int:
    number = store.devices.find(device)
    if number is None:
        raise Failed(f"there is no device {device!r}; mooring devices list shows all")
    now = time.time()
    return store.commands.add(number, text, now, min(now + expires, END_OF_TIME) if expires is not None else None)


def _await(store: Store, number: int, wait: float) -> CommandRow | None:
    deadline = time.monotonic() + wait
    while True:
        row = store.commands.find(number)
        left = deadline - time.monotonic()
        if row is None or row.done_at is not None or left <= 0:
            return row
        time.sleep(min(LOOK_INTERVAL, left))


def _report(device: str, number: int, row: CommandRow | None, as_json: bool) -> None:
    if as_json:
        answer = {"id": number, "device": device}
        if row is not None:
            result = msgspec.Raw(row.result.encode()) if row.result is not None else None
            answer |= {"sent_at": row.sent_at, "done_at": row.done_at, "result": result, "error": row.error}
        print_json(answer)
    elif row is None:
        click.echo(f"command {number}")
    elif row.result is not None:
        click.echo(printable(row.result))
