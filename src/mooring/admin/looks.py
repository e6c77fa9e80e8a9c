"""The operations that look and change nothing: numbers, connections, threads, failures, the audit log."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from . import records
from .audit import Audit
from .auth import Role
from .controls import Controls
from .details import details
from .operations import CONNECTION, SERVER, Operation, Parameter
from .slices import Slices
from .snapshots import Snapshots
from .table import KEYS, MOST_ROWS, MOST_SEARCHED, Query, page
from .watched import WatchedServer

TABLE: Final = (
    Parameter("search", Annotated[str, Meta(max_length=MOST_SEARCHED)], "part of name, address, number", False, ""),
    Parameter("sort", Literal[tuple(KEYS)], "by what", False, "id"),
    Parameter("order", Literal["asc", "desc"], "which way", False, "asc"),
    Parameter("offset", Annotated[int, Meta(ge=0, le=10_000_000)], "rows before", False, 0),
    Parameter("limit", Annotated[int, Meta(ge=1, le=MOST_ROWS)], "rows", False, 50),
    Parameter("server", SERVER.kind, "only this server's"),
)


class Looks:
    """Answers what is asked of the servers. Belongs to the admin side's thread.

    Args:
        servers: all that are watched.
        snapshots: the shared ones.
        controls: finds servers and connections.
        audit: what was done.
    """

    def __init__(
        self, servers: Sequence[WatchedServer], snapshots: Snapshots, controls: Controls, audit: Audit
    ) -> None:
        self._servers = {one.id: one for one in servers}
        self._snapshots = snapshots
        self._controls = controls
        self._audit = audit

    def operations(self) -> list[Operation]:
        """What can be looked at."""
        return [
            Operation("snapshot", "GET", "/snapshot", "All numbers, now.", records.Snapshot, self._snapshot),
            Operation("history", "GET", "/history", "The last minutes.", records.History, self._history),
            *self._of_connections(),
            Operation(
                "threads",
                "GET",
                "/servers/{server}/threads",
                "What each thread of the pool runs.",
                list[records.ThreadRow],
                self._threads,
                in_path=(SERVER,),
                problems=(404,),
            ),
            Operation(
                "failures", "GET", "/failures", "Exceptions of handlers.", list[records.FailureGroup], self._failures
            ),
            Operation("audit", "GET", "/audit", "What was done.", list[records.AuditEntry], self._entries),
            Operation(
                "diagnostics",
                "GET",
                "/diagnostics",
                "Numbers, errors and the stacks of all threads, to be sent to somebody who can help.",
                dict[str, Any],
                self._diagnostics,
                Role.OPERATOR,
            ),
        ]

    def _of_connections(self) -> list[Operation]:
        return [
            Operation(
                "connections",
                "GET",
                "/connections",
                "A page of the connections.",
                records.Table,
                self._connections,
                in_query=TABLE,
                problems=(404,),
            ),
            Operation(
                "connection",
                "GET",
                "/connections/{id}",
                "One connection.",
                records.Details,
                self._connection,
                in_path=(CONNECTION,),
                problems=(404,),
            ),
        ]

    async def _snapshot(self) -> records.Snapshot:
        return await self._snapshots.make()

    async def _history(self) -> records.History:
        return self._snapshots.history()

    async def _connections(
        self, search: str, sort: str, order: str, offset: int, limit: int, server: str | None
    ) -> records.Table:
        if server is not None:
            self._controls.server(server)
        query = Query(search.strip(), sort, order == "desc", offset, limit, server)
        return await page(self._servers.values(), query, Slices())

    async def _connection(self, id: int) -> records.Details:
        server, connection = self._controls.connection(id)
        return details(self._servers[server], connection)

    async def _threads(self, server: str) -> list[records.ThreadRow]:
        pool = self._controls.server(server).threads
        return [records.ThreadRow(one.name, one.task, one.seconds, one.stuck) for one in pool.dump()]

    async def _failures(self) -> list[records.FailureGroup]:
        return [failure for one in self._servers.values() for failure in one.failures()]

    async def _entries(self) -> list[records.AuditEntry]:
        return self._audit.entries()

    async def _diagnostics(self) -> dict[str, Any]:
        return {
            "snapshot": await self._snapshots.make(fresh=True),
            "failures": await self._failures(),
            "threads": stacks(),
        }


def stacks() -> list[dict[str, Any]]:
    """All threads and where they are."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        {"name": names.get(ident, str(ident)), "stack": traceback.format_stack(frame)}
        for ident, frame in sys._current_frames().items()
    ]
