"""One TCP or Unix connection: what handlers see of it, and the marks by which the loop and the models work together.

How it lives and ends is told in ``life``, how it sends in ``output``.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ConnectionClosed
from ...threads.blocking import about_to_block
from ..address import Address, from_sockaddr, unpack_address
from .engine import Engine
from .items import Item
from .life import ENDING, OPEN, CloseReason, Ending, Phase
from .log import ConnectionLog
from .output import Output
from .partial import Partial
from .requests import Request, Requests

if TYPE_CHECKING:
    from ..limits.throttle import Pace
    from ..tapping.tap import Tap
    from ..tls.context import PeerCertificate

logger = logging.getLogger("mooring")


class Connection(Output):
    """A connection, as handlers see it. ``send``, ``close`` and ``abort`` may be called from any thread.

    The marks ``_served``, ``_held``, ``_input_over`` and ``_aborted``, ``_inbox`` and ``_requests`` are guarded by
    ``_lock``, as is what ``Output`` has. ``_phase`` is changed by the loop alone, under the stripe. ``_trial`` belongs
    to whoever serves the connection; what is set up last in ``__init__`` belongs to the thread that reads.

    Attributes:
        id: a number that no other connection of this process has.
        session: whatever the handler keeps here; None at first.
    """

    __slots__ = (
        "__weakref__",
        "_aborted",
        "_beat_at",
        "_close_detail",
        "_connected",
        "_ending",
        "_eof",
        "_handler",
        "_held",
        "_inbox",
        "_input_over",
        "_last_received",
        "_mask",
        "_messages",
        "_name",
        "_pace",
        "_partial",
        "_peer",
        "_phase",
        "_reading",
        "_requests",
        "_served",
        "_tap",
        "_tick",
        "_trial",
        "id",
        "session",
    )

    def __init__(
        self, engine: Engine, sock: socket.socket, peer: Any, id: int, lock: threading.Lock, now: float
    ) -> None:
        super().__init__(engine, sock, lock)
        self.id = id
        self.session: Any = None
        self._peer = peer  # packed
        self._name: str | None = None
        self._handler: Any = None
        self._connected = now
        self._phase: Phase = OPEN
        self._close_detail = ""
        self._input_over = False
        self._aborted = False
        self._served = False
        self._held = False
        self._inbox: deque[Item] | None = None
        self._requests: Requests | None = None
        self._trial = 0
        self._tap: Tap | None = None
        self._tick = 0
        self._mask = 0
        self._partial: Partial | None = None
        self._eof = False
        self._pace: Pace | None = None
        self._reading = True
        self._messages = 0
        self._last_received = now
        self._ending: Ending | None = None
        self._beat_at = 0.0

    # What handlers use ----------------------------------------------------------------------------------------------

    @property
    def server(self) -> Any:
        """The Server that the connection belongs to."""
        return self._engine.server

    @property
    def name(self) -> str | None:
        """The name given by ``identify``; None before."""
        return self._name

    @property
    def peer(self) -> Address:
        """The other end's address; IPv4-mapped addresses are shown as IPv4."""
        return unpack_address(self._peer)

    @property
    def local(self) -> Address:
        """Our end's address; an empty one once the connection is closed."""
        try:
            return from_sockaddr(self._socket.family, self._socket.getsockname())
        except OSError:
            return Address()

    @property
    def peer_certificate(self) -> PeerCertificate | None:
        """What a TLS client has proved to be, where the server asks for that (``TLS.client_ca``); else None."""
        return getattr(self._socket, "peer_certificate", None)

    @property
    def connected_at(self) -> float:
        """When the connection was accepted: Unix time in seconds."""
        return self._connected + self._engine.unix_offset

    @property
    def last_received_at(self) -> float:
        """When bytes came last (or the connection, if none came yet): Unix time in seconds."""
        return self._last_received + self._engine.unix_offset

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection ends; None while it is open."""
        return self._close_reason

    @property
    def messages_received(self) -> int:
        """Complete messages that came so far."""
        return self._messages

    @property
    def log(self) -> ConnectionLog:
        """A logger whose lines begin with the connection's number, peer and name."""
        return ConnectionLog(logger, {"connection": self})

    def request(self, message: bytes, *, match: Callable[[bytes], bool], timeout: float = 10.0) -> bytes:
        """Send a message and wait for the one that answers it, which then does not go to the handler.

        From any thread, many at a time: each message that comes is offered to the open requests, oldest first. An
        answer that comes too late goes to the handler. In a handler this counts as waiting (``blocking()``).

        Args:
            message: one message, without its frame.
            match: says whether a received message is the answer; it runs on the loop thread and must be quick. If it
                raises, the request fails with that.
            timeout: seconds.

        Returns:
            The first message that matches.

        Raises:
            TimeoutError: no answer came in time.
            ConnectionClosed: the connection is closed, or was while waiting.
            FrameError: the framing cannot carry this message.
            RuntimeError: in a handler of model "epoll", where nobody could read the answer. (In model "threads" a
                handler cannot hear its own connection either, only others.)
        """
        request = Request(match)
        with self._lock:
            if self._input_over:
                raise ConnectionClosed(f"{self!r} is closed ({self._close_reason}): no answer can come")
            if self._requests is None:
                self._requests = Requests(self._lock)
            requests = self._requests
            requests.add_locked(request)
        try:
            self.send(message)
            about_to_block()
            if not self._engine.may_wait():
                raise RuntimeError(f"{self!r}: request() on the loop's own thread, which would have to read the answer")
        except BaseException:
            requests.withdraw(request)
            raise
        if not request.baton.acquire(timeout=max(0.0, timeout)):
            if requests.withdraw(request):
                raise TimeoutError(f"{self!r}: no answer within {timeout:g} s")
            request.baton.acquire()  # it came at the last moment
        if request.error is not None:
            raise request.error
        return request.answer

    def identify(self, name: str) -> Connection | None:
        """Give the connection a name: ``server.connections[name]`` is this one from now on.

        Of two connections with one name the later call wins; the older connection is closed (``REPLACED``).

        Args:
            name: what the peer calls itself.

        Returns:
            The older connection of that name, or None.

        Raises:
            ConnectionClosed: this connection has ended already.
        """
        older = self._engine.connections.enter(name, self)
        if older is not None:
            older.end(CloseReason.REPLACED, f"another connection is {name!r} now", dropping=True)
        return older

    def close(self, detail: str = "") -> None:
        """Close in order: after the running handler's reply and the outbox, at most ``close_timeout`` later.

        Messages that have not been started are dropped. From any thread; twice is harmless.

        Args:
            detail: why, for the log.
        """
        self.end(CloseReason.LOCAL, detail, dropping=True)

    def abort(self) -> None:
        """Reset the connection at once: outbox and messages are dropped. From any thread; twice is harmless."""
        self.end(CloseReason.LOCAL, "aborted", dropping=True, abort=True)

    def strike(self, kind: str) -> None:
        """Note an offence of the connection's address, such as a failed login; from any thread. The connection stays.

        It is counted and logged; after ``Limits.strikes`` of them new connections of the address are refused for a
        while. Frames that are none are noted by the server itself.

        Args:
            kind: a word of the program's own, never of the peer's, for counters and the line ``bad KIND from ADDRESS``.
        """
        self._engine.strike(self, kind)

    # For the loop and the models ------------------------------------------------------------------------------------

    def end(self, reason: CloseReason, detail: str = "", *, dropping: bool = False, abort: bool = False) -> None:
        """Mark the connection to end; the loop does it. The first reason stands; what forced the end joins its detail.

        Args:
            reason: why.
            detail: the same in words, with the setting's name where there is one.
            dropping: messages not yet started are dropped, and nothing more can be sent.
            abort: outbox and replies are dropped, too, and the peer gets a reset.
        """
        with self._lock:
            if self._close_reason is None:
                self._close_reason = reason
                self._close_detail = detail
            elif abort and not self._aborted:
                self._close_detail = "; ".join(filter(None, (self._close_detail, detail)))
            self._input_over = True
            if dropping and not self._dropping:
                self._dropping = True
                if self._inbox and self._phase < ENDING:
                    self._inbox.clear()
            if abort:
                self._aborted = True
        self._attend()

    def _attend(self) -> None:
        self._engine.attend(self)

    def offer(self, items: list[Item]) -> list[Item]:
        """Offer messages to the open requests; returns those that none of them took. For the thread that reads."""
        return self._requests.offer(items) if self._requests is not None else items

    def fail_requests(self) -> None:
        """Nothing is read any more: no answer can come."""
        if self._requests is not None:
            self._requests.fail_all(
                lambda: ConnectionClosed(f"{self!r} was closed ({self._close_reason}) before the answer came")
            )

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name is not None else ""
        return f"<Connection {self.id} {self.peer}{name}>"
