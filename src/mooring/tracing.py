"""Following a connection of one server or of several: its events as an iteration."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .net.tapping.trace_event import TraceEvent

if TYPE_CHECKING:
    from .server import Server


class Trace:
    """The events of a connection as they come, until its time is over; see ``Server.trace``. ``_changed`` guards the
    queue. What happened before the end of the time and has not been taken yet is still given after it.

    Args:
        servers: those among whose connections it may be.
        target, duration, limit: see ``Server.trace``.

    Attributes:
        left_out: events that were dropped because nobody took them in time.
    """

    def __init__(
        self, servers: Sequence[Server], target: str | int, *, duration: float | None = None, limit: int = 1000
    ) -> None:
        self.left_out = 0
        self._changed = threading.Condition()
        self._events: deque[TraceEvent] = deque()
        self._limit = limit
        self._closed = False
        self._ends = time.monotonic() + duration if duration is not None else None
        self._stop = listen_to(servers, self._put, **whom(target))

    def _put(self, event: TraceEvent) -> None:
        with self._changed:
            if self._closed or self._is_over():
                return
            if len(self._events) >= self._limit:
                self._events.popleft()
                self.left_out += 1
            self._events.append(event)
            self._changed.notify()

    def __iter__(self) -> Iterator[TraceEvent]:
        while (event := self._next()) is not None:
            yield event
        self.close()

    def _next(self) -> TraceEvent | None:
        with self._changed:
            while not self._events:
                left = self._ends - time.monotonic() if self._ends is not None else None
                if self._closed or (left is not None and left <= 0):
                    return None
                self._changed.wait(left)
            return self._events.popleft()

    def _is_over(self) -> bool:
        return self._ends is not None and time.monotonic() >= self._ends

    def close(self) -> None:
        """Stop listening; the iteration ends after what has been heard. Twice is harmless."""
        self._stop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def whom(target: str | int) -> dict[str, Any]:
    """What a target means: a number is a connection, an address with or without port a peer, anything else a name."""
    text = str(target)
    if isinstance(target, int) or (text.isascii() and text.isdigit()):
        return {"connection": int(text)}
    bare = text.removeprefix("tcp://")
    host, colon, port = bare.rpartition(":")
    for candidate in (bare, host if colon and port.isdigit() else bare):
        try:
            ipaddress.ip_address(candidate.strip("[]"))
        except ValueError:
            continue
        return {"peer": bare}
    return {"name": text}


def listen_to(servers: Sequence[Server], put: Callable[[TraceEvent], object], **target: Any) -> Callable[[], None]:
    """``Server.listen`` for several servers: a connection is in one of them, a name or peer may turn up in any.

    Raises:
        KeyError: none has a connection of that number.
        ValueError: one of them has too many listeners already; then none is listened to.
    """
    stops: list[Callable[[], None]] = []
    missing: KeyError | None = None

    def stop() -> None:
        for one in stops:
            one()

    for server in servers:
        try:
            stops.append(server.listen(put, **target))
        except KeyError as exc:
            missing = exc
        except BaseException:
            stop()
            raise
    if not stops and missing is not None:
        raise missing
    return stop
