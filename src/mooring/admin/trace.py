"""The stream of a trace: what a tap of the server hands over from its threads, as events for one viewer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import msgspec

from .slices import chunks
from .snapshots import encode_event

MOST_TRACES: Final = 8
QUEUED: Final = 1000
"""Frames that may wait for a viewer; more are counted and left out."""

FRAMES_AT_ONCE: Final = 50
"""Frames that are encoded without a pause, some 0.3 ms."""


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
    """One trace. Belongs to the admin side's thread, but for ``put``; ``_lock`` guards what they share.

    However long the viewer or the admin side's thread takes, no more than QUEUED frames wait, and one call to wake it.

    Args:
        seconds: how long it lasts.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + seconds
        self._news = asyncio.Event()
        self._lock = threading.Lock()
        self._frames: list[dict[str, Any]] = []
        self._left_out = 0
        self._is_told = False

    def put(self, frame: dict[str, Any]) -> None:
        """A frame, from any thread."""
        with self._lock:
            if len(self._frames) >= QUEUED:
                self._left_out += 1
                return
            if self._left_out:
                frame = {**frame, "left_out": self._left_out}
                self._left_out = 0
            self._frames.append(frame)
            if self._is_told:
                return
            self._is_told = True
        with contextlib.suppress(RuntimeError):  # the admin side has ended meanwhile
            self._loop.call_soon_threadsafe(self._news.set)

    def _take(self) -> list[dict[str, Any]]:
        self._news.clear()
        with self._lock:
            frames, self._frames = self._frames, []
            self._is_told = False
        return frames

    async def events(self, stop: Callable[[], None], closed: asyncio.Event) -> AsyncIterator[bytes]:
        """The frames as they come, until the time is over, the viewer leaves, or ``closed``.

        Args:
            stop: ends the listening; called once, at the end.
        """
        try:
            yield encode_event("begin", {"seconds": round(self._ends - self._loop.time(), 3)})
            while not closed.is_set() and (left := self._ends - self._loop.time()) > 0:
                try:
                    await asyncio.wait_for(self._news.wait(), min(left, 1.0))
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                for some in chunks(self._take(), FRAMES_AT_ONCE):
                    yield b"".join(map(encode_frame, some))
            yield encode_event("end", {})
        finally:
            stop()


def encode_frame(frame: dict[str, Any]) -> bytes:
    """A frame as an event of the stream."""
    return b"event: frame\ndata: " + msgspec.json.encode(frame) + b"\n\n"
