"""The sending half of a connection: one thread writes at a time, and replies leave in the order of their messages."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from typing import Any, Final

from ...errors import ConnectionClosed
from ...threads.blocking import about_to_block
from ...threads.pending import after_batch
from .engine import Engine
from .life import CloseReason

OUTBOX_MARK = 64 * 1024
"""Bytes: while the outbox holds more, none of the connection's messages is served and it is not read."""


NOT_YET: Final = object()


class PendingReply:
    """The place of a reply in the order of replies.

    It has one field, which is set once: so it is filled without the stripe, and whoever sees it filled sees the reply.

    Attributes:
        data: the framed reply; None if there is none after all; NOT_YET while it is pending.
    """

    __slots__ = ("data",)

    def __init__(self, data: Any = NOT_YET) -> None:
        self.data = data


class Stall:
    """Since when the peer has taken none of our bytes, and how many the kernel held then. The writer's."""

    __slots__ = ("since", "unsent")

    def __init__(self, since: float, unsent: int = 0) -> None:
        self.since = since
        self.unsent = unsent


class Output:
    """What a connection sends: messages, replies, and what of both waits because the kernel takes no more.

    Whoever wants to send claims ``_writing`` and sends without a lock; others append to the outbox meanwhile, and the
    writer takes that before it lets go. What the kernel refuses goes to the outbox, too; then ``_armed`` says that the
    loop is the writer. A reply waits in ``_replies`` while one before it is pending.

    All marks and queues are guarded by ``_lock``, one of a few stripes that many connections share: under it fields
    change and nothing else happens. ``_dropping``, ``_close_reason`` and ``_watched`` (the loop wants to be told of a
    change) are set by others; ``_stall`` is the writer's.

    Args:
        engine: the loop that owns it.
        sock: not blocking.
        lock: the stripe.
    """

    __slots__ = (
        "_armed",
        "_close_reason",
        "_dropping",
        "_engine",
        "_lock",
        "_outbox",
        "_outbox_size",
        "_output_over",
        "_replies",
        "_senders",
        "_socket",
        "_stall",
        "_watched",
        "_writing",
    )

    def __init__(self, engine: Engine, sock: socket.socket, lock: threading.Lock) -> None:
        self._engine = engine
        self._socket = sock
        self._lock = lock
        self._close_reason: CloseReason | None = None
        self._dropping = False
        self._output_over = False
        self._writing = False
        self._armed = False
        self._watched = False
        self._outbox: deque[bytes | memoryview] | None = None
        self._outbox_size = 0
        self._replies: deque[PendingReply] | None = None
        self._senders: list[threading.Lock] | None = None
        self._stall: Stall | None = None

    def end(self, reason: CloseReason, detail: str = "", *, dropping: bool = False, abort: bool = False) -> None:
        """See ``Connection.end``."""
        raise NotImplementedError

    def _attend(self) -> None:
        """Have the loop look soon."""
        raise NotImplementedError

    @property
    def outbox_size(self) -> int:
        """Bytes that wait because the peer has not taken what was sent before."""
        return self._outbox_size

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

    # For the loop and the models ------------------------------------------------------------------------------------

    def reply(self, data: bytes) -> None:
        """Send the framed replies of some messages, after replies that are still pending."""
        if self.begin_reply(data):
            self.end_reply(data)

    def begin_reply(self, data: bytes) -> bool:
        """Claim the writing for framed replies, which the caller then sends by ``end_reply``.

        Returns:
            False: they leave behind what is on its way, or cannot leave at all; nothing is left to do.
        """
        lock = self._lock
        lock.acquire()  # not `with`, whose end takes longer in CPython 3.11 than all of this
        try:
            free = not (self._writing or self._replies or self._output_over)
            if free:
                self._writing = True
            else:
                dropped = self._queue_reply_locked(data)
        finally:
            lock.release()
        if not free and dropped:
            self._engine.count_dropped()
        return free

    def end_reply(self, data: bytes) -> None:
        """Send framed replies, as the writer that ``begin_reply`` has made of the caller."""
        # What nearly always happens, without a further call: the kernel takes it all and nobody else has written.
        try:
            sent = self._socket.send(data)
        except OSError:
            self._flush(data)
            return
        if sent < len(data):
            self._flush(memoryview(data)[sent:])
            return
        lock = self._lock
        lock.acquire()
        try:
            if not (self._outbox or self._watched or self._senders):
                self._writing = False
                return
        finally:
            lock.release()
        self._flush(b"")

    def _queue_reply_locked(self, data: bytes) -> bool:
        """The reply cannot be sent at once; True if it never can."""
        if self._output_over:
            return True
        if self._replies:
            self._replies.append(PendingReply(data))
        else:
            self._append_locked(data)
        return False

    def expect_reply(self) -> PendingReply:
        """Keep the place of a reply that comes later, by ``settle``."""
        place = PendingReply()
        lock = self._lock
        lock.acquire()
        try:
            if self._replies is None:
                self._replies = deque()
            self._replies.append(place)
        finally:
            lock.release()
        return place

    def settle(self, place: PendingReply, data: bytes | None) -> None:
        """Fill a place (None: no reply). Replies whose turn has come leave, in order; those of one batch together."""
        place.data = data
        after_batch(self._send_settled)

    def _send_settled(self) -> None:
        with self._lock:
            replies = self._replies
            ready = []
            while replies and (first := replies[0].data) is not NOT_YET:
                replies.popleft()
                if first:
                    ready.append(first)
            data = ready[0] if len(ready) == 1 else b"".join(ready)
            if self._output_over:
                dropped, write = len(ready), False
            else:
                dropped, write = 0, bool(ready) and not self._writing
                if write:
                    self._writing = True
                elif ready:
                    self._append_locked(data)
            tell = self._watched and not write
        for _ in range(dropped):
            self._engine.count_dropped()
        if ready and not dropped:
            self._engine.count_sent(len(ready), len(data))
        if write:
            self._flush(data)
        elif tell:
            self._attend()

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
                    if self._senders:
                        senders = self.take_senders_locked()
                    break
                data = b"".join(outbox)
                outbox.clear()
                self._outbox_size = 0
        for baton in senders:
            baton.release()
        if tell:
            self._attend()

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
