"""The table of connections: searched, sorted and cut into pages here, so that never more than a page is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..net.connection.connection import Connection
from .pick import Between, First, pick
from .records import Row, Table
from .slices import CHUNK, Slices
from .watched import WatchedServer

MOST_ROWS: Final = 200
MOST_SEARCHED: Final = 100
"""Characters of a search."""

ERRORS: Final = "errors"
"""Known to the server's application alone."""

_NAMELESS: Final = "\U0010ffff"
_PLACELESS: Final = 1 << 160
"""After all names and all packed addresses. (Peers on Unix sockets have no address.)"""

Keys: TypeAlias = Callable[[Sequence[Connection]], list[Any]]

KEYS: Final[dict[str, Keys]] = {
    "id": lambda many: [one.id for one in many],
    "name": lambda many: [_NAMELESS if one._name is None else one._name for one in many],
    "peer": lambda many: [one._peer if isinstance(one._peer, int) else _PLACELESS for one in many],
    "connected": lambda many: [one._connected for one in many],
    "silence": lambda many: [-one._last_received for one in many],
    "messages": lambda many: [one._messages for one in many],
    "waiting": lambda many: [one._outbox_size for one in many],
    ERRORS: lambda many: [0 for one in many],
}
"""What the table can be sorted by: plain numbers and strings, see ``pick``."""

LESS_WITH_AGE: Final = "silence"
"""Whoever came first has mostly been silent for the longest. (What comes first is best looked at first.)"""

SEARCHED: Final = 50
"""Connections at a time while their texts are searched, which takes longer than a comparison."""

OF_ADDRESSES: Final = frozenset("0123456789abcdef.:[]")
"""What addresses of the network are made of."""


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
    total = matching = 0
    picked = pick(query.offset, query.limit, slices, descending=query.descending)
    owners: dict[int, WatchedServer] = {}
    for server in servers:
        total += len(server.server.connections)
        if query.server in (None, server.id):
            matching += await _select(server, query, picked, slices)
            owners[id(server.server)] = server
    rows = await picked.page()
    now = time.monotonic()
    shown = [row(owners[id(one.server)], one, now) for one in rows]
    return Table(max(total, matching), matching, query.offset, shown)


async def _select(
    server: WatchedServer, query: Query, picked: First[Connection] | Between[Connection], slices: Slices
) -> int:
    """Show the connections of a server that match to ``picked``; how many they are."""
    keys = _errors_of(server) if query.sort == ERRORS else KEYS[query.sort]
    matches = matcher(query.search)
    matching = 0
    size = CHUNK if matches is None else SEARCHED
    backwards = query.descending != (query.sort == LESS_WITH_AGE)
    for piece in server.server.connections.pieces(size, backwards=backwards):
        found = piece if matches is None else [one for one in piece if matches(one)]
        matching += len(found)
        await picked.show(keys(found), found)
        await slices.breathe()
    return matching


def _errors_of(server: WatchedServer) -> Keys:
    return lambda many: [server.errors_of(one) for one in many]


def matcher(search: str) -> Callable[[Connection], bool] | None:
    """What finds a connection by a part of its name, its peer's address or its number; None: all are wanted."""
    needle = search.casefold()
    if not needle:
        return None
    # To write out an address takes ten times as long as all the rest.
    never_in_addresses = not OF_ADDRESSES.issuperset(needle)

    def matches(connection: Connection) -> bool:
        if needle in (connection._name or "").casefold() or needle in str(connection.id):
            return True
        if never_in_addresses and isinstance(connection._peer, int):
            return False
        return needle in str(connection.peer).removeprefix("tcp://").casefold()

    return matches


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
