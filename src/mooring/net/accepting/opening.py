"""Openings: what a new socket has to go through before it is a connection, such as a TLS handshake.

    accepted -> stage 1 -> stage 2 -> ... -> a connection

Each listener has its stages; most have none, and their sockets never come here. An opening is watched by the loop's
epoll like everything else and advanced by the loop's thread, a millisecond in a turn, so that a thousand
handshakes that come at once do not hold up the connections that are there already.

A peer that says nothing costs a descriptor and little more, but there may be only so many openings at a time. When
all places are taken the listener rests, and clients wait in the kernel's backlog: they are not refused, as after a
restart the whole fleet comes at once and would only come again. So that silent peers cannot keep the others out for as
long as a stage allows, whoever takes longer than a moment then has to go. Peers that wait for us never do.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..address import unpack_address
from ..rare import RareLog

logger = logging.getLogger("mooring")

IN, OUT = select.EPOLLIN, select.EPOLLOUT

TIME_PER_TURN = 0.0003
"""Seconds that openings may take of one turn of the loop: in most turns one step of one handshake, which is computed in
one piece. Those that are left are as ready in the next turn, and those who are connected are served in between."""

SHARE_OF_TIME, MOST_PER_TURN = 0.1, 0.05
"""They may take this share of the time since their turn before, up to so many seconds, if that is more: where handlers
wait on the loop's thread (model "epoll"), or a thousand threads want the interpreter (model "threads"), turns are long
and few, and one step in each would be too late for most."""

SWEEP_INTERVAL = 0.1
"""Seconds between two looks at the deadlines while there are openings. A look that is later by more than that gives all
of them the time back: the loop did not come round, and they waited for us."""

PATIENCE = 2.0
"""Seconds for which a peer may keep its place while others wait for one, or say nothing while the server stops."""


class OpeningFailed(Exception):
    """The peer does not get through a stage.

    Args:
        reason: one word for counters, such as "timeout".
        detail: for the log.
        level: of the line in the log.
    """

    def __init__(self, reason: str, detail: str, level: int = logging.INFO) -> None:
        super().__init__(detail)
        self.reason = reason
        self.level = level


class Step(Protocol):
    """One socket on its way through one stage. Belongs to the loop's thread.

    Attributes:
        socket: what stands for the socket from here on, once ``advance`` has returned 0: the same, or a layer on it
            with the methods of a socket and the same descriptor. Until then the socket that was given is the owner of
            the descriptor.
    """

    socket: Any

    def advance(self) -> int:
        """Go as far as possible without waiting.

        Returns:
            What to wait for, EPOLLIN or EPOLLOUT; 0 when the stage is done.

        Raises:
            OpeningFailed: the peer is not let through; what there is to say to it has been said.
            OSError: the socket broke.
        """


class Stage(Protocol):
    """Something to go through; shared by all openings of its listeners.

    Attributes:
        name: one word for counters and lines, such as "tls".
        timeout: seconds.
        setting: what sets them, for the line of one that was too slow.
    """

    name: str
    timeout: float
    setting: str

    def begin(self, sock: Any) -> Step:
        """Begin with a socket; ``advance`` is called next, whether or not there is anything to read."""


class Opening:
    """A socket on its way.

    Attributes:
        begun: when it was accepted (monotonic seconds).
        deadline: of its stage.
        since: when its stage began, or when it last waited for us.
        step: on the way through it; None while nothing has come of the peer.
    """

    __slots__ = ("begun", "deadline", "events", "left", "peer", "since", "socket", "stage", "step")

    def __init__(self, sock: Any, peer: Any, stages: Sequence[Stage], now: float) -> None:
        self.socket = sock
        self.peer = peer
        self.left = list(stages)
        self.events = 0
        self.begun = now
        self.step: Step | None = None
        self.enter_stage(now)

    def enter_stage(self, now: float) -> None:
        """The next stage that is left is on from now on."""
        self.stage = self.left.pop(0)
        self.deadline = now + self.stage.timeout
        self.since = now

    def give_back(self, seconds: float) -> None:
        """So much of its time was our doing."""
        self.deadline += seconds
        self.since += seconds

    def advance(self, now: float) -> int:
        """Go as far as possible without waiting, through all stages; see Step."""
        if self.step is None:
            self.step = self.stage.begin(self.socket)
        while (wanted := self.step.advance()) == 0:
            self.socket = self.step.socket
            self.peer = getattr(self.socket, "announced", self.peer)
            if not self.left:
                return 0
            self.enter_stage(now)
            self.step = self.stage.begin(self.socket)
        return wanted


class Openings:
    """All openings of a loop; belongs to its thread, as everything here.

    Args:
        limit: how many there may be at a time.
        done: is given the socket that went through all its stages, and the peer's address, packed.
        turn: when the turn of the loop began (monotonic seconds).
        watch, rewatch, unwatch: (un)register a descriptor at the loop.
        call_later: run a function in so many seconds.
        rare: for lines that a client can cause.

    Attributes:
        opened: sockets that went through so far.
        failed: those that did not, by stage and reason: ``tls_timeout``.
        when_full: told when there is no room any more (True), and when there is again (False).
        when_failed: told of each that failed: its socket, which is closed after, and why.
    """

    def __init__(
        self,
        *,
        limit: int,
        done: Callable[[Any, Any], None],
        turn: Callable[[], float],
        watch: Callable[[int, Callable[[], None], int], None],
        rewatch: Callable[[int, int], None],
        unwatch: Callable[[int], None],
        call_later: Callable[[float, Callable[[], None]], None],
        rare: RareLog,
    ) -> None:
        self.limit = limit
        self.opened = 0
        self.failed: Counter[str] = Counter()
        self.when_full: Callable[[bool], None] = lambda full: None
        self.when_failed: Callable[[Any, str], None] = lambda sock, reason: None
        self._done = done
        self._turn = turn
        self._watch = watch
        self._rewatch = rewatch
        self._unwatch = unwatch
        self._call_later = call_later
        self._rare = rare
        self._all: set[Opening] = set()
        self._full = False
        self._sweeping = False
        self._next_sweep = 0.0
        self._turn_seen = 0.0
        self._turn_began = time.monotonic()
        self._time_left = 0.0

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, sock: socket.socket, peer: Any, stages: Sequence[Stage]) -> None:
        """Send a new socket through these stages.

        Raises:
            OSError: the socket is gone already; it is the caller's still.
        """
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now = time.monotonic()
        opening = Opening(sock, peer, stages, now)
        opening.events = IN  # the peers of all our stages speak first
        self._watch(sock.fileno(), lambda: self._ready(opening), IN)
        self._all.add(opening)
        self._note_room()
        if not self._sweeping:
            self._sweep_later(now)

    def must_be_waited_for(self, now: float) -> bool:
        """Whether a drain that has nothing else to do has to go on for their sake: not for those who say nothing.

        Args:
            now: monotonic seconds.
        """
        return any(opening.step is not None or now < opening.begun + PATIENCE for opening in self._all)

    def close(self) -> None:
        """End all, as the loop ends."""
        for opening in list(self._all):
            self._fail(opening, "stop", "the server stops", logging.DEBUG)

    def abandon(self) -> None:
        """In a forked child: close the descriptors, without a word to the peers."""
        for opening in self._all:
            opening.socket.close()
        self._all.clear()

    # On the way -----------------------------------------------------------------------------------------------------

    def _ready(self, opening: Opening) -> None:
        """The opening can go on; it does unless the others have used up the turn's time."""
        turn, now = self._turn(), time.monotonic()
        if turn != self._turn_seen:
            share = SHARE_OF_TIME * (now - self._turn_began)
            self._turn_seen, self._turn_began = turn, now
            self._time_left = max(TIME_PER_TURN, min(share, MOST_PER_TURN))
        if self._time_left > 0:
            self._advance(opening, now)
            self._time_left -= time.monotonic() - now
        else:
            opening.since = now

    def _advance(self, opening: Opening, now: float) -> None:
        try:
            wanted = opening.advance(now)
        except OpeningFailed as exc:
            self._fail(opening, exc.reason, str(exc), exc.level)
        except OSError as exc:
            self._fail(opening, "reset", exc.strerror or str(exc), logging.DEBUG)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must cost one client, not the loop
            self._rare.log(logging.ERROR, "opening", "the %s stage failed", opening.stage.name, exc_info=True)
            self._fail(opening, "fault", f"{type(exc).__name__} in our code")
        else:
            if not wanted:
                self._finish(opening)
            elif wanted != opening.events:
                opening.events = wanted
                self._rewatch(opening.socket.fileno(), wanted)

    def _finish(self, opening: Opening) -> None:
        self._forget(opening)
        self.opened += 1
        self._done(opening.socket, opening.peer)

    def _fail(self, opening: Opening, reason: str, detail: str, level: int = logging.INFO) -> None:
        self._forget(opening)
        kind = f"{opening.stage.name}_{reason}"
        if logger.isEnabledFor(level):  # before the peer can see its end
            peer = unpack_address(opening.peer) if isinstance(opening.peer, int | tuple) else "a local peer"
            self._rare.log(level, kind, "%s was closed before it was a connection (%s): %s", peer, kind, detail)
        self.failed[kind] += 1  # who sees it finds the line in the log
        try:
            self.when_failed(opening.socket, kind)
        finally:
            # At once, in the middle of a turn: if the number is given to another in this same turn, whatever this one
            # was reported for makes the other look for bytes that are not there, and nothing worse.
            opening.socket.close()

    def _forget(self, opening: Opening) -> None:
        self._all.discard(opening)
        self._unwatch(opening.socket.fileno())
        self._note_room()

    def _note_room(self) -> None:
        """Tell of a change; there is room again only when there is some, or the listeners would come and go."""
        full = len(self._all) >= (self.limit - self.limit // 4 if self._full else self.limit)
        if full != self._full:
            self._full = full
            self.when_full(full)

    # Time -----------------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Judge all; those whose time is over are tried once more before, as we may be late ourselves."""
        now = time.monotonic()
        late = now - self._next_sweep
        for opening in list(self._all):
            if opening not in self._all:
                continue
            if late > SWEEP_INTERVAL:
                opening.give_back(late)
            if opening.deadline <= now:
                self._advance(opening, now)
                if opening in self._all and opening.deadline <= now:
                    stage = opening.stage
                    self._fail(opening, "timeout", f"not done within {stage.timeout:g} s ({stage.setting})")
            elif self._full and opening.since + PATIENCE <= now:
                detail = f"not done within {PATIENCE:g} s while all {self.limit} places are taken"
                self._fail(opening, "crowded", detail)
        self._sweeping = False
        if self._all:
            self._sweep_later(time.monotonic())

    def _sweep_later(self, now: float) -> None:
        self._sweeping = True
        self._next_sweep = now + SWEEP_INTERVAL
        self._call_later(SWEEP_INTERVAL, self._sweep)
