"""The state of the role: what makes a loop, whichever thread leads it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from ..connection.connection import Connection
from ..deadlines.ring import DeadlineRing
from ..rare import RareLog
from .departures import Departures
from .descriptors import Descriptors
from .mailbox import Mailbox
from .model import Model
from .precedence import Precedence
from .table import ConnectionTable
from .timers import Timers
from .traffic import Traffic

logger = logging.getLogger("mooring")


class State:
    """What the parts of one loop share. The leader's, but for what its own description gives to other threads.

    It is kept here and not in locals, so that a thread that is given the role goes on in the middle of the turn.

    Attributes:
        leader: the thread that leads; None before the start and after the end.
        polled: when the turn began, which is when its poll returned (monotonic seconds).
        now: the same, or when the role changed hands since.
        model: runs the handlers.
        mailbox: what other threads ask for.
        table: the connections by descriptor.
        descriptors: what epoll watches.
        ring: who has to be looked at when.
        timers: what is to be called when.
        ready: connections whose messages did not fit into one service on the loop thread; kept by the model.
        precedence: who is read first.
        departures: replies that leave at the end of the turn.
        closing: connections whose descriptors are closed at the end of the turn.
        traffic: counts.
        rare: for lines that a peer can cause.
    """

    model: Model

    def __init__(self) -> None:
        self.leader: int | None = None
        self.polled = self.now = time.monotonic()
        self.mailbox = Mailbox(self.is_led_here)
        self.table = ConnectionTable()
        self.descriptors = Descriptors(self, self.table)
        self.ring: DeadlineRing[Connection] = DeadlineRing()
        self.timers = Timers(self)
        self.ready: deque[Connection] = deque()
        self.precedence = Precedence(self)
        self.departures = Departures(self)
        self.closing: list[Connection] = []
        self.traffic = Traffic()
        self.rare = RareLog(logger)
        self.descriptors.watch(self.mailbox.fd, self.mailbox.clear_wake)

    def is_led_here(self) -> bool:
        """Whether the calling thread leads."""
        return threading.get_ident() == self.leader
