"""Model ``hybrid``: the loop reads and frames; what is quick runs on the loop thread, what waits in the thread pool.

Which is which is measured (``dispatch``), unless a route is pinned by ``blocking``. The loop thread runs handlers only
while a spare thread is parked, so that the loop can be taken from a handler that turns out to wait (``handover``).
"""

from __future__ import annotations

import threading
from typing import Any

from ..errors import QueueFull
from ..handler import Route
from ..net.connection.connection import Connection
from ..net.connection.items import Item
from ..net.connection.life import CloseReason
from ..net.connection.output import OUTBOX_MARK
from ..net.loop.leading import RoleLost
from ..net.loop.loop import Loop
from ..threads import ThreadPool
from .dispatch import (
    LATE,
    Experience,
    count_in_pool,
    count_on_loop,
    dear_share,
    displaced_price,
    price,
    quick_calls_owed,
)
from .epoll import EpollModel, append_to_inbox
from .handover import Handover, LoopThread
from .meter import Meter
from .serving import Serving

CLEARED = -1
"""``Connection._trial`` of one that was slow once; 0: never; above: quick calls it still owes."""


class HybridModel(EpollModel):
    """Decides for each message which thread runs it. Its own state belongs to the leader.

    ``_notes_lock`` guards what pool threads note of routes that are not on the loop. The pool's queue holds
    connections, not messages: each is in it at most once, as it is marked as served before.

    Args:
        serving: runs the messages.
        pool: runs what may wait.
        loop: owns the descriptors.
        handover: the loop's threads; None if everything is pinned to the pool.
    """

    def __init__(self, serving: Serving, pool: ThreadPool, loop: Loop, handover: Handover | None) -> None:
        super().__init__(serving, loop)
        self._pool = pool
        self._handover = handover
        self._route = serving.handling.route
        self._run = serving.run
        self._precedence = loop.state.precedence
        self._experience = None
        if self._route is not None and self._route.blocking is None:
            self._experience = self._route.experience = Experience()
        self._notes_lock = threading.Lock()
        serving.may_run_here = self._is_quick
        if serving.handling.blocking is None:
            serving.note_in_pool = self._note_in_pool

    # Where it runs --------------------------------------------------------------------------------------------------

    def _is_quick(self, route: Route, connection: Connection) -> bool:
        """The verdict: may a call of this route, on this connection, run on the loop thread?"""
        experience = route.experience
        if experience is None:
            if route.blocking is not None:
                return not route.blocking
            experience = route.experience = Experience()
        return experience.on_loop and connection._trial <= 0

    def _may_serve_here(self, connection: Connection) -> bool:
        """Whether the leader may open a service for this connection now; with several routes, run() looks closer."""
        handover = self._handover
        if handover is None or not handover.parked or self._pool.paused:
            return False
        experience = self._experience
        if experience is not None:  # one route for all, and not pinned: `_is_quick` without the calls
            return connection._trial <= 0 and experience.on_loop
        return self._route is None or self._is_quick(self._route, connection)

    def deliver(self, connection: Connection, items: list[Item]) -> None:
        """See Model. Events go to the pool unless everything is pinned to the loop: nothing is known of them."""
        if connection._served or connection._inbox or connection._outbox_size > OUTBOX_MARK:
            append_to_inbox(connection, items)
            if not connection._served:
                self.resume(connection)
        elif not items:
            return
        elif type(items[0]) is bytes and self._may_serve_here(connection):
            connection._served = True
            self._serve(connection, items)
        else:
            append_to_inbox(connection, items)
            self.resume(connection)

    def resume(self, connection: Connection) -> None:
        """See Model. Never serves at once: it is called in the middle of other things."""
        if connection._outbox_size > OUTBOX_MARK:
            super().resume(connection)
            return
        connection._served = True
        self.resume_served(connection)

    def resume_served(self, connection: Connection) -> None:
        """See EpollModel."""
        blocked = connection._outbox_size > OUTBOX_MARK
        if blocked or (self._waits_for_quick(connection) and self._may_serve_here(connection)):
            super().resume_served(connection)
        else:
            self._precedence.give(connection)
            self._post(connection)

    def _waits_for_quick(self, connection: Connection) -> bool:
        inbox = connection._inbox
        if not inbox:
            return False
        first: Any = inbox[0]
        if type(first) is bytes:
            return True
        if isinstance(first, tuple):  # a Call that came to its turn on the loop and did not belong there
            return self._is_quick(first[0], connection)
        return self.serving.handling.blocking is False

    def ending(self) -> None:
        """See Model: nothing is served on the loop thread any more."""
        if self._handover is not None:
            self._handover.end()

    def serve_ready(self) -> None:
        """See Model. What may not run here any more goes to the pool."""
        for _ in range(len(self._ready)):
            connection = self._ready.popleft()
            if self._may_serve_here(connection):
                self._serve(connection, self.serving.take_inbox(connection))
            else:
                self._post(connection)

    # On the loop thread ---------------------------------------------------------------------------------------------

    def _serve(self, connection: Connection, items: list[Item]) -> None:
        """A service of the leader: while it is open the role may be taken, and nothing but the connection is touched.

        Raises:
            RoleLost: it was taken.
        """
        handover = self._handover
        assert handover is not None
        thread = handover.leader
        assert thread is not None
        meter = thread.meter
        thread.connection = connection
        thread.open_service()
        if handover.watchdog_parked:
            handover.wake_watchdog()
        try:
            done = self._run(connection, items, meter)
        except BaseException as exc:  # noqa: BLE001 - the service must be ended, or two threads would lead
            done = self.serving.give_up(connection, items, meter, exc)
        if not thread.end_service():
            self._finish_late(thread, connection, items, done)
        if meter.replies:
            self._departures.add(connection, meter.take_replies())
        if meter.longest:
            self._learn(connection, meter)
            meter.forget()
        elif self._experience is not None:
            self._experience.calls += done
        elif meter.routes:
            self._count_quick(meter.routes)
        if done == len(items) and connection._inbox is None and not connection._watched:
            connection._served = False  # no lock: only leaders fill inboxes
        else:
            self._leave(connection, items, done)

    def _finish_late(self, thread: LoopThread, connection: Connection, items: list[Item], done: int) -> None:
        """The role was taken in mid-service: finish as a worker does and leave the loop's code."""
        meter = thread.meter
        if meter.replies:
            connection.reply(meter.take_replies())
        culprit = meter.announced or meter.longest_route or meter.route
        announced = meter.announced is not None
        if culprit is not None:
            calls = done if self._route is not None else meter.routes.count(culprit)
            cost = price(meter.longest, announced=announced, taken=not announced)
            if cost:
                cost *= self._note_dear(connection, announced=announced)
            self._loop.post(lambda: self._count(culprit, calls, cost))
        meter.forget()
        if self.serving.finish(connection, items, done):
            self._post(connection)
        else:
            self.serving.attend(connection)  # what the leader would have seen after the service
        raise RoleLost

    # Learning -------------------------------------------------------------------------------------------------------

    def _learn(self, connection: Connection, meter: Meter) -> None:
        """A service ended that had a late call. The leader's."""
        self._count_quick(meter.routes)
        culprit = meter.longest_route
        cost = price(meter.longest, announced=False, taken=False)
        if culprit is not None and cost:
            self._count(culprit, 1, cost * self._note_dear(connection, announced=False))

    @staticmethod
    def _count_quick(routes: list[Route]) -> None:
        """These were called. The leader's: it alone counts calls of routes that are on the loop, without a lock."""
        for route in set(routes):
            if route.experience is not None:
                route.experience.calls += routes.count(route)
        routes.clear()

    def _count(self, route: Route, calls: int, cost: float) -> None:
        if route.experience is not None:
            with self._notes_lock:
                count_on_loop(route.experience, calls, cost)

    def _note_dear(self, connection: Connection, *, announced: bool) -> float:
        """The connection had a dear call on the loop: the pool serves it for now. Returns the call's weight."""
        weight = dear_share(first=connection._trial == 0, announced=announced)
        connection._trial = quick_calls_owed(announced=announced)
        return weight

    def _note_in_pool(self, connection: Connection, route: Route, seconds: float, announced: bool) -> None:
        """A call was served in the pool, by this thread, which is the connection's one server."""
        experience = route.experience
        if connection._trial > 0:
            if seconds <= LATE and not announced:
                connection._trial = connection._trial - 1 or CLEARED
            elif experience is not None and experience.on_loop:
                # (Slow calls of a slow route say nothing of the connection.)
                cost = displaced_price(connection._trial, announced=announced)
                if cost and self._route is None:
                    self._loop.post(lambda: self._count(route, 0, cost))
                connection._trial = quick_calls_owed(announced=announced)
        if experience is not None and not experience.on_loop:
            with self._notes_lock:
                count_in_pool(experience, seconds, announced=announced)

    # In the pool ----------------------------------------------------------------------------------------------------

    def _work(self, connection: Connection) -> None:
        more = self.serving.work(connection)
        # Replies may be outstanding that the leader could not count: their messages were in this thread's hands.
        if connection._replies and not connection._watched and self._loop.input.is_full(connection):
            self.serving.attend(connection)
        if more:
            self._post(connection)

    def _post(self, connection: Connection) -> None:
        try:
            self._pool.post(self._work, connection)
        except (RuntimeError, QueueFull) as exc:
            # The pool is shut down, as at the end of a stop whose time is over, the system gives it no thread, or it
            # is a pool of the user's with a limit, which many waiting connections have reached.
            with connection._lock:
                connection._served = False
                connection._inbox = None
            connection.end(CloseReason.REFUSED, f"nobody can serve it: {exc}", dropping=True, abort=True)
