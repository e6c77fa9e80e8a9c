"""The operations whose answers go on: the snapshots, and what one connection says and hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Annotated, Any, Final

from msgspec import Meta
from starlette.requests import Request

from .audit import Audit
from .auth import Role
from .operations import CONNECTION, DEVICE, Operation, Parameter
from .refusal import Refused
from .snapshots import Snapshots
from .trace import MOST_TRACES, Tap, TraceStream

WHOM: Final = (
    Parameter("connection", CONNECTION.kind, "a connection's number"),
    Parameter("device", DEVICE.kind, "a device's name"),
    Parameter("peer", Annotated[str, Meta(min_length=1, max_length=128)], "a peer's address, HOST or HOST:PORT"),
)
SECONDS: Final = Parameter("seconds", Annotated[float, Meta(gt=0, le=3600)], "how long", False, 60.0)


class Streams:
    """Gives viewers what they follow. Belongs to the admin side's thread.

    Args:
        snapshots: the shared ones.
        audit: where traces are written.
        workers: where listening begins and ends, which takes its time where many connections are meant.
        tap: listens to connections; None: there is no trace.
    """

    def __init__(self, snapshots: Snapshots, audit: Audit, workers: Executor, tap: Tap | None) -> None:
        self._snapshots = snapshots
        self._audit = audit
        self._workers = workers
        self._tap = tap
        self._traces = 0
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End them all."""
        self._closed.set()
        self._snapshots.close()

    def operations(self) -> list[Operation]:
        """What can be followed."""
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
                in_query=(*WHOM, SECONDS),
                problems=(404, 409, 503),
                stream=True,
                wants_request=True,
            ),
        ]

    async def _events(self) -> AsyncIterator[bytes]:
        viewer = self._snapshots.admit()
        if viewer is None:
            raise Refused(503, "too_many_viewers", "too many pages are open; close one", {"retry-after": "10"})
        return self._snapshots.stream(viewer)

    async def _trace(self, seconds: float, request: Request, **whom: Any) -> AsyncIterator[bytes]:
        meant = {name: value for name, value in whom.items() if value is not None}
        if self._tap is None:
            raise Refused(409, "no_trace", "this server has no trace")
        if len(meant) != 1:
            raise Refused(400, "bad_request", "query: give one of connection, device and peer")
        if self._traces >= MOST_TRACES:
            raise Refused(503, "too_many_traces", f"{MOST_TRACES} traces run already; end one")
        self._traces += 1
        stream = TraceStream(seconds)
        try:
            stop = await self._listen(self._tap, whom, stream)
        except BaseException:
            self._traces -= 1
            raise
        self._audit.note(request.state.who, "trace", {**meant, "seconds": seconds}, "begun")

        def end() -> None:
            self._traces -= 1
            over.cancel()
            self._leave(stop)

        # Even if the viewer takes so little that the stream does not come to its end by itself.
        over = asyncio.get_running_loop().call_later(seconds, self._leave, stop)
        return await begun(stream.events(end, self._closed))

    async def _listen(self, tap: Tap, whom: dict[str, Any], stream: TraceStream) -> Callable[[], None]:
        def listen() -> Callable[[], None]:
            return tap(**whom, put=stream.put)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, listen)
        except KeyError as exc:
            (meant,) = [value for value in whom.values() if value is not None]
            raise Refused(404, "unknown_connection", f"there is no {meant!r} to listen to") from exc
        except ValueError as exc:
            raise Refused(503, "too_many_traces", str(exc)) from exc

    def _leave(self, stop: Callable[[], None]) -> None:
        """Listen no more; twice is harmless."""
        try:
            self._workers.submit(stop)
        except RuntimeError:  # the admin side is ending
            stop()


async def begun(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same events, begun: what the iterator does at its end is then done even if nobody reads them."""
    first = await anext(events)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for event in events:
            yield event

    return whole()
