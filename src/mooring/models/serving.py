"""Running messages and ordering their replies; shared by the models, and the same in each."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any, Final

from ..errors import ConnectionClosed, FrameError, MooringError, text_of
from ..handler import Call, Handling, Route
from ..net.connection.connection import Connection
from ..net.connection.items import LOST, Event
from ..net.connection.life import CloseReason
from ..net.connection.output import OUTBOX_MARK, PendingReply
from ..net.rare import RareLog
from ..threads.tasks import name_of
from .failures import Failures
from .meter import Meter, meter_of_this_thread
from .pause import Pausable
from .tally import QUICK, CallTallies
from .tracer import Tracer

MESSAGES_PER_SERVICE = 64
SERVICE_TIME = 0.001
"""Seconds after which a service ends, so that one connection cannot hold a thread while others wait."""

LARGE: Final = OUTBOX_MARK // MESSAGES_PER_SERVICE
"""Bytes of a frame beyond which fewer messages make a service."""

logger = logging.getLogger("mooring")


class Serving:
    """Runs the messages of connections, whoever's thread it is. Holds no state of its own but settings.

    Args:
        handling: the handler.
        join: frames a reply.
        attend: has the loop look at a connection.
        pause: while it is ``paused`` no handler starts; the thread pool, where there is one.
        rare: for lines that a peer can cause.
    """

    def __init__(
        self,
        handling: Handling,
        *,
        join: Callable[[bytes], bytes],
        attend: Callable[[Connection], None],
        pause: Pausable,
        rare: RareLog,
    ) -> None:
        self.handling = handling
        self._pause = pause
        self.attend = attend
        self.may_run_here: Callable[[Route, Connection], bool] = lambda route, connection: True
        """Whether a call of this route may run on the loop thread; the hybrid model puts its own in."""
        self.note_in_pool: Callable[[Connection, Route, float, bool], None] | None = None
        """Told of each call in the pool: connection, route, seconds, whether it announced a wait."""
        self.tallies = CallTallies()
        self._server = self.tallies.server
        self.failures = Failures()
        self._route = handling.route
        self._received = handling.route.function if handling.route is not None else None
        self._find = handling.find if handling.find is not None else _no_routes
        self._encode = handling.encode
        self._join = join
        self._rare = rare
        self.tracer = Tracer(handling, pause, self.run)

    def run(self, connection: Connection, items: list[Any], meter: Meter, *, traced: bool = False) -> int:
        """Run messages of a connection in order, as its one server, and send their replies joined.

        On the loop's thread replies are left in the meter, to leave with others of the turn; not those of a message
        that is traced, whose lines tell what it sends.

        Ends after 64 messages, 1 ms or about 64 KiB of replies, when the pool is paused, when the peer takes too
        little, or, on the loop thread, before a message that belongs into the pool.

        Returns:
            How many were run (or dropped, after a close); the caller keeps the others.
        """
        tap = connection._tap
        if tap is not None and not traced:
            return self.tracer.run(connection, items, meter, tap, longest=SERVICE_TIME)
        received, join, encode, pause = self._received, self._join, self._encode, self._pause
        here, routes, replies = meter.here, meter.routes, meter.replies
        note = None if here else self.note_in_pool
        tally = meter.tally
        if tally is None or tally.server is not self._server:
            tally = meter.turn_to(self.tallies)
        meter.route = self._route
        counted = len(routes) if traced else 0
        done, most = 0, len(items)
        if most > MESSAGES_PER_SERVICE:
            most = MESSAGES_PER_SERVICE
        known: Any = None
        fit: Route | None = None  # the verdict on a route holds for a service: it is asked for once
        frame = b""
        last = started = monotonic()
        limit = last + SERVICE_TIME
        for item in items:
            if connection._dropping and item is not LOST:
                done += 1
                continue
            try:
                if received is not None and type(item) is bytes:
                    reply = received(connection, item)
                elif type(item) is Event:
                    reply = self._run_event(connection, item)
                else:
                    meter.route = None  # what goes wrong until the route is found is nobody's
                    route, message = item if type(item) is tuple else self._find(item)
                    if here and route is not fit:
                        if not self.may_run_here(route, connection):
                            items[done] = (route, message)
                            break
                        fit = route
                    meter.route = route
                    routes.append(route)
                    reply = route.function(connection, message)
                if reply is not None:
                    if type(reply) is not bytes or encode is not None:
                        self._take(connection, reply, meter)
                        if replies and len(replies[-1]) > LARGE:
                            most = _at_most(most, done, len(replies[-1]))
                    else:
                        if reply is not known:  # a constant, such as an acknowledgement, is framed once for all
                            try:
                                frame = join(reply)
                            except FrameError as exc:
                                raise self._wrong_reply(exc) from exc
                            known = reply
                            if len(frame) > LARGE:
                                most = _at_most(most, done, len(frame))
                        replies.append(frame)
            except BaseException as exc:  # noqa: BLE001 - SystemExit of a handler must not end a thread of ours
                if meter.route is not None and not isinstance(item, Event):
                    tally.of(meter.route).errors += 1
                self._handler_failed(connection, exc)
            done += 1
            now = monotonic()
            took = now - last
            if took > QUICK:
                meter.note_slow(took)
            if note is not None and meter.route is not None and type(item) is not Event:
                note(connection, meter.route, took, meter.announced is not None)
                meter.announced = None
            last = now
            if done >= most or now > limit or connection._outbox_size > OUTBOX_MARK or pause.paused:
                break
        tally.calls += done
        tally.seconds += last - started
        if routes:
            # Traced, a service runs its messages one by one, and those before have been counted.
            tally.count(routes[counted:] if counted else routes)
        if replies and (traced or not meter.on_loop):
            connection.reply(meter.take_replies())
        return done

    def give_up(self, connection: Connection, items: list[Any], meter: Meter, exc: BaseException) -> int:
        """``run`` itself failed: a fault of ours, or of a class of the user's that we asked for its text.

        Returns:
            As ``run``: nothing is left of the messages.
        """
        logger.critical("%r: serving it failed; it is aborted", connection, exc_info=exc)
        meter.replies.clear()
        connection.end(CloseReason.HANDLER, f"serving it failed: {type(exc).__name__}", dropping=True, abort=True)
        return len(items)

    def work(self, connection: Connection) -> bool:
        """Run a stretch of the connection's inbox, on a thread that is not the leader.

        Returns:
            True: there is more, the connection is still marked as served, call again or queue it. False: the mark
            is cleared and the connection is not ours any more.
        """
        meter = meter_of_this_thread()
        items = self.take_inbox(connection)
        done = 0
        if items and not (self._pause.paused and items[0] is not LOST):
            try:
                done = self.run(connection, items, meter)
            except BaseException as exc:  # noqa: BLE001 - the mark must be cleared
                done = self.give_up(connection, items, meter, exc)
            meter.forget()
        meter.tally = None  # a thread of a pool that outlives the server must keep nothing of it
        return self.finish(connection, items, done)

    def finish(self, connection: Connection, items: list[Any], done: int) -> bool:
        """End a stretch as a worker does: keep what was not run, and clear the mark if nothing waits.

        Returns:
            See ``work``.
        """
        with connection._lock:
            if done < len(items):
                put_back_locked(connection, items[done:])
            inbox = connection._inbox
            more = bool(inbox)
            if more and connection._outbox_size > OUTBOX_MARK:
                more = False
                connection._watched = True  # the loop goes on with it when the outbox has left
            if not more:
                connection._served = False
                if not inbox:
                    connection._inbox = None
            tell = connection._watched
        if tell:
            self.attend(connection)
        return more

    @staticmethod
    def take_inbox(connection: Connection) -> list[Any]:
        """Take as many waiting messages as a service may run."""
        with connection._lock:
            inbox = connection._inbox
            if not inbox:
                return []
            return [inbox.popleft() for _ in range(min(len(inbox), MESSAGES_PER_SERVICE))]

    def _run_event(self, connection: Connection, item: Event) -> Any:
        handling = self.handling
        if item.kind == "connected" and handling.connected is not None:
            return handling.connected(connection)
        if item.kind == "malformed" and handling.malformed is not None:
            return handling.malformed(connection, item.error)  # type: ignore[arg-type]
        # A handler that never heard of the connection does not hear of its end.
        if item.kind == "lost" and handling.lost is not None and connection._handler is not None:
            handling.lost(connection, connection._close_reason or CloseReason.LOCAL)
        return None

    def is_here(self) -> bool:
        """Whether the calling thread runs one of our handlers at present. Costs the messages nothing."""
        return self._find_run(sys._getframe()) is not None

    def running(self) -> list[tuple[int, Connection, FrameType]]:
        """The handlers that run now: thread, connection and where the thread is. For reports; a snapshot."""
        found = []
        for thread, frame in sys._current_frames().items():
            run = self._find_run(frame)
            if run is not None:
                found.append((thread, run.f_locals["connection"], frame))
        return found

    def describe(self, thread: int) -> str | None:
        """The handler that a thread runs now, by its route, and its connection; None: it runs none. For reports."""
        run = self._find_run(sys._current_frames().get(thread))
        if run is None:
            return None
        route: Route | None = run.f_locals["meter"].route
        name = self.handling.name if route is None else name_of(route.function)
        return f"{name} of {run.f_locals['connection']!r}"

    def _find_run(self, frame: FrameType | None) -> FrameType | None:
        # Another thread may be on the move: CPython 3.11 has been seen to give something else than a frame then.
        while isinstance(frame, FrameType):
            if frame.f_code is Serving.run.__code__ and frame.f_locals.get("self") is self:
                return frame
            frame = frame.f_back
        return None

    def _take(self, connection: Connection, reply: Any, meter: Meter) -> None:
        """A reply other than plain bytes."""
        if hasattr(reply, "add_done_callback"):  # a Pending, or a Future
            # What is ready leaves before, so that the places of replies come in the order of their messages.
            if meter.replies:
                connection.reply(meter.take_replies())
            place = connection.expect_reply()
            reply.add_done_callback(partial(self._settle, connection, place))
        else:
            meter.replies.append(self._frame(reply))

    def _frame(self, reply: Any) -> bytes:
        if self._encode is not None:
            reply = self._encode(reply)
        if not isinstance(reply, bytes):
            raise WrongReplyError(
                f"{self.handling.name} returned {type(reply).__name__}; "
                "a reply is bytes, None, or a Pending or Future of bytes"
            )
        try:
            return self._join(reply)
        except FrameError as exc:
            raise self._wrong_reply(exc) from exc

    def _wrong_reply(self, exc: FrameError) -> WrongReplyError:
        return WrongReplyError(f"{self.handling.name} returned a reply that cannot be framed: {exc}")

    def _settle(self, connection: Connection, place: PendingReply, future: Any) -> None:
        """A reply that was pending is there, in whatever thread."""
        data: bytes | None = None
        try:
            result = future.result()
            if result is not None:
                data = self._frame(result)
        except BaseException as exc:  # noqa: BLE001 - the Future's error is the handler's
            self._handler_failed(connection, exc)
        connection.settle(place, data)

    def _handler_failed(self, connection: Connection, exc: BaseException) -> None:
        name = self.handling.name
        if isinstance(exc, FrameError):
            self._rare.log(logging.INFO, "frame error", "%r: %s refused a message: %s", connection, name, exc)
            connection.end(CloseReason.FRAME, text_of(exc), dropping=True)
            return
        if isinstance(exc, ConnectionClosed) and connection.close_reason is not None:
            # Peers come and go: no fault of the handler's, which had something to send and nobody to send it to.
            self._rare.log(logging.DEBUG, "gone", "%r: %s gave up: %s", connection, name, exc)
            connection.end(CloseReason.HANDLER, f"{name} raised {type(exc).__name__}", dropping=True)
            return
        self.failures.note(exc)
        if isinstance(exc, WrongReplyError):
            self._rare.log(logging.ERROR, "wrong reply", "%r: %s; the connection is closed", connection, exc)
        elif isinstance(exc, CancelledError):
            self._rare.log(logging.WARNING, "cancelled", "%r: a pending reply of %s was cancelled", connection, name)
        else:
            self._rare.log(
                logging.ERROR, "handler", "%r: %s raised; the connection is closed", connection, name, exc_info=exc
            )
        connection.end(CloseReason.HANDLER, f"{name} raised {type(exc).__name__}", dropping=True)


def _at_most(most: int, done: int, size: int) -> int:
    """How many messages may run if the next replies are as large as this one: a peer that asks for much and reads
    nothing holds some 64 KiB of them, not 64 replies; and the thread is not held up by joining them."""
    return min(most, done + 1 + OUTBOX_MARK // size)


class WrongReplyError(MooringError, TypeError):
    """A handler returned something that is no reply."""


def _no_routes(message: bytes) -> Call:
    raise AssertionError("a handler with one route finds none")


def put_back_locked(connection: Connection, items: Iterable[Any]) -> None:
    """Put messages that were taken and not run before those that came since; after a close only ``lost`` is due."""
    if connection._dropping:
        items = [item for item in items if item is LOST]
    if connection._inbox is None:
        connection._inbox = deque(items)
    else:
        connection._inbox.extendleft(reversed(list(items)))
