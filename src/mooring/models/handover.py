"""The hand-over of the loop: which thread leads, and how the role moves when a handler turns out to wait.

*The loop* is a role with state (the Loop object). The *leader* is the thread that holds it. *Loop threads* belong to
the engine, never to the ThreadPool; each is leading, parked (a *spare*), or *late*: it lost the loop in mid-service. A
*service* is a stretch in which one thread runs messages of one connection.

Every loop thread owns a *token*, a plain Lock that is free exactly while the thread serves as the leader: the leader
opens a service by releasing it and ends the service by one try to acquire it. In between it touches nothing but the
connection it serves, as a worker would, so the role may be taken at any instant of a service. A taker (the watchdog,
or the serving thread itself when it announces that it will wait) first takes a spare in hand and then tries once for
the token of the thread it saw leading. Of server and takers exactly one gets it: the role is neither doubled nor lost.
Testing a flag and then setting it would allow two leaders; one token shared by all would let a late thread win the
token of its successor's service and take itself for the leader. A stale look costs a needless hand-over, never a wrong
one. A winner never gives the token back: the server may just have failed its own try, and then nobody would lead.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable

from ..net.connection.connection import Connection
from ..net.loop.leading import Role, RoleLost
from ..net.rare import RareLog
from ..threads.blocking import announce_to
from .meter import Meter

LOOK_INTERVAL = 0.003
"""Seconds between two looks of the watchdog; a service seen by both is taken. Services end after 1 ms by themselves,
so one that lasts longer is one handler's doing."""

PARKED_LOOK, LONGEST_PARKED_LOOK = 0.05, 1.6
"""Seconds; parked, it looks so often all the same, as a net under a wake-up that was lost: less often the longer
nothing is served, so that a server to which nobody is connected does nearly nothing."""

SPARES_KEPT = 3

STUCK_AFTER = 60.0
"""Seconds after which a late thread is reported, once, with its stack. It cannot be killed; another leads."""


class LoopThread:
    """A thread of the engine and its token.

    ``service`` counts the services it opened; it and what follows are written by the thread itself alone.
    """

    __slots__ = ("baton", "connection", "dismissed", "ident", "meter", "name", "service", "token")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ident = 0
        self.token = threading.Lock()
        self.token.acquire()
        self.baton = threading.Lock()
        self.baton.acquire()
        self.dismissed = False
        self.service = 0
        self.connection: Connection | None = None
        self.meter = Meter(here=True)

    @property
    def is_serving(self) -> bool:
        """Whether it serves as the leader just now; may be stale when it is read."""
        return not self.token.locked()

    def open_service(self) -> None:
        """From here on the role may be taken."""
        self.service += 1
        self.token.release()

    def end_service(self) -> bool:
        """Get the token back. False: the role was taken, this thread is late."""
        return self.token.acquire(False)


class Handover:
    """The loop threads of one server, and the watchdog that takes the role from a handler that waits.

    ``_lock`` guards ``parked``, ``_late``, ``_total`` and the counters; no thread is started and no baton released
    under it.

    Args:
        role: names the leader.
        lead: what the leader does: turn until the loop is over. RoleLost passes through.
        limit: late threads allowed; with as many no further spare is started, and everything goes to the pool.
        name: prefix of the threads' names.
        rare: for lines that say that threads are late or missing.
    """

    def __init__(self, role: Role, lead: Callable[[], None], *, limit: int, name: str, rare: RareLog) -> None:
        self._role = role
        self._lead = lead
        self._limit = limit
        self._name = name
        self._rare = rare
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.parked: list[LoopThread] = []
        """The spares; only while one is here may the leader run handlers itself."""
        self._late: dict[LoopThread, float] = {}  # since when; infinity once that has been reported
        self._total = 0
        self._ended = False
        self._watchdog = threading.Thread(target=self._watch, name=f"{name}-watchdog", daemon=True)
        self._watchdog_baton = threading.Lock()
        self._watchdog_baton.acquire()
        self.watchdog_parked = False
        self.leader: LoopThread | None = None
        self.taken = 0
        """Roles taken by the watchdog."""
        self.announced = 0
        """Roles given away by a handler that said it would wait."""

    # For the model --------------------------------------------------------------------------------------------------

    @property
    def late(self) -> int:
        """Threads that are finishing a handler that waited."""
        return len(self._late)

    def start(self) -> None:
        """Start the first leader and the watchdog, which starts the first spare.

        Raises:
            RuntimeError: the system gives no thread; nothing has begun then.
        """
        first = self._start_thread()
        if first is None:
            raise RuntimeError("no thread can be started for the loop")
        self.leader = first
        try:
            self._watchdog.start()
        except RuntimeError:
            self._dismiss(first)
            raise
        first.baton.release()

    def wake_watchdog(self) -> None:
        """A service opens and the watchdog is parked."""
        self.watchdog_parked = False
        try:
            self._watchdog_baton.release()
        except RuntimeError:
            pass  # it is awake already

    # The transitions ------------------------------------------------------------------------------------------------

    def take_spare(self) -> LoopThread | None:
        """Take a parked spare in hand; None if there is none."""
        with self._lock:
            return self.parked.pop() if self.parked else None

    def park(self, spare: LoopThread) -> bool:
        """Put a thread with the spares. False: there are enough of them, it may end."""
        with self._lock:
            if self._ended or len(self.parked) >= SPARES_KEPT:
                return False
            self.parked.append(spare)
        return True

    def take_role(self, server: LoopThread, *, announced: bool) -> bool:
        """Take the role from a thread that was seen serving, for a spare. False: nobody to take it, or too late."""
        spare = self.take_spare()
        if spare is None:
            return False
        won = self.win_role(server, spare, announced=announced)
        if won:
            spare.baton.release()
        elif not self.park(spare):
            self._dismiss(spare)
        return won

    def win_role(self, server: LoopThread, spare: LoopThread, *, announced: bool) -> bool:
        """Try once for the token of a thread that was seen serving. True: the spare leads as soon as it is woken."""
        with self._lock:
            if not server.token.acquire(False):
                return False
            self._late[server] = time.monotonic()
            if announced:
                self.announced += 1
            else:
                self.taken += 1
            # Before it wakes: the late thread must not be taken for the leader any more.
            self.leader = spare
            self._role.leader = spare.ident
        return True

    def return_late(self, thread: LoopThread) -> None:
        """A late thread has finished what it served."""
        with self._lock:
            del self._late[thread]

    # Loop threads ---------------------------------------------------------------------------------------------------

    def _start_thread(self) -> LoopThread | None:
        with self._lock:
            if self._ended or len(self._late) >= self._limit:
                return None
            self._total += 1
        thread = LoopThread(f"{self._name}-{next(self._numbers)}")
        system_thread = threading.Thread(target=self._live, args=(thread,), name=thread.name, daemon=True)
        try:
            system_thread.start()
        except (RuntimeError, MemoryError):
            with self._lock:
                self._total -= 1
            return None
        thread.ident = system_thread.ident or 0
        return thread

    def _live(self, thread: LoopThread) -> None:
        announce_to(lambda: self._announce(thread))
        while True:
            thread.baton.acquire()
            if self._ended or thread.dismissed:
                break
            try:
                self._lead()
            except RoleLost:
                self.return_late(thread)
                if not self.park(thread):
                    break
            else:
                break
        with self._lock:
            self._total -= 1

    def _announce(self, thread: LoopThread) -> None:
        """The thread is about to wait. If it serves as the leader, the loop goes elsewhere first."""
        if not thread.is_serving:
            with self._lock:  # a taker that has won just now has said by then who leads
                return
        connection, replies = thread.connection, thread.meter.replies
        if replies and connection is not None:
            # Replies already made leave before the wait; the others of this read come behind it.
            connection.reply(thread.meter.take_replies())
        if self.take_role(thread, announced=True):
            thread.meter.announce()
            self.wake_watchdog()  # a new spare is needed

    @staticmethod
    def _dismiss(thread: LoopThread) -> None:
        """Let a thread that is not needed end."""
        thread.dismissed = True
        thread.baton.release()

    def end(self) -> None:
        """The loop is over: spares and watchdog end; late threads do when they are back. Twice is harmless."""
        with self._lock:
            self._ended = True
            parked, self.parked = self.parked, []
        for spare in parked:
            spare.baton.release()
        self.wake_watchdog()

    # The watchdog ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        seen: tuple[LoopThread | None, int] = (None, 0)
        since = 0.0
        parked_look = PARKED_LOOK
        while not self._ended:
            self._keep_spare()
            leader = self.leader
            assert leader is not None
            look = (leader, leader.service)
            now = time.monotonic()
            if self._late:
                self._report_stuck(now)
            if look != seen:
                seen, since, parked_look = look, now, PARKED_LOOK
            elif not leader.is_serving:
                # Nothing was served since the last look. To be woken by the next service costs as much as one look.
                self._park(leader, look[1], parked_look if self.parked else PARKED_LOOK)
                parked_look = min(2 * parked_look, LONGEST_PARKED_LOOK)
                continue
            elif now - since >= LOOK_INTERVAL / 2 and self.take_role(leader, announced=False):
                continue  # to start the next spare at once
            self._watchdog_baton.acquire(timeout=LOOK_INTERVAL)

    def _park(self, leader: LoopThread, service: int, longest: float) -> None:
        """Sleep until a service is opened."""
        self.watchdog_parked = True
        with self._lock:  # a barrier: the leader sees that we park, or we see its service
            none_opened = leader.service == service
        if none_opened:
            self._watchdog_baton.acquire(timeout=longest)
        self.watchdog_parked = False

    def _report_stuck(self, now: float) -> None:
        with self._lock:
            stuck = [thread for thread, since in self._late.items() if now - since >= STUCK_AFTER]
            self._late.update(dict.fromkeys(stuck, math.inf))
        for thread in stuck:
            frame = sys._current_frames().get(thread.ident)
            self._rare.log(
                logging.WARNING,
                "stuck",
                "a handler of %r has been running for %.0f s on %s; the loop goes on without that thread:\n%s",
                thread.connection,
                STUCK_AFTER,
                thread.name,
                "".join(traceback.format_stack(frame)).rstrip(),
            )

    def _keep_spare(self) -> None:
        if self.parked or self._ended:
            return
        spare = self._start_thread()
        if spare is None and not self._ended:
            self._rare.log(
                logging.WARNING,
                "no spare",
                "no spare thread for the loop: %d of its threads are late, finishing handlers that wait; until one is "
                "back, every message goes to the pool",
                self.late,
            )
        elif spare is not None and not self.park(spare):
            self._dismiss(spare)
