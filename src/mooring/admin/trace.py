"""The stream of a trace: what a tap of the server hands over from its threads, as events for one viewer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import msgspec

from .snapshots import encode_event

MOST_TRACES: Final = 8
QUEUED: Final = 1000
"""Frames that may wait for a viewer; more are counted and left out."""

KEEPALIVE: Final = 15.0


class Tap(Protocol):
    """Listens to a connection or device of the servers; the commands hand one over."""

    def __call__(
        self,
        *,
        connection: int | None,
        device: str | None,
        peer: str | None,
        put: Callable[[dict[str, Any]], None],
    ) -> Callable[[], None]:
        """Begin to listen.

        Args:
            connection, device, peer: exactly one is not None: whom to listen to.
            put: called in whatever thread with each frame: time, direction, hex, text, route and so on.

        Returns:
            A function that ends it.

        Raises:
            KeyError: there is no such connection.
        """


class TraceStream:
    """One trace. Belongs to the admin side's thread, but for ``put``.

    Args:
        seconds: how long it lasts.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUED)
        self._ends = self._loop.time() + seconds
        self._left_out = 0

    def put(self, frame: dict[str, Any]) -> None:
        """A frame, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._take, frame)
        except RuntimeError:
            pass  # the admin side has ended meanwhile

    def _take(self, frame: dict[str, Any]) -> None:
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self._left_out += 1

    async def events(self, stop: Callable[[], None], closed: asyncio.Event) -> AsyncIterator[bytes]:
        """The frames as they come, until the time is over, the viewer leaves, or ``closed``.

        Args:
            stop: ends the listening; called once, at the end.
        """
        try:
            yield encode_event("begin", {"seconds": round(self._ends - self._loop.time(), 3)})
            while not closed.is_set() and (left := self._ends - self._loop.time()) > 0:
                try:
                    frame = await asyncio.wait_for(self._queue.get(), min(left, 1.0))
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if self._left_out:
                    frame = {**frame, "left_out": self._left_out}
                    self._left_out = 0
                yield b"event: frame\ndata: " + msgspec.json.encode(frame) + b"\n\n"
            yield encode_event("end", {})
        finally:
            stop()
