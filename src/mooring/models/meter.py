"""What a thread notes of the service it runs."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from ..handler import Route
from ..threads.blocking import announce_to
from .dispatch import LATE
from .tally import CallTallies, CallTally


class Meter:
    """What a thread notes of the service it runs, for replies and for learning. Belongs to that thread.

    Attributes:
        on_loop: whether the thread is a loop's; it sends the replies of services together.
        here: True on a loop thread that leads: a route that belongs into the pool is not begun.
        replies: framed replies that have not been handed to the connection yet.
        route: the route of the message that runs.
        routes: those of the messages that were run, if there are several routes.
        longest: seconds of the longest call that was late; 0.0 if none was.
        longest_route: its route.
        announced: the route that said it would wait.
        tally: what the thread counts of the server that it serves now; None while it serves none.
    """

    __slots__ = (
        "__weakref__", "_tallies", "announced", "here", "longest", "longest_route", "on_loop", "replies", "route",
        "routes", "tally",
    )  # fmt: skip

    def __init__(self, *, here: bool = False, on_loop: bool = False) -> None:
        self.here = here
        self.on_loop = here or on_loop
        self.tally: CallTally | None = None
        self._tallies: WeakValueDictionary[object, CallTally] = WeakValueDictionary()
        self.replies: list[bytes] = []
        self.route: Route | None = None
        self.routes: list[Route] = []
        self.longest = 0.0
        self.longest_route: Route | None = None
        self.announced: Route | None = None

    def announce(self) -> None:
        """The running call says that it will wait."""
        self.announced = self.route

    def turn_to(self, owner: CallTallies) -> CallTally:
        """The thread serves another server from here on."""
        tally = self._tallies.get(owner.server)
        if tally is None:
            tally = self._tallies[owner.server] = owner.open(self, on_loop=self.on_loop)
        self.tally = tally
        return tally

    def note_slow(self, seconds: float) -> None:
        """The message that ran took longer than QUICK."""
        if self.route is not None and self.tally is not None:
            self.tally.of(self.route).note_slow(seconds)
        if seconds > LATE and seconds > self.longest:
            self.longest, self.longest_route = seconds, self.route

    def take_replies(self) -> bytes:
        """The replies that are there, joined, to be sent now."""
        replies, tally = self.replies, self.tally
        count = len(replies)
        data = replies[0] if count == 1 else b"".join(replies)
        if tally is not None:
            tally.sent += count
            tally.sent_bytes += len(data)
        replies.clear()
        return data

    def forget(self) -> None:
        """Begin anew; replies have been handed over."""
        self.longest = 0.0
        self.routes.clear()
        self.route = self.longest_route = self.announced = None


class _Here(threading.local):
    meter: Meter | None = None


_here = _Here()


def meter_of_this_thread() -> Meter:
    """The meter of a thread that is no loop thread; its announcements are noted there."""
    meter = _here.meter
    if meter is None:
        meter = _here.meter = Meter()
        announce_to(meter.announce)
    return meter
