"""The table of connections: searched, sorted and cut into pages here, so that never more than a page is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..net.connection import Connection
from .records import Row, Table
from .slices import Slices, chunks, sort
from .watched import WatchedServer

MOST_ROWS: Final = 200
MOST_SEARCHED: Final = 100
"""Characters of a search."""

Found: TypeAlias = tuple[Any, int, WatchedServer, Connection]
"""What it is sorted by, its number, its server, itself."""

ERRORS: Final = "errors"
"""Known to the server's application alone."""

KEYS: Final[dict[str, Callable[[Connection], Any]]] = {
    "id": lambda one: one.id,
    "name": lambda one: (one._name is None, one._name or ""),
    "peer": lambda one: (0, one._peer) if isinstance(one._peer, int) else (1, str(one._peer)),
    "connected": lambda one: one._connected,
    "silence": lambda one: -one._last_received,
    "messages": lambda one: one._messages,
    "waiting": lambda one: one._outbox_size,
    ERRORS: lambda one: 0,
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


async def page(servers: Iterable[WatchedServer], query: Query, slices: Slices) -> Table:
    """Make a page.

    Args:
        servers: whose connections it may show.
        query: what is asked for.
        slices: the work's.
    """
    total = 0
    found: list[Found] = []
    for server in servers:
        connections = list(server.server.connections)
        total += len(connections)
        if query.server in (None, server.id):
            found.extend(await _select(server, connections, query, slices))
    end = query.offset + query.limit
    if query.descending:
        # The last rows of the ascending order; a page near the start is one near its end.
        ordered = await sort(found, slices)
        rows = ordered[::-1][query.offset : end]
    else:
        rows = (await sort(found, slices, end))[query.offset : end]
    now = time.monotonic()
    shown = [row(server, one, now) for _, _, server, one in rows]
    return Table(total, len(found), query.offset, shown)


async def _select(server: WatchedServer, connections: list[Connection], query: Query, slices: Slices) -> list[Found]:
    key = server.errors_of if query.sort == ERRORS else KEYS[query.sort]
    needle = query.search.casefold()
    found: list[Found] = []
    for chunk in chunks(connections):
        if needle:
            chunk = [one for one in chunk if needle in searched_text(one)]
        found += [(key(one), one.id, server, one) for one in chunk]
        await slices.breathe()
    return found


def searched_text(connection: Connection) -> str:
    """What a search looks into: number, name and address."""
    return f"{connection.id} {connection._name or ''} {str(connection.peer).removeprefix('tcp://')}".casefold()


def row(server: WatchedServer, connection: Connection, now: float) -> Row:
    """A connection as the table shows it.

    Args:
        now: monotonic seconds.
    """
    reason = connection.close_reason
    return Row(
        id=connection.id,
        server=server.id,
        name=connection.name,
        peer=str(connection.peer),
        connected_at=connection.connected_at,
        silence=max(0.0, now - connection._last_received),
        messages=connection.messages_received,
        waiting=connection.outbox_size,
        errors=server.errors_of(connection),
        closing=reason.value if reason is not None else None,
    )
