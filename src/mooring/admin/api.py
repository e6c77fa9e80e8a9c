"""The operations of ``/api/v1``: what the page shows and does, and what the commands call."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from . import records
from .audit import Audit
from .auth import SESSION_TIME, TRIES, TRIES_TIME, Allowance, Auth, Role
from .controls import Controls
from .details import details
from .events import LogLevel
from .guard import Refused, address_of
from .operations import JSON, Operation, Parameter
from .slices import Slices
from .snapshots import Snapshots
from .table import KEYS, MOST_ROWS, MOST_SEARCHED, Query, page
from .trace import MOST_TRACES, Tap, TraceStream
from .watched import WatchedServer

SERVER: Final = Parameter("server", Annotated[str, Meta(min_length=1, max_length=64)], "the server's id", True)
CONNECTION: Final = Parameter("id", Annotated[int, Meta(ge=0, le=2**53)], "the connection's number", True)
DEVICE: Final = Parameter("device", Annotated[str, Meta(min_length=1, max_length=64)], "the device's name", True)

CONTROLS: Final = 2
"""Controls that may run at once; each may wait for a lock or close a connection to a database."""


class Api:
    """Answers the operations. Belongs to the admin side's thread.

    Args:
        servers: all that are watched.
        snapshots: the shared ones.
        controls: what can be done.
        audit: where it is written.
        auth: knows tokens.
        cookie: the cookie's name.
        log_level: changes it.
        tap: listens to connections; None: there is no trace.
    """

    def __init__(
        self,
        servers: Sequence[WatchedServer],
        snapshots: Snapshots,
        controls: Controls,
        audit: Audit,
        auth: Auth,
        *,
        cookie: str,
        log_level: LogLevel,
        tap: Tap | None,
    ) -> None:
        self._servers = servers
        self._snapshots = snapshots
        self._controls = controls
        self._audit = audit
        self._auth = auth
        self._cookie = cookie
        self._log_level = log_level
        self._tap = tap
        self._tries = Allowance(TRIES, TRIES_TIME)
        self._workers = ThreadPoolExecutor(CONTROLS, thread_name_prefix="mooring-admin-control")
        self._traces = 0
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End the streams; controls that still run are left to end by themselves."""
        self._closed.set()
        self._snapshots.close()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def operations(self) -> list[Operation]:
        """All of them."""
        return [*self._sessions(), *self._looks(), *self._streams(), *self._pool_controls(), *self._other_controls()]

    # Declarations ---------------------------------------------------------------------------------------------------

    def _sessions(self) -> list[Operation]:
        return [
            Operation(
                "log_in",
                "POST",
                "/session",
                "Exchange the token for a cookie.",
                records.Session,
                self._log_in,
                Role.NOBODY,
                body=records.Token,
                problems=(401,),
            ),
            Operation("session", "GET", "/session", "What may be done.", records.Session, self._session),
        ]

    def _looks(self) -> list[Operation]:
        query = (
            Parameter(
                "search", Annotated[str, Meta(max_length=MOST_SEARCHED)], "part of name, address, number", False, ""
            ),
            Parameter("sort", Literal[tuple(KEYS)], "by what", False, "id"),
            Parameter("order", Literal["asc", "desc"], "which way", False, "asc"),
            Parameter("offset", Annotated[int, Meta(ge=0, le=10_000_000)], "rows before", False, 0),
            Parameter("limit", Annotated[int, Meta(ge=1, le=MOST_ROWS)], "rows", False, 50),
            Parameter("server", SERVER.kind, "only this server's"),
        )
        failures = list[records.FailureGroup]
        return [
            Operation("snapshot", "GET", "/snapshot", "All numbers, now.", records.Snapshot, self._snapshot),
            Operation("history", "GET", "/history", "The last minutes.", records.History, self._history),
            Operation(
                "connections",
                "GET",
                "/connections",
                "A page of the connections.",
                records.Table,
                self._connections,
                in_query=query,
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
            Operation("failures", "GET", "/failures", "Exceptions of handlers.", failures, self._failures),
            Operation("audit", "GET", "/audit", "What was done.", list[records.AuditEntry], self._audit_entries),
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

    def _streams(self) -> list[Operation]:
        seconds = Parameter("seconds", Annotated[float, Meta(gt=0, le=3600)], "how long", False, 60.0)
        whom = (
            Parameter("connection", CONNECTION.kind, "a connection's number"),
            Parameter("device", DEVICE.kind, "a device's name"),
            Parameter(
                "peer", Annotated[str, Meta(min_length=1, max_length=128)], "a peer's address, HOST or HOST:PORT"
            ),
        )
        return [
            Operation(
                "events",
                "GET",
                "/events",
                "A snapshot each second (server-sent events).",
                None,
                self._events,
                problems=(503,),
                stream=True,
            ),
            Operation(
                "trace",
                "GET",
                "/trace",
                "Each message of one connection or device as it comes and goes (server-sent events).",
                None,
                self._trace,
                Role.OPERATOR,
                in_query=(*whom, seconds),
                problems=(404, 409, 503),
                stream=True,
            ),
        ]

    def _pool_controls(self) -> list[Operation]:
        controls = self._controls

        def control(
            name: str, path: str, summary: str, call: Callable[..., Any], body: type[msgspec.Struct] = records.Nothing
        ) -> Operation:
            return Operation(
                name,
                "POST",
                f"/servers/{{server}}{path}",
                summary,
                records.Done,
                self._doing(call),
                Role.OPERATOR,
                body=body,
                in_path=(SERVER,),
                problems=(404, 409),
            )

        return [
            control(
                "resize_threads",
                "/threads/resize",
                "New bounds for the thread pool.",
                lambda server, body: controls.resize_threads(server, body.min_size, body.max_size),
                records.Sizes,
            ),
            control(
                "pause_threads",
                "/threads/pause",
                "Let no handler start.",
                lambda server, body: controls.pause_threads(server),
            ),
            control(
                "resume_threads",
                "/threads/resume",
                "Let handlers start again.",
                lambda server, body: controls.resume_threads(server),
            ),
            control(
                "resize_database",
                "/database/resize",
                "New bounds for the database's pool.",
                lambda server, body: controls.resize_database(server, body.min_size, body.max_size),
                records.Sizes,
            ),
            control(
                "evict_database",
                "/database/evict",
                "Replace all connections to the database.",
                lambda server, body: controls.evict_database(server),
            ),
            control(
                "accepting",
                "/accepting",
                "Suspend or resume accepting.",
                lambda server, body: controls.set_accepting(server, body.accepting),
                records.Accepting,
            ),
        ]

    def _other_controls(self) -> list[Operation]:
        controls = self._controls

        def control(
            name: str,
            path: str,
            summary: str,
            call: Callable[..., Any],
            body: type[msgspec.Struct],
            in_path: tuple[Parameter, ...] = (),
            problems: tuple[int, ...] = (),
        ) -> Operation:
            doing = self._doing(call)
            return Operation(
                name, "POST", path, summary, records.Done, doing, Role.OPERATOR, body, in_path, (), problems
            )

        return [
            control(
                "close_connection",
                "/connections/{id}/close",
                "Close or reset a connection.",
                lambda id, body: controls.close_connection(id, abort=body.abort),
                records.Close,
                (CONNECTION,),
                (404,),
            ),
            control(
                "send_message",
                "/connections/{id}/send",
                "Send a message to a connection.",
                lambda id, body: controls.send_message(id, message_of(body)),
                records.Send,
                (CONNECTION,),
                (404, 409),
            ),
            control(
                "send_command",
                "/servers/{server}/devices/{device}/commands",
                "Store a command for a device; it is delivered as soon as the device is here.",
                lambda server, device, body: controls.send_command(server, device, body.data, body.expires),
                records.Command,
                (SERVER, DEVICE),
                (404, 409, 503),
            ),
            control(
                "drain",
                "/drain",
                "Serve what was read, then end the process.",
                lambda body: controls.drain(body.timeout),
                records.Drain,
            ),
            Operation(
                "log_level",
                "POST",
                "/log-level",
                "Log more, or less, for a while.",
                records.Done,
                self._set_log_level,
                Role.OPERATOR,
                body=records.LogLevel,
            ),
        ]

    # Answers --------------------------------------------------------------------------------------------------------

    async def _log_in(self, body: records.Token, request: Request) -> Response:
        address = address_of(request.scope)
        wait = self._tries.wait_of(address)
        if wait:
            detail = f"more than {TRIES} wrong tokens in {TRIES_TIME:g} s; try again in {wait:.0f} s"
            raise Refused(429, "too_many_tries", detail, {"retry-after": str(int(wait) + 1)})
        role = self._auth.role_of_token(body.token)
        if role is Role.NOBODY:
            self._tries.take(address)
            self._audit.note(address, "log_in", {}, "refused: wrong token")
            raise Refused(401, "wrong_token", "this token is wrong; the right one is in the server's banner")
        self._audit.note(f"{role.name.lower()} at {address}", "log_in", {}, "done")
        answer = Response(msgspec.json.encode(records.Session(role.name.lower())), media_type=JSON)
        answer.set_cookie(
            self._cookie, self._auth.make_cookie(role), max_age=SESSION_TIME, path="/", httponly=True, samesite="strict"
        )
        return answer

    async def _session(self, request: Request) -> records.Session:
        return records.Session(request.state.role.name.lower())

    async def _snapshot(self) -> records.Snapshot:
        return await self._snapshots.make()

    async def _history(self) -> records.History:
        return self._snapshots.history()

    async def _connections(
        self, search: str, sort: str, order: str, offset: int, limit: int, server: str | None
    ) -> records.Table:
        if server is not None:
            self._controls.server(server)
        tables = [(one.id, list(one.server.connections)) for one in self._servers]
        query = Query(search.strip(), sort, order == "desc", offset, limit, server)
        return await page(tables, query, Slices())

    async def _connection(self, id: int) -> records.Details:
        server, connection = self._controls.connection(id)
        return details(server, connection)

    async def _threads(self, server: str) -> list[records.ThreadRow]:
        pool = self._controls.server(server).threads
        return [records.ThreadRow(one.name, one.task, one.seconds, one.stuck) for one in pool.dump()]

    async def _failures(self) -> list[records.FailureGroup]:
        return [failure for one in self._servers for failure in one.failures()]

    async def _audit_entries(self) -> list[records.AuditEntry]:
        return self._audit.entries()

    async def _diagnostics(self) -> dict[str, Any]:
        return {
            "snapshot": await self._snapshots.make(fresh=True),
            "failures": await self._failures(),
            "threads": stacks(),
        }

    async def _events(self) -> AsyncIterator[bytes]:
        viewer = self._snapshots.admit()
        if viewer is None:
            raise Refused(503, "too_many_viewers", "too many pages are open; close one", {"retry-after": "10"})
        return self._snapshots.stream(viewer)

    async def _trace(
        self, connection: int | None, device: str | None, peer: str | None, seconds: float, request: Request
    ) -> AsyncIterator[bytes]:
        if self._tap is None:
            raise Refused(409, "no_trace", "this server has no trace")
        if sum(one is not None for one in (connection, device, peer)) != 1:
            raise Refused(400, "bad_request", "query: give one of connection, device and peer")
        if self._traces >= MOST_TRACES:
            raise Refused(503, "too_many_traces", f"{MOST_TRACES} traces run already; end one")
        stream = TraceStream(seconds)
        try:
            stop = self._tap(connection=connection, device=device, peer=peer, put=stream.put)
        except KeyError as exc:
            whom = device or peer or connection
            raise Refused(404, "unknown_connection", f"there is no {whom!r} to listen to") from exc
        except ValueError as exc:
            raise Refused(503, "too_many_traces", str(exc)) from exc
        self._traces += 1
        told = {"connection": connection, "device": device, "peer": peer, "seconds": seconds}
        self._audit.note(request.state.who, "trace", {k: v for k, v in told.items() if v is not None}, "begun")

        def end() -> None:
            self._traces -= 1
            stop()

        return await begun(stream.events(end, self._closed))

    async def _set_log_level(self, body: records.LogLevel) -> records.Done:
        self._log_level.set(body.level, body.seconds)
        return records.Done(True, f"{body.level} for {body.seconds:g} s")

    def _doing(self, call: Callable[..., str]) -> Callable[..., Any]:
        """A control as an operation: off this thread, which must not wait."""

        async def do(**values: Any) -> records.Done:
            loop = asyncio.get_running_loop()
            return records.Done(True, await loop.run_in_executor(self._workers, lambda: call(**values)))

        return do


async def begun(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same events, begun: what the iterator does at its end is then done even if nobody reads them."""
    first = await anext(events)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for event in events:
            yield event

    return whole()


def message_of(body: records.Send) -> bytes:
    """The bytes to send.

    Raises:
        Refused: not exactly one of text and hex.
    """
    if (body.text is None) == (body.hex is None):
        raise Refused(422, "bad_body", "body: give either text or hex")
    try:
        return body.text.encode() if body.text is not None else bytes.fromhex(body.hex or "")
    except ValueError as exc:
        raise Refused(422, "bad_body", f"body: {exc}") from exc


def stacks() -> list[dict[str, Any]]:
    """All threads and where they are."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        {"name": names.get(ident, str(ident)), "stack": traceback.format_stack(frame)}
        for ident, frame in sys._current_frames().items()
    ]
