"""Model ``threads``: each connection has a thread of its own, from its admission to its end.

The loop accepts, keeps the deadlines, writes when the kernel was full, and ends connections; the connection's thread
reads, serves and writes. Simple to follow in a debugger, and the dearest in memory and switches.
"""

from __future__ import annotations

import select
import threading
import time

from ..net.connection.connection import Connection
from ..net.connection.items import CONNECTED, LOST, Item
from ..net.connection.life import DRAINING, ENDING, LINGERING, CloseReason
from ..net.connection.output import OUTBOX_MARK
from ..net.connection.waiting_bytes import has_more
from ..net.loop.ending import DROP_SIZE
from ..net.loop.loop import Loop
from .epoll import append_to_inbox
from .serving import Serving


class Signals:
    """What the loop tells the thread of one connection.

    Attributes:
        baton: released by the loop when something changed; acquired by the thread.
        all_delivered: set by the loop once ``lost`` is in the inbox, or will never be: nothing follows it. The thread
            ends when it sees this and then an empty inbox, as nobody else takes anything out of it.
    """

    __slots__ = ("all_delivered", "baton")

    def __init__(self, *, all_delivered: bool) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.all_delivered = all_delivered


class ThreadPerConnectionModel:
    """Starts a thread for each connection and tells it what the loop decides.

    A thread that may not read waits for its baton, a Lock that the loop releases when something changed. Only the loop
    releases batons and only their threads acquire them, so a release is never lost: it is there for the next wait.

    Args:
        serving: runs the messages.
        loop: owns the descriptors.
        inbox_limit: replies outstanding beyond which a connection is not read.
        name: prefix of the threads' names.
    """

    reads_itself = True

    def __init__(self, serving: Serving, loop: Loop, *, inbox_limit: int, name: str) -> None:
        self._serving = serving
        serving.tracer.elsewhere = "thread"
        self._loop = loop
        self._inbox_limit = inbox_limit
        self._name = name
        self._signals: dict[Connection, Signals] = {}
        self._tells_lost = serving.handling.lost is not None

    def admitted(self, connection: Connection) -> None:
        """See Model."""
        signals = self._signals[connection] = Signals(all_delivered=not self._tells_lost)
        if self._serving.handling.connected is not None:
            append_to_inbox(connection, [CONNECTED])
        connection._held = True
        thread = threading.Thread(
            target=self._live, args=(connection, signals), name=f"{self._name}-{connection.id}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:  # the system gives no thread
            connection._held = False
            del self._signals[connection]
            connection.end(CloseReason.REFUSED, f"no thread for it: {exc}", dropping=True, abort=True)

    def deliver(self, connection: Connection, items: list[Item]) -> None:
        """See Model."""
        signals = self._signals.get(connection)
        if signals is not None:
            append_to_inbox(connection, items)
            signals.all_delivered = signals.all_delivered or LOST in items
            self.changed(connection)

    def resume(self, connection: Connection) -> None:
        """See Model."""
        self.changed(connection)

    def changed(self, connection: Connection) -> None:
        """See Model."""
        signals = self._signals.get(connection)
        if signals is not None:
            try:
                signals.baton.release()
            except RuntimeError:
                pass  # it is released already

    def ending(self) -> None:
        """See Model."""

    def serve_ready(self) -> None:
        """See Model; there is no ready list here."""

    # The connection's thread ----------------------------------------------------------------------------------------

    def _live(self, connection: Connection, signals: Signals) -> None:
        baton = signals.baton
        poller = select.poll()
        poller.register(connection._socket, select.POLLIN)
        while True:
            if connection._inbox and self._may_serve(connection):
                self._serve_inbox(connection)
            elif connection._phase >= ENDING:
                if signals.all_delivered and not connection._inbox:
                    break
                baton.acquire()
            elif connection._phase is LINGERING:
                if not has_more(connection):
                    poller.poll()
                self._drop_input(connection, baton)
            elif connection._phase is DRAINING or connection._input_over or not self._may_read(connection):
                baton.acquire()
            else:
                if not has_more(connection):
                    poller.poll()
                self._read(connection)
        with connection._lock:
            connection._held = False
        self._loop.post(lambda: self._forget(connection))
        self._loop.attend(connection)

    def _forget(self, connection: Connection) -> None:
        self._signals.pop(connection, None)

    @staticmethod
    def _may_serve(connection: Connection) -> bool:
        """Whether the peer takes our bytes; if not, have us told when it does."""
        with connection._lock:
            blocked = connection._outbox_size > OUTBOX_MARK
            if blocked:
                connection._watched = True
        return not blocked

    def _may_read(self, connection: Connection) -> bool:
        """Whether there is room for more; if not, the loop notes that the silence is our doing, and tells us."""
        if not connection._reading:
            return False
        pace = connection._pace
        if pace is not None and pace.until > time.monotonic():
            self._loop.attend(connection)
            return False
        with connection._lock:
            blocked = connection._outbox_size > OUTBOX_MARK or (
                connection._replies is not None and len(connection._replies) > self._inbox_limit
            )
            if blocked:
                connection._watched = True
        if blocked:
            self._loop.attend(connection)
        return not blocked

    def _read(self, connection: Connection) -> None:
        with connection._lock:
            if connection._input_over:
                return
            connection._served = True
        items = self._loop.input.read(connection, time.monotonic())
        if items:
            append_to_inbox(connection, items)
        self._serve_inbox(connection)

    def _serve_inbox(self, connection: Connection) -> None:
        with connection._lock:
            connection._served = True
        while self._serving.work(connection):
            pass

    def _drop_input(self, connection: Connection, baton: threading.Lock) -> None:
        try:
            data = connection._socket.recv(DROP_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._loop.post(lambda: self._loop.endings.dropped_input(connection, len(data)))
        if not data:
            baton.acquire()  # the loop ends the connection now
