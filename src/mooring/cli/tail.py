"""``mooring tail``: what comes in, as it comes in."""

from __future__ import annotations

import time
from typing import Final

import click
import msgspec

from ..gateway.store import Store
from ..gateway.tables.pushes import PAGE, Arrival
from ..gateway.times import to_text
from .databases import opened_store, url_option
from .exits import Failed
from .logs import set_up_logging
from .printable import printable
from .tables import json_option, print_json

LOOK_INTERVAL: Final = 0.5
OVERLAP: Final = 5.0
"""Seconds that each look goes back: rows come into the table after the time that they carry, and not in its order."""


@click.command
@click.argument("device", required=False)
@click.option(
    "-n", "--lines", type=click.IntRange(0, 1000), default=10, show_default=True, help="The last so many first."
)
@click.option("--no-follow", is_flag=True, help="End after those.")
@url_option
@json_option
def tail(device: str | None, lines: int, no_follow: bool, url: str, as_json: bool) -> None:
    """Print what devices push, or one DEVICE, until Ctrl-C.

    A line has the time of receipt (UTC), the device, the seq, the data. A push that took more than 5 s to get into the
    table, as after an outage, is left out; the table has it.
    """
    set_up_logging("error")
    with opened_store(url) as store:
        if device is not None and store.devices.find(device) is None:
            raise Failed(f"there is no device {device!r}; mooring devices list shows all")
        follower = Follower(store, device)
        try:
            for arrival in follower.begin(lines):
                _print(arrival, as_json)
            while not no_follow:
                for arrival in follower.look():
                    _print(arrival, as_json)
                time.sleep(LOOK_INTERVAL)
        except KeyboardInterrupt:
            pass


class Follower:
    """Finds what has come into the table since the last look, each row once."""

    def __init__(self, store: Store, device: str | None) -> None:
        self._store = store
        self._device = device
        self._since = ""
        self._seen: dict[tuple[int, int], str] = {}

    def begin(self, lines: int) -> list[Arrival]:
        """The last rows there are; what is older is not looked at any more."""
        self._since = to_text(max(0.0, time.time() - OVERLAP))
        newest = self._store.pushes.newest(lines, self._device) if lines else []
        self._fresh(self._store.pushes.since(self._since, self._device))
        self._fresh(newest)
        return newest

    def look(self) -> list[Arrival]:
        """What is new."""
        found = []
        since = self._since
        while True:
            page = self._store.pushes.since(since, self._device)
            found += self._fresh(page)
            if len(page) < PAGE or page[-1].row.received_at == since:
                break
            since = page[-1].row.received_at
        self._since = max(self._since, to_text(max(0.0, time.time() - OVERLAP)))
        self._seen = {key: when for key, when in self._seen.items() if when >= self._since}
        return found

    def _fresh(self, arrivals: list[Arrival]) -> list[Arrival]:
        fresh = [arrival for arrival in arrivals if arrival.row[:2] not in self._seen]
        self._seen.update((arrival.row[:2], arrival.row.received_at) for arrival in fresh)
        return fresh


def _print(arrival: Arrival, as_json: bool) -> None:
    row = arrival.row
    if as_json:
        data = msgspec.Raw(row.data.encode())
        print_json({"device": arrival.name, "seq": row.seq, "at": row.at, "received_at": row.received_at, "data": data})
    else:
        click.echo(printable(f"{row.received_at}  {arrival.name}  {row.seq}  {row.data}"))
