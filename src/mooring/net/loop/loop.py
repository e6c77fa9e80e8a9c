"""The loop: one epoll that owns every descriptor, one turn after the other.

    poll -> what is ready: read, cut, served -> replies leave -> what others asked for -> the ready list -> timers
         -> deadlines -> close

What makes it is the state of a role (``state``), which one thread at a time holds: the leader. The parts of a turn have
files of their own: ``arrivals``, ``input``, ``flow``, ``ending``, ``timekeeper``. Everybody else posts a request to the
``mailbox``.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from ...framing import Framing
from ..accepting.listener import Listener
from ..connection.connection import Connection
from ..connection.connections import Connections
from ..connection.engine import Engine
from ..connection.life import CLOSED, DRAINING, ENDING, LINGERING, OPEN, CloseReason
from ..deadlines.timeouts import Timeouts
from ..limits.gate import Gate
from ..limits.limits import Limits
from .arrivals import Arrivals
from .descriptors import ERR, HUP, IN, OUT
from .drain import Drain
from .ending import Endings
from .flow import Flow
from .input import Input
from .leading import RoleLost, leader_only
from .model import Beats
from .state import State
from .table import ConnectionTable
from .timekeeper import Timekeeper

logger = logging.getLogger("mooring")

EVENTS_PER_TURN = 512

LONGEST_POLL = 1.0
"""Seconds; a net under a wake-up that was lost by a fault of ours or of the kernel's."""

FORCED_STOP_DELAY = 0.2
"""Seconds that connections have to end after they were reset; then the loop ends without them."""


class Loop:
    """Owns the descriptors of one server.

    ``run`` is the thread's work; ``post``, ``attend``, ``adopt``, ``stop``, ``limit`` and ``abort_all`` may be called
    from any thread. ``state.model`` is set before ``run``.

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

    Attributes:
        state: of the role.
        engine: what connections know of us.
        arrivals, input, endings: the parts that others use, too.
        error: what ended the loop, if it did not end in order.
        on_end: called by the thread that led last.
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
        self.state = state = State()
        self.gate = gate
        self.engine = Engine(
            server=server,
            framing=framing,
            connections=connections,
            outbox_limit=outbox_limit,
            overflow=overflow,
            write_timeout=timeouts.write,
            attend=state.mailbox.attend,
            is_led_here=state.is_led_here,
            count_sent=state.traffic.count_sent,
            count_dropped=state.traffic.count_dropped,
            strike=lambda peer, kind: gate.strikes.add(peer, kind),
        )
        self.endings = Endings(state, connections, gate, handles_lost=handles_lost, look=self.look)
        self.input = Input(
            state,
            self.endings,
            framing,
            frame_timeout=timeouts.frame,
            inbox_limit=inbox_limit,
            throttle=gate.throttle,
            look=self.look,
        )
        self._flow = Flow(state, self.input, inbox_limit=inbox_limit, write_timeout=timeouts.write, look=self.look)
        self._timekeeper = Timekeeper(state, self.endings, timeouts, beats, look=self.look)
        self.arrivals = Arrivals(
            state, self.engine, self.input, gate, max_connections=max_connections, take=take, admit=self._admit
        )
        state.mailbox.when_over = self._close_orphans
        state.table.count_by(gate.census)
        connections.snapshot, connections.in_pieces = state.table.snapshot, state.table.pieces

        # A turn may be finished by another thread than began it.
        self._batch: Iterator[tuple[int, int]] = iter(())
        self._saw_all = False
        self._look_first = False

        self._stopping = False
        self._drain: Drain | None = None
        self._forced = False
        self.error: BaseException | None = None
        self.on_end: Callable[[], None] = lambda: None

    # From any thread ------------------------------------------------------------------------------------------------

    def attend(self, connection: Connection) -> None:
        """Have the loop look at the connection soon."""
        self.state.mailbox.attend(connection)

    def post(self, function: Callable[[], None]) -> None:
        """Have the loop's thread call a function soon; it must be quick and not raise."""
        self.state.mailbox.post(function)

    def adopt(self, sock: socket.socket) -> Connection:
        """Make a connected socket one of ours; it is served from the loop's next turn on.

        Raises:
            OSError: the socket is not connected.
        """
        return self.arrivals.adopt(sock)

    def limit(self, limits: Limits) -> None:
        """Apply other limits from the loop's next turn on."""
        self.post(lambda: self._limit(limits))

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
            for connection in self.unfinished():
                connection.end(CloseReason.STOP, "not ended within the time-out of stop()", dropping=True, abort=True)
            self.state.timers.call_later(FORCED_STOP_DELAY, lambda: setattr(self, "_forced", True))

        self.post(force)

    @property
    def age(self) -> float:
        """Seconds since the last turn began."""
        return time.monotonic() - self.state.polled

    def unfinished(self) -> list[Connection]:
        """The connections that are not closed yet, for a report; a snapshot."""
        return self.state.table.snapshot()

    def listen(self, listeners: Sequence[Listener]) -> None:
        """Accept from these, too, once ``acceptor.resume`` is called; before ``run``."""
        self.arrivals.acceptor.listeners.extend(listeners)

    # The leader: one turn after the other ---------------------------------------------------------------------------

    def run(self) -> None:
        """Lead until ``stop`` has been asked for and all connections are closed, or until an error.

        Called by a further thread after the role was taken from the one that led, it goes on in the middle of the
        same turn.
        """
        self.state.leader = threading.get_ident()
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
        self.state.now = time.monotonic()
        self.state.departures.leave()  # those before us have waited for a handler long enough
        self._finish_turn()
        self._look_first = True  # bytes that waited in the kernel during a stall are life: look before judging
        while not (self._stopping and self._is_over()):
            self._turn()

    def _fail(self, exc: BaseException) -> None:
        self.error = exc
        logger.critical("the loop failed; the server stops", exc_info=exc)

    @leader_only
    def _turn(self) -> None:
        state = self.state
        events = state.descriptors.epoll.poll(self._poll_time(), EVENTS_PER_TURN)
        state.polled = state.now = time.monotonic()
        self._batch = iter(state.precedence.in_order(events))
        self._saw_all = len(events) < EVENTS_PER_TURN
        self._finish_turn()

    @leader_only
    def _finish_turn(self) -> None:
        state, receive = self.state, self.input.receive
        slots = state.table.slots
        for fd, mask in self._batch:
            connection = slots[fd]
            if connection is None:
                watcher = state.descriptors.watchers.get(fd)
                if watcher is not None:
                    watcher()
            elif mask == IN and connection._phase is OPEN:
                receive(connection)
            else:
                self._event(connection, mask)
        if state.departures.waiting:
            state.departures.leave()
        if state.mailbox.requests:
            self._answer_requests()
        if state.ready:
            state.model.serve_ready()
            state.departures.leave()
        turn = state.polled
        if state.timers.next_due <= turn:
            state.timers.run(turn)
        if self._saw_all and state.ring.next_look <= turn:
            # Silence is judged only after a poll that could have brought the bytes of everybody.
            self._timekeeper.keep(turn)
        if state.closing:
            self.endings.close_descriptors()

    @leader_only
    def _poll_time(self) -> float:
        state = self.state
        if state.ready or state.mailbox.requests or state.closing or self._look_first:
            self._look_first = False
            return 0.0
        left = min(state.ring.next_look, state.timers.next_due) - time.monotonic()
        if left >= LONGEST_POLL:
            return LONGEST_POLL
        return left if left > 0 else 0.0

    @leader_only
    def _event(self, connection: Connection, mask: int) -> None:
        """Anything but plain input of an open connection. First out, then in: the last bytes would be lost else."""
        if not connection._mask:
            return  # unregistered earlier in this turn
        if mask & OUT and connection._armed:
            self._flow.write(connection)
        if mask & (IN | HUP | ERR) and connection._mask & IN:
            if connection._phase is OPEN:
                self.input.receive(connection)
            elif connection._phase is LINGERING:
                self.endings.drop_input(connection)
        elif mask & (HUP | ERR) and not mask & OUT and connection._phase < ENDING:
            connection.end(CloseReason.RESET, "the connection broke", abort=True)

    @leader_only
    def _answer_requests(self) -> None:
        requests = self.state.mailbox.requests
        for _ in range(len(requests)):
            request = requests.popleft()
            if isinstance(request, Connection):
                self.look(request)
            else:
                request()

    @leader_only
    def look(self, connection: Connection) -> None:
        """Do what the connection's marks ask for. The one place where the phase changes; idempotent."""
        endings, flow, model = self.endings, self._flow, self.state.model
        if connection._aborted and connection._phase < ENDING:
            endings.end(connection)
        elif connection._phase is OPEN and connection._input_over:
            endings.drain(connection)
        if connection._phase is DRAINING:
            endings.try_to_linger(connection)
        if connection._phase is ENDING:
            endings.try_to_close(connection)
        elif connection._phase <= DRAINING:
            flow.balance(connection)
        if connection._phase < ENDING:
            if not connection._tick:  # before it is watched, which plans a look for the writing alone
                self._timekeeper.judge(connection, self.state.now)
            flow.watch(connection)
        if model.reads_itself:
            model.changed(connection)

    # Changes --------------------------------------------------------------------------------------------------------

    @leader_only
    def _admit(self, connection: Connection) -> None:
        """A new connection is in the table."""
        if self._drain is not None:
            self._drain.join(connection)
        self.state.model.admitted(connection)
        self.look(connection)

    @leader_only
    def _limit(self, limits: Limits) -> None:
        self.gate.limit(limits)
        self.state.table.count_by(self.gate.census)
        self.input.throttle = self.gate.throttle
        self.arrivals.openings.limit = limits.handshakes

    @leader_only
    def _stop(self, spread: float, farewell: Callable[[Connection], None]) -> None:
        if self._stopping:
            return
        self._stopping = True
        self.arrivals.acceptor.close()
        self._drain = Drain(
            self.unfinished(), spread=spread, farewell=farewell, call_later=self.state.timers.call_later
        )
        self._drain.begin()

    def _is_over(self) -> bool:
        """Whether nobody is left to be served: not even one who was accepted before and is in its handshake yet."""
        return self._forced or not (
            self.state.table.count or self.arrivals.openings.must_be_waited_for(time.monotonic())
        )

    # The end --------------------------------------------------------------------------------------------------------

    @leader_only
    def _finish(self) -> None:
        """Close what is closable; a connection whose handler still runs is closed by that handler's thread."""
        state = self.state
        self._stopping = True
        state.model.ending()
        self.arrivals.close()
        state.departures.leave()
        for connection in self.unfinished():
            if connection._phase < ENDING:
                self._end_by_force(connection)
        try:
            while state.ready:
                state.model.serve_ready()  # who was to be served in the next turn hears of the end now
                state.departures.leave()
        except Exception:
            logger.exception("the last turn failed")
        if state.closing:
            self.endings.close_descriptors()
        state.mailbox.close()
        state.descriptors.epoll.close()
        state.leader = None
        state.mailbox.leave(self.unfinished())
        self._close_orphans()

    def _end_by_force(self, connection: Connection) -> None:
        connection.end(CloseReason.STOP, "the server ended", dropping=True, abort=True)
        try:
            self.endings.end(connection)
        except Exception:
            logger.exception("%r: could not be ended", connection)
        self.state.model.changed(connection)

    def _close_orphans(self) -> None:
        """The loop is over: whoever lets go of a connection last closes it. From any thread."""
        requests = self.state.mailbox.requests
        while requests:
            try:
                request = requests.popleft()
            except IndexError:
                return
            if isinstance(request, Connection):
                self.endings.close_orphan(request)

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
        state = self.state
        if state.mailbox.is_over:
            return
        state.mailbox.is_over = True
        for connection in self.unfinished():
            connection._lock = threading.Lock()  # the parent's may have been held by a thread that is not here
            connection._requests = None  # and who waited for an answer is not here, either
            connection._phase, connection._output_over = CLOSED, True
            connection._socket.close()
        state.table = ConnectionTable()
        self.arrivals.abandon()
        state.descriptors.epoll.close()
        os.close(state.mailbox.fd)
