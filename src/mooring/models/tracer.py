"""Running the messages of a connection that somebody listens to: each by itself, and told of."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from time import time as wall_clock
from typing import Any, Protocol

from ..handler import BadMessage, Handling, describe
from ..net.connection.connection import Connection
from ..net.connection.items import LOST, Event
from ..net.connection.life import CloseReason
from ..net.connection.output import OUTBOX_MARK
from ..net.tapping.tap import Tap
from .meter import Meter
from .pause import Pausable


class Run(Protocol):
    """``Serving.run``, for a message that is traced."""

    def __call__(self, connection: Connection, items: list[Any], meter: Meter, *, traced: bool) -> int:
        """See ``Serving.run``."""


class Tracer:
    """Runs messages one by one and tells a connection's tap of each.

    Args:
        handling: the handler.
        pause: while it is ``paused`` no handler starts.
        run: runs a message.

    Attributes:
        elsewhere: what the threads are called that run messages and do not lead.
    """

    def __init__(self, handling: Handling, pause: Pausable, run: Run) -> None:
        self.elsewhere = "pool"
        self._handling = handling
        self._pause = pause
        self._run = run

    def run(self, connection: Connection, items: list[Any], meter: Meter, tap: Tap, *, longest: float) -> int:
        """As ``Serving.run``; ends after ``longest`` seconds."""
        limit = monotonic() + longest
        done = 0
        for item in items:
            found = self._try_to_find(item)
            single, led, before = [found], _leads(connection), connection._close_reason
            began, started = wall_clock(), monotonic()
            tap.hold()
            dropped = connection._dropping and item is not LOST
            if not self._run(connection, single, meter, traced=True):
                tap.release()
                items[done] = single[0]  # it has found its route, which is not for this thread
                break
            where = self.elsewhere
            if led:
                where = "loop" if _leads(connection) else "loop, then moved"
            failed = connection._close_reason in (CloseReason.HANDLER, CloseReason.FRAME) and before is None
            if not dropped:
                tap.served(
                    _bytes_of(item),
                    time=began,
                    message=_shown(_decoded, found),
                    route=_shown(self._name_of, found),
                    where=where,
                    milliseconds=round((monotonic() - started) * 1000, 3),
                    detail=connection._close_detail if failed else None,
                )
            tap.release()
            done += 1
            blocked = connection._outbox_size > OUTBOX_MARK
            if done < len(items) and (monotonic() > limit or blocked or self._pause.paused):
                break
        return done

    def _try_to_find(self, item: Any) -> Any:
        """The message with its route, where there are several; itself if that fails, which ``run`` meets again."""
        find = self._handling.find
        if self._handling.route is not None or find is None or type(item) is not bytes:
            return item
        try:
            return find(item)
        except Exception:  # noqa: BLE001 - code of the user's
            return item

    def _name_of(self, item: Any) -> str | None:
        if not isinstance(item, tuple):
            return self._handling.name if self._handling.route is not None else None
        found, _ = item
        function = describe(found.function)
        key = next((name for name, route in self._handling.routes() if route is found), None)
        return function if key is None else f"{key} ({function})"


def _leads(connection: Connection) -> bool:
    return not connection._engine.may_wait()


def _shown(show: Callable[[Any], str | None], item: Any) -> str | None:
    """What a trace shows of a message; the ``repr`` of what a user's decoder made may raise."""
    try:
        return show(item)
    except Exception as exc:  # noqa: BLE001
        return f"(cannot be shown: {type(exc).__name__})"


def _decoded(item: Any) -> str | None:
    """What a message became, for a trace; None if it is the bytes themselves."""
    if isinstance(item, Event):
        return f"({item.kind})"
    if isinstance(item, tuple) and not isinstance(item[1], bytes | BadMessage):
        return f"{item[1]!r:.1000}"
    return None


def _bytes_of(item: Any) -> bytes:
    """The message as it came; none if it is decoded already, or something else."""
    message = item[1] if isinstance(item, tuple) else item
    if isinstance(message, BadMessage):
        message = message.raw
    return message if isinstance(message, bytes) else b""
