"""The loop: one epoll that owns every descriptor, and the way a connection lives and ends on it.

Level-triggered. A connection's descriptor stays registered, and ``epoll_ctl`` is called only when what is wanted of it
changes; if neither reading nor writing is wanted it is unregistered, as a mask of 0 spins on a reset and is blind to a
FIN. All state is the Loop's own and is touched by its thread alone. Everybody else posts a request: first into the
queue, then the wake-up; the loop clears the wake-up first, then drains the queue, so that none is overlooked.

Descriptors are closed at the end of a turn and only when no thread uses them: a number that is closed earlier may be
given to the next client, whom a stale event or a late ``send`` would then hit.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from ..errors import ConnectionClosed, FrameError, text_of
from ..framing import Framing
from .acceptor import Acceptor
from .address import pack_sockaddr
from .connection import Connection
from .connections import Connections
from .deadlines import DeadlineRing
from .drain import Drain
from .gate import Gate
from .items import LOST, Event, Item
from .leading import RoleLost, leader_only
from .life import CLOSED, DRAINING, ENDING, LINGERING, OPEN, CloseReason, Ending
from .limits import Limits
from .listener import Listener
from .model import Beats, Model
from .opening import Openings
from .output import OUTBOX_MARK, Stall
from .partial import Partial
from .rare import RareLog
from .refusals import Refusal
from .table import ConnectionTable
from .throttle import Pace
from .timeouts import Timeouts, judge
from .tls_socket import HANDSHAKE, NothingYet, TLSSocket, is_client_hello
from .waiting_bytes import DONT_WAIT, has_bytes, has_more, unsent_bytes

logger = logging.getLogger("mooring")

RECEIVE_SIZE = 64 * 1024
WRITE_SIZE = 256 * 1024
LINGER_SIZE = 64 * 1024
INBOX_SIZE = 1 << 20
"""Bytes of messages that may wait on a connection, beside the one that comes next; beyond it the connection is not
read, however few they are: a peer must not have the memory of ``inbox_limit`` messages of the largest size."""
EVENTS_PER_TURN = 512
DEADLINES_PER_TURN = 32
"""When thousands have come at once their time is over at once, too: others are served between groups of so many."""

LONGEST_POLL = 1.0
"""Seconds; a net under a wake-up that was lost by a fault of ours or of the kernel's."""

LONGEST_HOLD = 1.0
"""Seconds until the next look at a connection that has sent too much."""

LAST_WORD_INTERVAL = 0.05
"""Seconds between two tries to say the end of a TLS connection into a kernel that is full."""

STRIPES = 64

IN, OUT, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with time-out 0, socket(7)


_connection_ids = itertools.count(1)


class Loop:
    """Owns the descriptors of one server.

    ``run`` is the thread's work; ``post``, ``attend``, ``adopt``, ``stop`` and ``abort_all`` may be called from any
    thread. ``_wake_lock`` guards the life of the wake-up descriptor, which is closed last.

    Args:
        server: what connections show as theirs.
        framing: cuts bytes into messages.
        connections: the table that users see.
        handles_lost: whether the handler wants to hear of the end.
        timeouts: see Timeouts.
        beats: the heartbeat that the server sends; None if it sends none.
        inbox_limit: messages waiting plus replies outstanding, beyond which a connection is not read.
        outbox_limit: bytes that ``Connection.send`` may leave waiting.
        overflow: what ``Connection.send`` does beyond that: "close", "drop" or "block".
        max_connections: beyond it new connections are closed at once; sockets on the way count.
        gate: who may come in, and how much each may send.
        take: is given each accepted socket; returns the connection or None for one that was refused.
    """

    def __init__(
        self,
        *,
        server: Any,
        framing: Framing,
        connections: Connections,
        handles_lost: bool,
        timeouts: Timeouts,
        beats: Beats | None,
        inbox_limit: int,
        outbox_limit: int,
        overflow: str,
        max_connections: int,
        gate: Gate,
        take: Callable[[socket.socket], Connection | None],
    ) -> None:
        self.server = server
        self.connections = connections
        self.join = framing.join
        self.outbox_limit = outbox_limit
        self.overflow = overflow
        self.write_timeout = timeouts.write
        self.unix_offset = time.time() - time.monotonic()
        self.model: Model
        self.on_end: Callable[[], None] = lambda: None
        self.error: BaseException | None = None
        self.rare = RareLog(logger)
        self.messages = 0
        self.bytes_received = 0
        self.sent = 0
        self.sent_bytes = 0
        self.dropped = 0
        self.beats_sent = 0
        self.closed: Counter[CloseReason] = Counter()
        self._split = framing.split
        self._handles_lost = handles_lost
        self._timeouts = timeouts
        self._beats = beats
        self._inbox_limit = inbox_limit
        self.max_connections = max_connections
        self._take = take
        self.gate = gate
        self._throttle = gate.throttle
        self._stripes = tuple(threading.Lock() for _ in range(STRIPES))
        self._count_lock = threading.Lock()
        self._table = ConnectionTable()
        self._table.count_by(gate.census)
        connections.snapshot, connections.in_pieces = self._table.snapshot, self._table.pieces
        self._watchers: dict[int, Callable[[], None]] = {}
        self._ring: DeadlineRing[Connection] = DeadlineRing()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self.ready: deque[Connection] = deque()
        """Connections whose messages did not fit into one service on the loop thread; kept by the model."""
        self._requests: deque[Connection | Callable[[], None]] = deque()
        self._closing: list[Connection] = []
        self._batch: Iterator[tuple[int, int]] = iter(())
        self._saw_all = False
        self._look_first = False
        self._polled = self._now = time.monotonic()
        self.leader: int | None = None
        self._stopping = False
        self._drain: Drain | None = None
        self._forced = False
        self._over = False
        self._woken = False
        self._wake_lock = threading.Lock()
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watch(self._wake_fd, self._clear_wake)
        self.acceptor = Acceptor(
            (),
            adopt=self._accepted,
            has_room=lambda: self._table.count + len(self.openings) < self.max_connections,
            gate=gate,
            watch=self._watch,
            unwatch=self._unwatch,
            call_later=self.call_later,
            rare=self.rare,
        )
        self.openings = Openings(
            limit=gate.limits.handshakes,
            done=self._opened,
            turn=lambda: self._polled,
            watch=self._watch,
            rewatch=self._epoll.modify,
            unwatch=self._unwatch,
            call_later=self.call_later,
            rare=self.rare,
        )
        self.openings.when_full = self.acceptor.rest_those_with_stages
        self.openings.when_failed = lambda sock, reason: gate.end_opening(sock.fileno(), reason)

    # Requests, from any thread --------------------------------------------------------------------------------------

    def attend(self, connection: Connection) -> None:
        """Have the loop look at the connection soon."""
        self._requests.append(connection)
        self._wake()

    def post(self, function: Callable[[], None]) -> None:
        """Have the loop's thread call a function soon; it must be quick and not raise."""
        self._requests.append(function)
        self._wake()

    def _wake(self) -> None:
        if threading.get_ident() == self.leader:
            return
        if self._over:
            self._clear_orphans()
        elif not self._woken:
            self._woken = True
            with self._wake_lock:
                if not self._over:
                    os.eventfd_write(self._wake_fd, 1)

    def may_wait(self) -> bool:
        """Whether the calling thread may wait for the loop: not on its own thread."""
        return threading.get_ident() != self.leader

    def strike(self, connection: Connection, kind: str) -> None:
        """The connection's address has offended; from any thread."""
        self.gate.strikes.add(connection._peer, kind)

    def limit(self, limits: Limits) -> None:
        """Apply other limits from the loop's next turn on; from any thread."""
        self.post(lambda: self._limit(limits))

    def count_dropped(self) -> None:
        """A message or reply could not leave any more."""
        with self._count_lock:
            self.dropped += 1

    def count_sent(self, messages: int, size: int) -> None:
        """So many messages and bytes leave that are not replies of a call that has just ended."""
        with self._count_lock:
            self.sent += messages
            self.sent_bytes += size

    def count_received(self, messages: int, size: int) -> None:
        """So many messages and bytes were read by a thread other than the loop's."""
        with self._count_lock:
            self.messages += messages
            self.bytes_received += size

    def adopt(self, sock: socket.socket) -> Connection:
        """Make a connected socket one of ours; it is served from the loop's next turn on.

        Raises:
            OSError: the socket is not connected.
        """
        peer = pack_sockaddr(sock.family, sock.getpeername())
        peer = getattr(sock, "announced", peer)  # by a load balancer
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A peer that vanished with our last bytes on the way is given up by the kernel, tcp(7). Where we judge by
            # ourselves, which names the setting in the log, the kernel must not be quicker.
            patience = min(3 * self.write_timeout * 1000, 2**31 - 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience))
        number = next(_connection_ids)
        now = self._now if threading.get_ident() == self.leader else time.monotonic()
        connection = Connection(self, sock, peer, number, self._stripes[number % STRIPES], now)
        layer: Any = sock
        if isinstance(layer, TLSSocket):
            layer.belong_to(connection, self._has_more)
        self._table.add(connection)  # counted from here on, and closed at the end, come what may
        self.connections.add(connection)
        self.post(lambda: self._admit(connection))
        if self._over:
            self.attend(connection)
        return connection

    def stop(self, spread: float = 0.0, farewell: Callable[[Connection], None] = lambda connection: None) -> None:
        """Close the listeners and end every connection in order; ``run`` returns when the last one is closed.

        Sockets that were accepted before go through their openings to the end, and are then treated as connections.

        Args:
            spread: seconds over which the connections get their turns.
            farewell: called with each connection when its turn has come, to say a last word; quick, does not raise.
        """
        self.post(lambda: self._stop(spread, farewell))

    def abort_all(self) -> None:
        """Reset what is still open; ``run`` returns soon, without those whose handlers still run."""

        def force() -> None:
            for connection in self._table.snapshot():
                connection.end(CloseReason.STOP, "not ended within the time-out of stop()", dropping=True, abort=True)
            self.call_later(0.2, lambda: setattr(self, "_forced", True))

        self.post(force)

    @property
    def age(self) -> float:
        """Seconds since the last turn began."""
        return time.monotonic() - self._polled

    def unfinished(self) -> list[Connection]:
        """The connections that are not closed yet, for a report; a snapshot."""
        return self._table.snapshot()

    # The loop's thread ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Lead until ``stop`` has been asked for and all connections are closed, or until an error.

        Called by a further thread after the role was taken from the one that led, it goes on in the middle of the
        same turn: all state of the turn is the Loop's.
        """
        self.leader = threading.get_ident()
        try:
            try:
                self._lead()
            except RoleLost:
                raise
            except BaseException as exc:  # noqa: BLE001 - whatever it is, it must not end the thread in silence
                self._fail(exc)
            self._finish()
        except RoleLost:
            raise  # another thread leads; nothing here is ours any more
        except BaseException as exc:  # noqa: BLE001 - and here, too
            self._fail(exc)
        self.on_end()

    def _lead(self) -> None:
        self._now = time.monotonic()
        self._finish_turn()
        self._look_first = True  # bytes that waited in the kernel during a stall are life: look before judging
        while not (self._stopping and self._is_over()):
            self._turn()

    def _fail(self, exc: BaseException) -> None:
        self.error = exc
        logger.critical("the loop failed; the server stops", exc_info=exc)

    @leader_only
    def _turn(self) -> None:
        events = self._epoll.poll(self._poll_time(), EVENTS_PER_TURN)
        self._polled = self._now = time.monotonic()
        self._batch = iter(events)
        self._saw_all = len(events) < EVENTS_PER_TURN
        self._finish_turn()

    @leader_only
    def _finish_turn(self) -> None:
        slots, receive = self._table.slots, self.receive
        for fd, mask in self._batch:
            connection = slots[fd]
            if connection is None:
                watcher = self._watchers.get(fd)
                if watcher is not None:
                    watcher()
            elif mask == IN and connection._phase is OPEN:
                receive(connection)
            else:
                self._event(connection, mask)
        if self._requests:
            self._drain_requests()
        if self.ready:
            self.model.serve_ready()
        if self._timers and self._timers[0][0] <= self._polled:
            self._run_timers(self._polled)
        if self._saw_all and self._ring.next_look <= self._polled:
            # Silence is judged only after a poll that could have brought the bytes of everybody.
            self._keep_deadlines(self._polled)
        if self._closing:
            self._close_descriptors()

    @leader_only
    def _poll_time(self) -> float:
        if self.ready or self._requests or self._closing or self._look_first:
            self._look_first = False
            return 0.0
        nearest = self._ring.next_look
        if self._timers and self._timers[0][0] < nearest:
            nearest = self._timers[0][0]
        left = nearest - time.monotonic()
        if left >= LONGEST_POLL:
            return LONGEST_POLL
        return left if left > 0 else 0.0

    @leader_only
    def _clear_wake(self) -> None:
        os.eventfd_read(self._wake_fd)
        self._woken = False

    @leader_only
    def _drain_requests(self) -> None:
        requests = self._requests
        for _ in range(len(requests)):
            request = requests.popleft()
            if isinstance(request, Connection):
                self.look(request)
            else:
                request()

    @leader_only
    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Have the loop's thread call a function in ``delay`` seconds. On the loop's thread only."""
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._timer_ids), function))

    @leader_only
    def _run_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    @leader_only
    def _watch(self, fd: int, watcher: Callable[[], None], events: int = IN) -> None:
        self._watchers[fd] = watcher
        self._table.make_room(fd)
        self._epoll.register(fd, events)

    @leader_only
    def _unwatch(self, fd: int) -> None:
        del self._watchers[fd]
        self._epoll.unregister(fd)

    # A connection's life --------------------------------------------------------------------------------------------

    def listen(self, listeners: Sequence[Listener]) -> None:
        """Accept from these, too, once ``acceptor.resume`` is called; before ``run``."""
        self.acceptor.listeners.extend(listeners)

    @leader_only
    def _accepted(self, sock: socket.socket, peer: Any, listener: Listener) -> None:
        if not listener.stages:
            self._opened(sock, peer)
            return
        self.gate.begin_opening(sock.fileno(), peer)
        try:
            self.openings.begin(sock, peer, listener.stages)
        except OSError as exc:
            self.gate.end_opening(sock.fileno())
            self._gone(sock, exc)

    def _gone(self, sock: socket.socket, exc: OSError) -> None:
        sock.close()
        self.acceptor.failures += 1
        self.rare.log(logging.DEBUG, "adopt", "a new connection was gone at once: %s", exc)

    @leader_only
    def _opened(self, sock: socket.socket, peer: Any) -> None:
        """A socket, or a layer that stands for one, may become a connection."""
        self.gate.end_opening(sock.fileno())
        try:
            connection = self._take(sock)
        except OSError as exc:  # it may be gone already: setsockopt and getpeername fail then
            self._gone(sock, exc)
        except BaseException:  # noqa: BLE001 - code of the user's: its SystemExit must not end the loop
            self.rare.log(logging.ERROR, "take", "handle_new_connection raised", exc_info=True)
            self.acceptor.refuse(sock, peer, Refusal.HANDLER, "handle_new_connection raised")
        else:
            if connection is None:
                self.acceptor.refuse(sock, peer, Refusal.HANDLER, "handle_new_connection returned None")

    @leader_only
    def _admit(self, connection: Connection) -> None:
        if connection._phase >= ENDING:
            return  # somebody found it in the table and aborted it before we got here
        if connection._socket.fileno() < 0:  # closed after all by the handle_new_connection that had it adopted
            connection._phase, connection._output_over = CLOSED, True
            self._table.remove(connection)
            self.connections.discard(connection)
            return
        if self._drain is not None:
            self._drain.join(connection)
        self.model.admitted(connection)
        self.look(connection)
        if has_more(connection):
            self._read_more(connection)

    @leader_only
    def receive(self, connection: Connection) -> None:
        """Read once and have the messages served."""
        try:
            data = connection._socket.recv(RECEIVE_SIZE)
        except OSError as exc:
            self._read_failed(connection, exc, self._now)
            return
        if not data:
            self._read_end(connection)
            return
        self.bytes_received += len(data)
        items = self.cut(connection, data, self._now)
        if self._throttle is not None and self._throttle.charge(connection, len(items), len(data), self._now):
            self.look(connection)
        if items:
            self.messages += len(items)
            if connection._requests:
                items = connection.offer(items)
            self.model.deliver(connection, items)
            replies = connection._replies
            if connection._inbox or (replies and len(replies) > self._inbox_limit):
                self._check_load(connection, items)

    def _has_more(self, connection: Connection) -> None:
        """There is something to read of which epoll will not tell; from the thread that reads."""
        if not self.model.reads_itself:  # such a model asks has_more() before it waits
            self.post(lambda: self._read_more(connection))

    @leader_only
    def _read_more(self, connection: Connection) -> None:
        if self.model.reads_itself:
            return
        if connection._phase is OPEN and connection._reading:
            self.receive(connection)
        elif connection._phase is LINGERING:
            self._drop_input(connection)

    @leader_only
    def _check_load(self, connection: Connection, items: list[Item]) -> None:
        inbox, replies = connection._inbox, connection._replies
        load = (len(inbox) if inbox else 0) + (len(replies) if replies else 0)
        # Of small messages so many are no weight; of large ones a few of those that may wait would be.
        if load > self._inbox_limit or (inbox and len(inbox) > 1 and size_of(items) > INBOX_SIZE // self._inbox_limit):
            self.look(connection)

    def read(self, connection: Connection, now: float) -> list[Item]:
        """One ``recv``, cut into messages; for a thread other than the loop's that reads the connection."""
        try:
            data = connection._socket.recv(RECEIVE_SIZE)
        except OSError as exc:
            self._read_failed(connection, exc, now)
            return []
        if not data:
            self._read_end(connection)
            return []
        items = self.cut(connection, data, now)
        if self._throttle is not None:
            self._throttle.charge(connection, len(items), len(data), now)
        self.count_received(len(items), len(data))
        return connection.offer(items) if connection._requests else items

    @staticmethod
    def _read_end(connection: Connection) -> None:
        connection._eof = True
        connection.end(CloseReason.PEER, getattr(connection._socket, "end_detail", ""))

    def _read_failed(self, connection: Connection, exc: OSError, now: float) -> None:
        if isinstance(exc, BlockingIOError):
            if isinstance(exc, NothingYet):
                connection._last_received = now  # bytes are life
                if exc.record_begun and connection._partial is None:
                    self._begin_partial(connection, now)
            return
        connection._eof = True
        with connection._lock:
            connection._output_over = True
        connection.end(CloseReason.RESET, exc.strerror or str(exc))

    def cut(self, connection: Connection, data: bytes, now: float) -> list[Item]:
        """Cut what was read into messages, and an Event for bytes that are no frame, which end the input."""
        connection._last_received = now
        if connection._input_over:
            return []
        partial = connection._partial
        if partial is not None:
            whole = partial.add(data)
            if whole is None:
                return []
            data = whole
        if not connection._messages and data[0] == HANDSHAKE and is_client_hello(data):
            connection._partial = None
            connection.end(CloseReason.FRAME, "the peer speaks TLS, and this address does not", dropping=True)
            return []
        try:
            messages, rest, missing = self._split(data)
        except FrameError as exc:
            connection._partial = None
            # The input ends before the service begins, in which the role may be lost; we look at it after.
            connection.end(CloseReason.FRAME, str(exc))
            return [*exc.messages, Event("malformed", exc)]
        except BaseException as exc:  # noqa: BLE001 - code of the user's, as above
            self.rare.log(logging.ERROR, "framing", "%r: the framing raised", connection, exc_info=True)
            connection.end(CloseReason.HANDLER, f"the framing raised {type(exc).__name__}: {text_of(exc)}")
            return []
        if messages:
            connection._messages += len(messages)
        if rest:
            if messages or partial is None:
                partial = self._begin_partial(connection, now)
            partial.keep(rest, missing)
        elif partial is not None:
            connection._partial = None
        return messages  # type: ignore[return-value]

    def _begin_partial(self, connection: Connection, now: float) -> Partial:
        """A message begins, or a record in which one may come; it must be complete in time."""
        partial = connection._partial = Partial(now)
        if self._timeouts.frame is not None:
            self._plan_look(connection, now + self._timeouts.frame, now)
        return partial

    def _plan_look(self, connection: Connection, when: float, now: float) -> None:
        if threading.get_ident() == self.leader:
            self._ring.arm(connection, when, now)
        else:
            self.post(lambda: self._ring.arm(connection, when, now))

    @leader_only
    def _event(self, connection: Connection, mask: int) -> None:
        """Anything but plain input of an open connection. First out, then in: the last bytes would be lost else."""
        if not connection._mask:
            return  # unregistered earlier in this turn
        if mask & OUT and connection._armed:
            self._write(connection)
        if mask & (IN | HUP | ERR) and connection._mask & IN:
            if connection._phase is OPEN:
                self.receive(connection)
            elif connection._phase is LINGERING:
                self._drop_input(connection)
        elif mask & (HUP | ERR) and not mask & OUT and connection._phase < ENDING:
            connection.end(CloseReason.RESET, "the connection broke", abort=True)

    @leader_only
    def look(self, connection: Connection) -> None:
        """Do what the connection's marks ask for. The one place where the phase changes; idempotent."""
        if connection._aborted and connection._phase < ENDING:
            self._end(connection)
        elif connection._phase is OPEN and connection._input_over:
            self._begin_draining(connection)
        if connection._phase is DRAINING:
            self._try_to_linger(connection)
        if connection._phase is ENDING:
            self._try_to_close(connection)
        elif connection._phase <= DRAINING:
            self._balance(connection)
        if connection._phase < ENDING:
            if not connection._tick:
                self._judge(connection, self._now)  # before the mask is set, which plans a look for the writing alone
            self._update_mask(connection)
        if self.model.reads_itself:
            self.model.changed(connection)

    @leader_only
    def _balance(self, connection: Connection) -> None:
        """Serve what waits if that is possible, read if there is room for more; else have us told of a change."""
        held = connection._pace is not None and self._is_held(connection, connection._pace)
        with connection._lock:
            inbox = connection._inbox
            waiting = len(inbox) if inbox else 0
            blocked = connection._outbox_size > OUTBOX_MARK
            resume = waiting and not connection._served and not blocked
            load = waiting + (len(connection._replies) if connection._replies else 0)
            limit = self._inbox_limit if connection._reading else self._inbox_limit // 2
            reading = load <= limit and not blocked and not held
            if reading and inbox and waiting > 1:
                reading = size_of(inbox) <= (INBOX_SIZE if connection._reading else INBOX_SIZE // 2)
            connection._watched = connection._phase is not OPEN or not reading or blocked
            senders = connection.take_senders_locked() if not blocked and connection._senders else []
        for baton in senders:
            baton.release()
        if reading and not connection._reading:
            connection._last_received = self._now  # the silence was our own doing
            partial = connection._partial
            if partial is not None:
                partial.since = self._now
            if has_more(connection):
                self._has_more(connection)
        connection._reading = reading
        if resume:
            self.model.resume(connection)

    @leader_only
    def _is_held(self, connection: Connection, pace: Pace) -> bool:
        """Whether it has sent too much to be read now; if so we look again when it may be."""
        left = pace.until - self._now
        if left > 0 and not pace.is_planned:
            pace.is_planned = True
            # In steps: a connection that has ended meanwhile is not kept alive for long.
            self.call_later(min(left, LONGEST_HOLD), lambda: self._let_go(connection, pace))
        return left > 0

    @leader_only
    def _let_go(self, connection: Connection, pace: Pace) -> None:
        pace.is_planned = False
        self.look(connection)

    @leader_only
    def _limit(self, limits: Limits) -> None:
        self.gate.limit(limits)
        self._table.count_by(self.gate.census)
        self._throttle = self.gate.throttle
        self.openings.limit = limits.handshakes

    @leader_only
    def _update_mask(self, connection: Connection) -> None:
        wanted = 0
        if connection._armed:
            wanted = OUT
        reading = (connection._phase is OPEN and connection._reading) or connection._phase is LINGERING
        if reading and not self.model.reads_itself:
            wanted |= IN
        known = connection._mask
        if wanted == known:
            return
        connection._mask = wanted
        if not known:
            self._epoll.register(connection._socket, wanted)
        elif not wanted:
            self._epoll.unregister(connection._socket)
        else:
            self._epoll.modify(connection._socket, wanted)
        if wanted & OUT and not known & OUT:
            connection._stall = Stall(self._now, unsent_bytes(connection))
            self._ring.arm(connection, self._now + self.write_timeout, self._now)

    @leader_only
    def _write(self, connection: Connection) -> None:
        """The loop is the writer: the kernel was full and has room again."""
        with connection._lock:
            outbox = connection._outbox
            pieces: list[bytes | memoryview] = []
            size = 0
            while outbox and size < WRITE_SIZE:
                pieces.append(outbox.popleft())
                size += len(pieces[-1])
            connection._outbox_size -= size
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            sent = connection._socket.send(data, DONT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            connection.write_failed(exc)
            return
        if sent:
            connection._stall = Stall(self._now, unsent_bytes(connection))
        with connection._lock:
            outbox = connection._outbox
            if sent < len(data) and outbox is not None:
                outbox.appendleft(memoryview(data)[sent:])
                connection._outbox_size += len(data) - sent
            if not outbox:
                connection._armed = connection._writing = False
                connection._outbox = None
            changed = not outbox or connection._watched
        if changed:
            self.look(connection)

    # A connection's end ---------------------------------------------------------------------------------------------

    @leader_only
    def _begin_draining(self, connection: Connection) -> None:
        with connection._lock:
            connection._phase = DRAINING
            connection._watched = True
        connection._partial = None
        connection._ending = Ending(self._now)
        self._ring.forget(connection)  # the deadlines are others now
        connection.fail_requests()

    @leader_only
    def _try_to_linger(self, connection: Connection) -> None:
        with connection._lock:
            if connection._served or connection._writing or connection._inbox or connection._replies:
                return
            broken = connection._output_over
            connection._output_over = True
            connection._phase = LINGERING
        connection._ending = Ending(self._now)
        self._ring.forget(connection)
        if broken or connection._eof:
            self._end(connection)
            return
        self._shut_output(connection)

    @leader_only
    def _shut_output(self, connection: Connection) -> None:
        """Say that nothing more comes. TLS has a last word, for which the kernel may have no room just now."""
        if connection._phase is not LINGERING:
            return
        try:
            connection._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self.call_later(LAST_WORD_INTERVAL, lambda: self._shut_output(connection))
        except OSError:
            self._end(connection)
            self.look(connection)

    @leader_only
    def _drop_input(self, connection: Connection) -> None:
        try:
            data = connection._socket.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self.dropped_input(connection, len(data))

    @leader_only
    def dropped_input(self, connection: Connection, size: int) -> None:
        """So many bytes came while the connection lingers; 0 for its end."""
        ending = connection._ending
        if connection._phase is not LINGERING or ending is None:
            return
        ending.dropped += size
        floods = ending.dropped > LINGER_SIZE
        if floods:
            # It may have filled our window and wait for it to open: only a reset tells it for sure that nobody reads.
            self._reset_on_close(connection)
        if floods or not size:
            self._end(connection)
            self.look(connection)

    @staticmethod
    def _reset_on_close(connection: Connection) -> None:
        try:
            connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        except OSError:
            pass  # the peer was quicker

    @leader_only
    def _end(self, connection: Connection) -> None:
        """Take the connection out of everything; ``lost`` runs after the handler that may still run."""
        self._ring.forget(connection)
        if connection._mask:
            connection._mask = 0
            self._epoll.unregister(connection._socket)
        tell_lost = self._handles_lost
        with connection._lock:
            connection._phase = ENDING
            connection._watched = True
            connection._output_over = True
            unsent = connection._outbox_size > 0
            senders = connection.drop_output_locked()
            if connection._armed:
                connection._armed = connection._writing = False
            if connection._aborted and connection._dropping and connection._inbox:
                connection._inbox.clear()
        for baton in senders:
            baton.release()
        if unsent:
            self.count_dropped()
        connection.fail_requests()
        self.connections.discard(connection)
        if connection._aborted:
            self._reset_on_close(connection)
        try:
            connection._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was quicker
        reason = connection._close_reason or CloseReason.LOCAL
        if reason is CloseReason.FRAME:
            self.strike(connection, "frame")
        self._log_end(connection, reason)
        self.closed[reason] += 1  # who sees it finds the line in the log
        if tell_lost:
            self.model.deliver(connection, [LOST])
        elif connection._inbox and not connection._served:
            self.model.resume(connection)

    def _log_end(self, connection: Connection, reason: CloseReason) -> None:
        ordinary = reason in (CloseReason.PEER, CloseReason.LOCAL, CloseReason.STOP)
        level = logging.DEBUG if ordinary else logging.INFO
        if logger.isEnabledFor(level):
            detail = f": {connection._close_detail}" if connection._close_detail else ""
            self.rare.log(level, f"closed ({reason})", "%r closed, %s%s", connection, reason, detail)

    @leader_only
    def _try_to_close(self, connection: Connection) -> None:
        with connection._lock:
            if connection._served or connection._writing or connection._inbox or connection._held:
                return
            if connection._phase is CLOSED:
                return
            connection._phase = CLOSED
        self._closing.append(connection)

    @leader_only
    def _close_descriptors(self) -> None:
        closing, self._closing = self._closing, []
        for connection in closing:
            self._table.remove(connection)
            connection._handler = None
            connection._socket.close()

    # Deadlines ------------------------------------------------------------------------------------------------------

    @leader_only
    def _keep_deadlines(self, now: float) -> None:
        for connection in self._ring.due(now, DEADLINES_PER_TURN):
            if connection._phase < ENDING:
                self._judge(connection, now, may_beat=True)

    @leader_only
    def _judge(self, connection: Connection, now: float, *, may_beat: bool = False) -> None:
        """Act on a deadline that has passed, send a beat that is due, plan the next look."""
        passed, nearest = judge(connection, self._timeouts, now)
        if passed is not None and passed.reason is CloseReason.STALLED and self._takes_bytes(connection, now):
            passed, nearest = judge(connection, self._timeouts, now)
        silent = passed is not None and passed.reason is not CloseReason.STALLED and connection._phase is OPEN
        if silent and self.model.reads_itself and has_bytes(connection):
            self._ring.arm(connection, now + LONGEST_POLL, now)  # its thread is late, not the peer
            return
        if passed is not None:
            if connection._phase is LINGERING:
                self._end(connection)
                self.look(connection)
                return
            dropping = passed.abort or connection._phase is DRAINING
            connection.end(passed.reason, passed.detail, dropping=dropping, abort=passed.abort)
            return
        if self._beats is not None and connection._phase is OPEN:
            try:
                next_beat = self._beats.next_beat(connection)
                if next_beat <= now and may_beat:
                    self._beat(connection, now)
                    next_beat = self._beats.next_beat(connection)
            except BaseException as exc:  # noqa: BLE001 - code of the user's, as above
                self.rare.log(logging.ERROR, "beat", "%r: the heartbeat's message raised", connection, exc_info=True)
                connection.end(
                    CloseReason.HANDLER,
                    f"the heartbeat's message raised {type(exc).__name__}: {text_of(exc)}",
                    dropping=True,
                )
                return
            nearest = min(nearest, max(next_beat, now))
        if nearest < float("inf"):
            self._ring.arm(connection, nearest, now)

    @staticmethod
    def _takes_bytes(connection: Connection, now: float) -> bool:
        """Whether the peer took bytes since we last saw it do so.

        The kernel reports room only when a third of its buffer is free, which a slow peer may need minutes for.
        """
        unsent = unsent_bytes(connection)
        stall = connection._stall
        if stall is not None and stall.unsent and unsent >= stall.unsent:  # 0: nobody has looked yet
            return False
        connection._stall = Stall(now, unsent)
        return True

    @leader_only
    def _beat(self, connection: Connection, now: float) -> None:
        assert self._beats is not None
        connection._beat_at = now
        if connection._armed:
            return  # the peer takes nothing now: one more message would only wait
        message = self._beats.beat(connection)
        if message is None:
            return
        data = self.join(message)
        try:
            connection.send_joined(data)
        except ConnectionClosed:
            return  # by somebody else, this moment
        self.beats_sent += 1

    # The end of the loop --------------------------------------------------------------------------------------------

    @leader_only
    def _stop(self, spread: float, farewell: Callable[[Connection], None]) -> None:
        if self._stopping:
            return
        self._stopping = True
        self.acceptor.close()
        self._drain = Drain(self._table.snapshot(), spread=spread, farewell=farewell, call_later=self.call_later)
        self._drain.begin()

    def _is_over(self) -> bool:
        """Whether nobody is left to be served: not even one who was accepted before and is in its handshake yet."""
        return self._forced or not (self._table.count or self.openings.must_be_waited_for(time.monotonic()))

    @leader_only
    def _finish(self) -> None:
        """Close what is closable; a connection whose handler still runs is closed by that handler's thread."""
        self._stopping = True
        self.model.ending()
        self.acceptor.close()
        self.openings.close()
        for connection in self._table.snapshot():
            if connection._phase < ENDING:
                connection.end(CloseReason.STOP, "the server ended", dropping=True, abort=True)
                try:
                    self._end(connection)
                except Exception:
                    logger.exception("%r: could not be ended", connection)
                self.model.changed(connection)
        try:
            while self.ready:
                self.model.serve_ready()  # who was to be served in the next turn hears of the end now
        except Exception:
            logger.exception("the last turn failed")
        if self._closing:
            self._close_descriptors()
        with self._wake_lock:
            self._over = True
            os.close(self._wake_fd)
        self._epoll.close()
        self.leader = None
        self._requests.extend(self._table.snapshot())
        self._clear_orphans()

    def _clear_orphans(self) -> None:
        """The loop is over: whoever lets go of a connection last closes it."""
        while self._requests:
            try:
                request = self._requests.popleft()
            except IndexError:
                return
            if not isinstance(request, Connection):
                continue
            with request._lock:
                if request._served or request._writing or request._held or request._phase is CLOSED:
                    continue
                was_open = request._phase < ENDING  # adopted when the loop was over
                request._phase = CLOSED
            if was_open:
                self.connections.discard(request)
            self._table.remove(request)
            request._socket.close()

    def release_queued(self, running: Collection[Connection]) -> None:
        """The pool has dropped its queue: close the connections that waited in it.

        Args:
            running: those whose handlers still run; their threads close them.
        """
        for connection in self.unfinished():
            if connection not in running:
                with connection._lock:
                    connection._served = False
                self.attend(connection)

    def discard(self) -> None:
        """Close what was opened; for a loop that was never run."""
        self._finish()

    def abandon(self) -> None:
        """In a forked child: close every descriptor, without a word to the peers, who are the parent's."""
        if self._over:
            return
        self._over = True
        for connection in self._table.snapshot():
            connection._lock = threading.Lock()  # the parent's may have been held by a thread that is not here
            connection._requests = None  # and who waited for an answer is not here, either
            connection._phase, connection._output_over = CLOSED, True
            connection._socket.close()
        self._table = ConnectionTable()
        self.acceptor.abandon()
        self.openings.abandon()
        self._epoll.close()
        os.close(self._wake_fd)


def size_of(items: Iterable[Item]) -> int:
    """Bytes of the messages among these."""
    return sum(len(item) for item in items if isinstance(item, bytes))
