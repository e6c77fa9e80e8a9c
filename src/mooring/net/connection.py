"""One TCP or Unix connection: its public face, its marks, and the rule that only one thread writes at a time.

How a connection lives and ends is one way for all models and all reasons:

    OPEN -> DRAINING -> LINGERING -> ENDING -> CLOSED

    OPEN       bytes are read, messages are served
    DRAINING   nothing is read any more; messages that were read are served, replies and the outbox leave
    LINGERING  our side is shut (FIN sent); what the peer still sends is read and dropped, so that the last reply is
               not lost to a reset (close with unread input sends RST)
    ENDING     out of the table, shut down; ``lost`` runs, once, after the last handler
    CLOSED     the descriptor is closed

An abort goes from any of the first three straight to ENDING. Only the loop changes the phase (``Loop.look``); others
set marks and ask the loop to look.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConnectionClosed
from ..threads.blocking import about_to_block
from ..threads.pending import after_batch
from .address import Address, from_sockaddr, unpack_address
from .partial import Partial

if TYPE_CHECKING:
    from .listeners import Listeners
    from .tap import Tap
    from .throttle import Pace
    from .tls import PeerCertificate

logger = logging.getLogger("mooring")

OUTBOX_MARK = 64 * 1024
"""Bytes: while the outbox holds more, none of the connection's messages is served and it is not read."""

DONT_WAIT = socket.MSG_DONTWAIT


class CloseReason(StrEnum):
    """Why a connection ended: for ``lost``, logs and metrics."""

    PEER = "peer"
    """The peer ended it."""
    RESET = "reset"
    """The peer, or the network, broke it off."""
    LOCAL = "local"
    """``close()`` or ``abort()`` was called."""
    HEARTBEAT = "heartbeat"
    """Nothing was received for ``Heartbeat.timeout``."""
    IDLE = "idle"
    """Nothing was received for ``idle_timeout``."""
    FIRST_MESSAGE = "first_message"
    """No complete message came within ``first_message_timeout``."""
    STALLED = "stalled"
    """The peer took none of our bytes for ``write_timeout``."""
    FRAME = "frame"
    """The bytes were not of the framing, or a message was not complete within ``frame_timeout``."""
    HANDLER = "handler"
    """The handler raised or returned something wrong."""
    REPLACED = "replaced"
    """Another connection was identified by the same name."""
    OVERFLOW = "overflow"
    """More was sent than ``outbox_limit`` allows."""
    RATE = "rate"
    """It sent more messages or bytes a second than ``Limits`` allow, and did not stop."""
    REFUSED = "refused"
    """It was not taken at all: no thread could be had for it."""
    STOP = "stop"
    """The server stops."""


class Phase(IntEnum):
    """Where a connection is on its way; see the module."""

    OPEN = 0
    DRAINING = 1
    LINGERING = 2
    ENDING = 3
    CLOSED = 4


OPEN, DRAINING, LINGERING, ENDING, CLOSED = Phase


class Event:
    """Something other than a message that a handler has to see in order with the messages."""

    __slots__ = ("error", "kind")

    def __init__(self, kind: str, error: Exception | None = None) -> None:
        self.kind = kind
        self.error = error

    def __repr__(self) -> str:
        return f"<{self.kind}>"


CONNECTED = Event("connected")
LOST = Event("lost")


class PendingReply:
    """The place of a reply that is not there yet, in the order of replies; guarded by the connection's stripe."""

    __slots__ = ("data", "done")

    def __init__(self, data: bytes | None = None, *, done: bool = False) -> None:
        self.data = data
        self.done = done


class Request:
    """A request that waits for its answer.

    It is open while it stands in the connection's list. Whoever takes it out of it, and nobody else, decides how it
    ends: the thread that reads, with an answer or an error, or the one that waits, when its time is over.
    """

    __slots__ = ("answer", "baton", "error", "match")

    def __init__(self, match: Callable[[bytes], bool]) -> None:
        self.match = match
        self.answer = b""
        self.error: BaseException | None = None
        self.baton = threading.Lock()
        self.baton.acquire()


class Stall:
    """Since when the peer has taken none of our bytes, and how many the kernel held then. The writer's."""

    __slots__ = ("since", "unsent")

    def __init__(self, since: float, unsent: int = 0) -> None:
        self.since = since
        self.unsent = unsent


class Ending:
    """Since when a connection is in its present phase, and how many bytes were dropped while lingering. The loop's."""

    __slots__ = ("dropped", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.dropped = 0


class Engine(Protocol):
    """What a connection needs of the loop that owns it."""

    server: Any
    connections: Connections
    outbox_limit: int
    overflow: str
    write_timeout: float
    unix_offset: float

    @property
    def join(self) -> Callable[[bytes], bytes]:
        """Frames a message."""

    def attend(self, connection: Connection) -> None:
        """Have the loop look at the connection soon. From any thread."""

    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the loop: false on the loop's own thread."""

    def strike(self, connection: Connection, kind: str) -> None:
        """The connection's address has offended."""

    def count_dropped(self) -> None:
        """Count a message or reply that could not leave any more."""

    def count_sent(self, messages: int, size: int) -> None:
        """Count messages that leave and are not replies of a call that has just ended."""


class Connection:
    """A connection, as handlers see it. ``send``, ``close`` and ``abort`` may be called from any thread.

    The marks ``_served``, ``_held``, ``_writing``, ``_armed``, ``_watched``, ``_close_reason``, ``_input_over``,
    ``_output_over``, ``_dropping``, ``_aborted``, and the queues ``_inbox``, ``_outbox``, ``_replies``, ``_requests``
    and ``_senders`` are guarded by ``_lock``, one of a few stripes that many connections share: under it fields change
    and nothing else happens. ``_phase`` is changed by the loop alone, under the stripe. ``_trial`` belongs to whoever
    serves the connection; what is set up last in ``__init__`` belongs to the thread that reads.

    Attributes:
        id: a number that no other connection of this process has.
        session: whatever the handler keeps here; None at first.
    """

    __slots__ = (
        "__weakref__",
        "_aborted",
        "_armed",
        "_beat_at",
        "_close_detail",
        "_close_reason",
        "_connected",
        "_dropping",
        "_ending",
        "_engine",
        "_eof",
        "_handler",
        "_held",
        "_inbox",
        "_input_over",
        "_last_received",
        "_lock",
        "_mask",
        "_messages",
        "_name",
        "_outbox",
        "_outbox_size",
        "_output_over",
        "_pace",
        "_partial",
        "_peer",
        "_phase",
        "_reading",
        "_replies",
        "_requests",
        "_senders",
        "_served",
        "_socket",
        "_stall",
        "_tap",
        "_tick",
        "_trial",
        "_watched",
        "_writing",
        "id",
        "session",
    )

    def __init__(
        self, engine: Engine, sock: socket.socket, peer: Any, id: int, lock: threading.Lock, now: float
    ) -> None:
        self.id = id
        self.session: Any = None
        self._engine = engine
        self._socket = sock
        self._peer = peer  # packed
        self._lock = lock
        self._name: str | None = None
        self._handler: Any = None
        self._connected = now
        self._phase: Phase = OPEN
        self._close_reason: CloseReason | None = None
        self._close_detail = ""
        self._input_over = False
        self._output_over = False
        self._dropping = False
        self._aborted = False
        self._served = False
        self._held = False
        self._writing = False
        self._armed = False
        self._watched = False
        self._inbox: deque[bytes | Event] | None = None
        self._outbox: deque[bytes | memoryview] | None = None
        self._outbox_size = 0
        self._replies: deque[PendingReply] | None = None
        self._senders: list[threading.Lock] | None = None
        self._requests: list[Request] | None = None
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
        self._stall: Stall | None = None
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
    def outbox_size(self) -> int:
        """Bytes that wait because the peer has not taken what was sent before."""
        return self._outbox_size

    @property
    def log(self) -> ConnectionLog:
        """A logger whose lines begin with the connection's number, peer and name."""
        return ConnectionLog(logger, {"connection": self})

    def send(self, message: bytes) -> None:
        """Send a message, from any thread. It may overtake replies that are still pending; it never splits one.

        What the kernel does not take waits in the outbox. Beyond ``outbox_limit`` bytes the server's ``overflow``
        decides: "close" aborts the connection, "drop" loses this message, "block" waits up to ``write_timeout``
        for room (in a handler that runs on the loop thread, where nobody may wait, it aborts the connection).

        Args:
            message: one message, without its frame.

        Raises:
            ConnectionClosed: the connection is closed, closing, or was aborted by an overflow.
            FrameError: the framing cannot carry this message.
        """
        self.send_joined(self._engine.join(message))

    def send_joined(self, data: bytes) -> None:
        """``send`` for a message that is framed already."""
        claimed = False
        while True:
            with self._lock:
                if self._dropping or self._output_over:
                    raise ConnectionClosed(f"{self!r} is closed ({self._close_reason})")
                if not self._writing:
                    self._writing = claimed = True
                    break
                if self._outbox_size + len(data) <= self._engine.outbox_limit:
                    self._append_locked(data)
                    break
            if not self._make_room():
                return
        self._engine.count_sent(1, len(data))
        if claimed:
            self._flush(data)

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
            self._requests = [*(self._requests or ()), request]
        try:
            self.send(message)
            about_to_block()
            if not self._engine.may_wait():
                raise RuntimeError(f"{self!r}: request() on the loop's own thread, which would have to read the answer")
        except BaseException:
            self._withdraw(request)
            raise
        if not request.baton.acquire(timeout=max(0.0, timeout)):
            if self._withdraw(request):
                raise TimeoutError(f"{self!r}: no answer within {timeout:g} s")
            request.baton.acquire()  # it came at the last moment
        if request.error is not None:
            raise request.error
        return request.answer

    def _withdraw(self, request: Request) -> bool:
        """Take a request out of the open ones. True: it was there, and its end is the caller's to decide."""
        with self._lock:
            requests = self._requests or []
            left = [other for other in requests if other is not request]
            self._requests = left or None
        return len(left) < len(requests)

    def _fail_request(self, request: Request, error: BaseException) -> None:
        if self._withdraw(request):
            request.error = error
            request.baton.release()

    def fail_requests(self) -> None:
        """Nothing is read any more: no answer can come."""
        for request in self._requests or ():
            closed = ConnectionClosed(f"{self!r} was closed ({self._close_reason}) before the answer came")
            self._fail_request(request, closed)

    def offer(self, items: list[bytes | Event]) -> list[bytes | Event]:
        """Offer messages to the open requests; returns those that none of them took. For the thread that reads."""
        return [item for item in items if not (isinstance(item, bytes) and self._answers_a_request(item))]

    def _answers_a_request(self, message: bytes) -> bool:
        for request in self._requests or ():
            try:
                fits = request.match(message)
            except BaseException as exc:  # noqa: BLE001 - code of the user's: it fails where it was handed in
                self._fail_request(request, exc)
                continue
            if fits and self._withdraw(request):
                request.answer = message
                request.baton.release()
                return True
        return False

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
        self._engine.attend(self)

    def reply(self, data: bytes) -> None:
        """Send the framed replies of some messages, after replies that are still pending."""
        lock = self._lock
        with lock:
            free = not (self._writing or self._replies or self._output_over)
            dropped = False
            if free:
                self._writing = True
            else:
                dropped = self._queue_reply_locked(data)
        if not free:
            if dropped:
                self._engine.count_dropped()
            return
        # What nearly always happens, without a further call: the kernel takes it all and nobody else has written.
        try:
            sent = self._socket.send(data)
        except OSError:
            self._flush(data)
            return
        if sent < len(data):
            self._flush(memoryview(data)[sent:])
            return
        with lock:
            if not (self._outbox or self._watched or self._senders):
                self._writing = False
                return
        self._flush(b"")

    def _queue_reply_locked(self, data: bytes) -> bool:
        """The reply cannot be sent at once; True if it never can."""
        if self._output_over:
            return True
        if self._replies:
            self._replies.append(PendingReply(data, done=True))
        else:
            self._append_locked(data)
        return False

    def expect_reply(self) -> PendingReply:
        """Keep the place of a reply that comes later, by ``settle``."""
        place = PendingReply()
        with self._lock:
            if self._replies is None:
                self._replies = deque()
            self._replies.append(place)
        return place

    def settle(self, place: PendingReply, data: bytes | None) -> None:
        """Fill a place (None: no reply). Replies whose turn has come leave, in order; those of one batch together."""
        with self._lock:
            place.data = data
            place.done = True
        after_batch(self._send_settled)

    def _send_settled(self) -> None:
        with self._lock:
            replies = self._replies
            ready = []
            while replies and replies[0].done:
                first = replies.popleft().data
                if first:
                    ready.append(first)
            if self._output_over:
                dropped, write = len(ready), False
            else:
                dropped, write = 0, bool(ready) and not self._writing
                if write:
                    self._writing = True
                elif ready:
                    self._append_locked(b"".join(ready))
            tell = self._watched and not write
        for _ in range(dropped):
            self._engine.count_dropped()
        if ready and not dropped:
            self._engine.count_sent(len(ready), sum(map(len, ready)))
        if write:
            self._flush(b"".join(ready))
        elif tell:
            self._engine.attend(self)

    def _append_locked(self, data: bytes) -> None:
        if self._outbox is None:
            self._outbox = deque()
        self._outbox.append(data)
        self._outbox_size += len(data)

    def _flush(self, data: bytes | memoryview) -> None:
        """Send as the one writer: the caller has claimed ``_writing``. What the kernel refuses is left to the loop."""
        while True:
            try:
                sent = self._socket.send(data) if data else 0
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self.write_failed(exc)
                return
            senders: list[threading.Lock] = []
            with self._lock:
                outbox = self._outbox
                if sent < len(data):
                    left = memoryview(data)[sent:]
                    if outbox is None:
                        outbox = self._outbox = deque()
                    outbox.appendleft(left)
                    self._outbox_size += len(left)
                    self._stall = Stall(time.monotonic())  # before _armed: the loop may judge it at once
                    self._armed = tell = True  # from here on the loop is the writer
                    break
                if not outbox:
                    self._writing = False
                    tell = self._watched
                    senders = self.take_senders_locked()
                    break
                data = b"".join(outbox)
                outbox.clear()
                self._outbox_size = 0
        for baton in senders:
            baton.release()
        if tell:
            self._engine.attend(self)

    def write_failed(self, exc: OSError) -> None:
        """The writer met an error: nothing can be sent any more, but messages that were read are still served."""
        with self._lock:
            self._writing = self._armed = False
            self._output_over = True
            senders = self.drop_output_locked()
        for baton in senders:
            baton.release()
        self.end(CloseReason.RESET, exc.strerror or str(exc))

    def _make_room(self) -> bool:
        """The outbox is full. True: try again. False: the message was dropped. Else: ConnectionClosed."""
        engine = self._engine
        if engine.overflow == "drop":
            engine.count_dropped()
            return False
        if engine.overflow == "block":
            about_to_block()
        if engine.overflow == "block" and engine.may_wait():
            baton = threading.Lock()
            baton.acquire()
            with self._lock:
                if not self._outbox_size or self._output_over:
                    return True
                self._senders = [*(self._senders or ()), baton]
            if baton.acquire(timeout=engine.write_timeout):
                return True
        detail = f"more than {engine.outbox_limit} bytes wait to be sent (outbox_limit)"
        self.end(CloseReason.OVERFLOW, detail, dropping=True, abort=True)
        raise ConnectionClosed(f"{self!r}: {detail}")

    def drop_output_locked(self) -> list[threading.Lock]:
        """Forget what has not left; returns the batons of threads that wait for room, to be released outside."""
        self._outbox = self._replies = None
        self._outbox_size = 0
        return self.take_senders_locked()

    def take_senders_locked(self) -> list[threading.Lock]:
        """The batons of threads that wait for room; to be released outside the stripe."""
        senders, self._senders = self._senders, None
        return senders or []

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name is not None else ""
        return f"<Connection {self.id} {self.peer}{name}>"


class ConnectionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the connection's number, peer and name before every line, and into fields of the record."""

    def log(self, level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
        """See ``logging.Logger.log``."""
        if not self.isEnabledFor(level):
            return
        fields = self.fields()
        name = f" {fields['connection_name']!r}" if "connection_name" in fields else ""
        prefix = f"[{fields['connection']} {fields['peer']}{name}] "
        kwargs["extra"] = {**fields, "prefix": prefix, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the caller's line, not this one
        # A % in what the peer calls itself is none of the message's.
        self.logger.log(level, f"{prefix.replace('%', '%%') if args else prefix}{msg}", *args, **kwargs)

    def fields(self) -> dict[str, Any]:
        """What identifies the connection, as fields of a record: ``connection``, ``peer``, ``connection_name``."""
        connection: Connection = self.extra["connection"]  # type: ignore[index,assignment]
        name = {"connection_name": connection.name} if connection.name is not None else {}
        return {"connection": connection.id, "peer": str(connection.peer), **name}


class Connections:
    """The open connections of a server; usable from any thread.

    ``len(connections)``, iteration over a snapshot, ``name in connections``, ``connections[name]``. The lock guards
    the names and the count; the connections themselves are in the loop's table.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.most = 0
        """The most at one time so far."""
        self._names: dict[str, Connection] = {}
        self.snapshot: Callable[[], list[Connection]] = list
        """The connections whose descriptors are not closed yet; the loop puts its own in."""
        self.in_pieces: Callable[..., Iterable[list[Connection]]] = lambda size, *, backwards: ()
        """The same a few at a time; see ``ConnectionTable.pieces``."""
        self.watcher: Listeners | None = None
        """Told of what comes, gets a name and goes, while somebody listens to connections."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return iter([connection for connection in self.snapshot() if connection._phase < ENDING])

    def pieces(self, size: int, *, backwards: bool = False) -> Iterator[list[Connection]]:
        """All open ones, at most ``size`` at a time; others may run, and connections come and go, in between.

        Args:
            size: the most of them at a time.
            backwards: those who came last first, mostly.
        """
        for piece in self.in_pieces(size, backwards=backwards):
            # Almost all are open, and to compare by size takes longer.
            yield [connection for connection in piece if connection._phase is OPEN or connection._phase < ENDING]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Connection:
        """The connection identified by ``name``; KeyError if there is none."""
        return self._names[name]

    def get(self, name: str, default: Connection | None = None) -> Connection | None:
        """The connection identified by ``name``, or ``default``."""
        return self._names.get(name, default)

    def by_id(self, id: int) -> Connection | None:
        """The open connection with this number, or None."""
        return next((connection for connection in self if connection.id == id), None)

    def broadcast(self, message: bytes) -> int:
        """Send a message to all open connections; closed ones are skipped.

        Args:
            message: one message, without its frame; framed once.

        Returns:
            To how many it went.

        Raises:
            FrameError: the framing cannot carry this message.
        """
        sent = 0
        data: bytes | None = None
        for connection in self:
            if data is None:
                data = connection._engine.join(message)
            try:
                connection.send_joined(data)
            except ConnectionClosed:
                continue
            sent += 1
        return sent

    def add(self, connection: Connection) -> None:
        """Count a new connection (the loop's)."""
        with self._lock:
            self._count += 1
            if self._count > self.most:
                self.most = self._count
        watcher = self.watcher
        if watcher is not None:
            watcher.added(connection)

    def enter(self, name: str, connection: Connection) -> Connection | None:
        """Enter a name; returns the other connection that had it."""
        with self._lock:
            if connection._phase >= ENDING:
                raise ConnectionClosed(f"{connection!r} is closed ({connection._close_reason})")
            older = self._names.get(name)
            if connection._name is not None and connection._name != name:
                self._forget_locked(connection)
            self._names[name] = connection
            connection._name = name
        watcher = self.watcher
        if watcher is not None:
            watcher.named(connection)
        return older if older is not connection else None

    def discard(self, connection: Connection) -> None:
        """A connection has ended (the loop's): it is not counted any more, and its name goes, if it is its own."""
        with self._lock:
            self._count -= 1
            self._forget_locked(connection)
        watcher = self.watcher
        if watcher is not None:
            watcher.removed(connection)

    def _forget_locked(self, connection: Connection) -> None:
        name = connection._name
        if name is not None and self._names.get(name) is connection:
            del self._names[name]
