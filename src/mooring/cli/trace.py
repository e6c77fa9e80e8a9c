"""``mooring trace``: what one device says and hears, as it happens, from a running server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import click

from ..net.tapping.trace_event import TraceEvent
from ..settings import Duration
from ..tracing import whom
from .admin_client import AdminClient, admin_client_options, find_client
from .exits import Failed
from .options import duration

PATIENCE: Final = 30.0
"""Seconds without a sign of life from the server, which gives one about every second."""

LONGEST_LINE: Final = 1 << 20


@click.command
@click.argument("target", metavar="DEVICE|PEER|NUMBER")
@click.option("--for", "seconds", type=duration, default="60s", show_default=True, metavar="TIME", help="How long.")
@click.option("--json", "as_json", is_flag=True, help="An event a line, as JSON.")
@admin_client_options
def trace(target: str, seconds: float, as_json: bool, url: str | None, token_file: str | None) -> None:
    """Follow a connection: each piece read and sent, in hexadecimal numbers and text, and of each message what it was
    decoded to, which route served it, in which thread, and how many milliseconds that took.

    The target is the name of a device, which is followed from one connection to the next, its login included; the
    address of a peer, HOST or HOST:PORT; or the number of a connection, as the log and `mooring connections list`
    show it. Ends after the time, or with Ctrl-C. The server goes on as if nobody looked.
    """
    client = find_client(url, token_file)
    click.echo(f"listening to {target} for {Duration(seconds)}; Ctrl-C ends it", err=True)
    count = 0
    try:
        for frame in frames(client, target, seconds):
            count += 1
            click.echo(json.dumps(frame) if as_json else _text(frame))
    except KeyboardInterrupt:
        pass
    click.echo(f"{count} events" if count else f"nothing was heard of {target}", err=True)


def frames(client: AdminClient, target: str, seconds: float) -> Iterator[dict[str, Any]]:
    """The events of a trace, from the admin side's stream.

    Raises:
        Failed: it was refused, nobody answers, or the stream broke off; the text says why.
    """
    parts = urlsplit(client.url)
    meant = {("device" if key == "name" else key): value for key, value in whom(target).items()}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        path = f"/api/v1/trace?{urlencode({**meant, 'seconds': f'{seconds:g}'})}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {client.token}"})
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise Failed(_refusal(answer, client.url))
            for event, data in _events(answer):
                if event == "end":
                    return
                if event == "frame":
                    yield json.loads(data)
        raise Failed(f"{client.url}: the stream broke off; has the server ended?")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise Failed(f"{client.url}: {exc}; does the server run?") from exc
    finally:
        connection.close()


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    """Server-sent events: (event, data). Comments are signs of life."""
    event = data = ""
    while line := answer.readline(LONGEST_LINE):
        text = line.decode().rstrip("\r\n")
        field, _, value = text.partition(":")
        if not text and (event or data):
            yield event, data
            event = data = ""
        elif field == "event":
            event = value.strip()
        elif field == "data":
            data = value.strip()


def _refusal(answer: http.client.HTTPResponse, url: str) -> str:
    try:
        return str(json.loads(answer.read(LONGEST_LINE))["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{url} refuses (status {answer.status})"


def _text(frame: dict[str, Any]) -> str:
    """As the server itself would write it."""
    known = {name: frame.get(name) for name in ("message", "route", "where", "milliseconds", "detail", "name")}
    event = TraceEvent(
        time=float(frame["time"]),
        direction=str(frame["direction"]),
        connection=int(frame["connection"]),
        peer=str(frame["peer"]),
        data=bytes.fromhex(frame.get("hex", "")),
        size=int(frame.get("size", 0)),
        **known,
    )
    left_out = frame.get("left_out")
    return (f"... {left_out} events were left out here\n" if left_out else "") + str(event)
