"""The table of connections: searched, sorted and cut into pages here, so that never more than a page is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..net.connection import Connection
from .records import Row, Table
from .slices import Slices, chunks, sort

MOST_ROWS: Final = 200
MOST_SEARCHED: Final = 100
"""Characters of a search."""

KEYS: Final[dict[str, Callable[[Connection], Any]]] = {
    "id": lambda one: one.id,
    "name": lambda one: (one._name is None, one._name or ""),
    "peer": lambda one: (0, one._peer) if isinstance(one._peer, int) else (1, str(one._peer)),
    "connected": lambda one: one._connected,
    "silence": lambda one: -one._last_received,
    "messages": lambda one: one._messages,
    "waiting": lambda one: one._outbox_size,
}
"""What the table can be sorted by."""


@dataclass(frozen=True)
class Query:
    """What is asked for.

    Args:
        search: part of a name, a peer's address or a number; any case.
        sort: one of KEYS.
        descending: the largest first.
        offset, limit: which rows of the result.
        server: only this one's, by its id.
    """

    search: str = ""
    sort: str = "id"
    descending: bool = False
    offset: int = 0
    limit: int = 50
    server: str | None = None


async def page(servers: Iterable[tuple[str, Sequence[Connection]]], query: Query, slices: Slices) -> Table:
    """Make a page.

    Args:
        servers: id of a server and a snapshot of its connections.
        query: what is asked for.
        slices: the work's.
    """
    total = 0
    found: list[tuple[Any, int, str, Connection]] = []
    for server, connections in servers:
        total += len(connections)
        if query.server in (None, server):
            found.extend(await _select(server, connections, query, slices))
    matching = len(found)
    end = query.offset + query.limit
    if query.descending:
        # The last rows of the ascending order; a page near the start is one near its end.
        ordered = await sort(found, slices)
        rows = ordered[::-1][query.offset : end]
    else:
        rows = (await sort(found, slices, end))[query.offset : end]
    now = time.monotonic()
    return Table(total, matching, query.offset, [row(server, one, now) for _, _, server, one in rows])


async def _select(
    server: str, connections: Sequence[Connection], query: Query, slices: Slices
) -> list[tuple[Any, int, str, Connection]]:
    key, needle = KEYS[query.sort], query.search.casefold()
    found: list[tuple[Any, int, str, Connection]] = []
    for chunk in chunks(connections):
        if needle:
            chunk = [one for one in chunk if needle in searched_text(one)]
        found += [(key(one), one.id, server, one) for one in chunk]
        await slices.breathe()
    return found


def searched_text(connection: Connection) -> str:
    """What a search looks into: number, name and address."""
    return f"{connection.id} {connection._name or ''} {str(connection.peer).removeprefix('tcp://')}".casefold()


def row(server: str, connection: Connection, now: float) -> Row:
    """A connection as the table shows it.

    Args:
        now: monotonic seconds.
    """
    reason = connection.close_reason
    return Row(
        id=connection.id,
        server=server,
        name=connection.name,
        peer=str(connection.peer),
        connected_at=connection.connected_at,
        silence=max(0.0, now - connection._last_received),
        messages=connection.messages_received,
        waiting=connection.outbox_size,
        closing=reason.value if reason is not None else None,
    )
