"""Brings commands from the table to the devices that are here: in order, one unanswered at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from ..errors import ConnectionClosed, FrameError
from .messages import Command
from .outage import Outage
from .tables.commands import Commands, DueCommand
from .tables.database import Unavailable
from .visits import Visit

logger = logging.getLogger("mooring.gateway")

INTERVAL: Final = 0.3
"""Seconds between two looks into the table."""
SETTLED_AFTER: Final = 10.0
"""Seconds after which no lower id is expected any more: ids are given before the commit, and commits overtake."""
SWEEP_INTERVAL: Final = 30.0
"""Seconds between two looks for all that is open for those who are here: there may be commits that took longer."""
GREETING_TIME: Final = 0.05
"""Seconds that a command waits after a login, so that the welcome leaves first."""


@dataclass(slots=True)
class _Place:
    """A device that is here.

    Args:
        visit: how to speak to it.
        due_at: when to look for its next command (monotonic seconds); None: there is none to be expected.
        outstanding: id of the command that it has not answered.
        expires_at: when that one expires (Unix seconds); None: never.
    """

    visit: Visit
    due_at: float | None = None
    outstanding: int | None = None
    expires_at: float | None = None


class Dispatcher:
    """The lock guards ``_places`` and what is in it; everything else belongs to the thread that calls ``look``.

    A command is sent again only by another connection: on the same one, nothing is lost.

    Args:
        commands: the table.
        wake: has ``look`` called soon.
        clock: monotonic seconds.
    """

    def __init__(
        self, commands: Commands, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._commands = commands
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[int, _Place] = {}
        self._settled = 0
        self._seen: list[tuple[float, int]] = []  # (when, highest id that was there), ascending
        self._swept_at = clock()
        self._outage = Outage(logging.WARNING, "commands cannot be read")

    def begin(self) -> None:
        """Before the first login: what is in the table already is found by logins.

        Raises:
            Unavailable.
        """
        self._settled = self._commands.highest()

    def arrived(self, visit: Visit, *, has_commands: bool) -> None:
        """A device has logged in; what it has not answered by another connection is sent again."""
        due_at = self._clock() + GREETING_TIME if has_commands else None
        with self._lock:
            if visit.connection.close_reason is not None:
                return  # another connection is this device by now, or none: the place is not this one's to take
            self._places[visit.device.id] = _Place(visit, due_at)
        if has_commands:
            self._wake()

    def left(self, visit: Visit) -> None:
        """A device's connection has ended."""
        with self._lock:
            place = self._places.get(visit.device.id)
            if place is not None and place.visit is visit:
                del self._places[visit.device.id]

    def answered(self, visit: Visit, number: int) -> None:
        """A device has answered a command, and that is recorded."""
        if self._free(visit, number):
            self._wake()

    def look(self) -> None:
        """Look for new commands, and send what is due."""
        with self._outage.tolerated():
            self._commands.expire(time.time())
            self._find_new()
            self._sweep()
            self._send_due()

    # ------------------------------------------------------------------------------------------------ what is new

    def _find_new(self) -> None:
        now = self._clock()
        above = self._settled
        while found := self._commands.after(above):
            above = found[-1][0]
            self._mark_due([device for _, device in found], now)
            if len(found) < 1000:
                break
        self._seen.append((now, above))
        while self._seen[0][0] <= now - SETTLED_AFTER:
            self._settled = max(self._settled, self._seen.pop(0)[1])

    def _sweep(self) -> None:
        now = self._clock()
        if now < self._swept_at + SWEEP_INTERVAL:
            return
        self._swept_at = now
        with self._lock:
            here = sorted(number for number, place in self._places.items() if place.outstanding is None)
        self._mark_due(self._commands.waiting(here), now)

    def _mark_due(self, devices: list[int] | set[int], now: float) -> None:
        with self._lock:
            for number in devices:
                place = self._places.get(number)
                if place is not None and place.due_at is None:
                    place.due_at = now

    # ---------------------------------------------------------------------------------------------------- sending

    def _send_due(self) -> None:
        now, unix = self._clock(), time.time()
        with self._lock:
            due: dict[int, Visit] = {}
            for number, place in self._places.items():
                if place.outstanding is not None and place.expires_at is not None and place.expires_at <= unix:
                    place.outstanding, place.due_at = None, now
                if place.outstanding is None and place.due_at is not None and place.due_at <= now:
                    due[number] = place.visit
        if not due:
            return
        found = self._commands.next_for(sorted(due), unix)
        chosen = self._claim(found, due)
        if not chosen:
            return
        try:
            self._commands.note_sent([command.id for command, _ in chosen], unix)
        except Unavailable:
            for command, visit in chosen:
                self._free(visit, command.id)
            raise
        for command, visit in chosen:
            self._send(command, visit)

    def _claim(self, found: list[DueCommand], due: dict[int, Visit]) -> list[tuple[DueCommand, Visit]]:
        """Note what each device is about to get; who has left meanwhile, or come anew, gets nothing now."""
        commands = {command.device_id: command for command in found}
        chosen = []
        with self._lock:
            for number, visit in due.items():
                place = self._places.get(number)
                if place is None or place.visit is not visit:
                    continue
                command = commands.get(number)
                place.due_at = None
                if command is not None:
                    place.outstanding, place.expires_at = command.id, command.expires_at
                    chosen.append((command, visit))
        return chosen

    def _send(self, command: DueCommand, visit: Visit) -> None:
        if command.expires_at is not None and command.expires_at <= time.time():
            return  # the next look ends it
        message = Command(command.id, msgspec.Raw(command.data.encode()), command.expires_at)
        try:
            error = None if visit.send(message) else "the device's protocol has no words for commands"
        except ConnectionClosed:
            self.left(visit)  # it gets the command when it comes again
            return
        except (ValueError, FrameError) as exc:
            error = f"the device's protocol cannot carry this command: {exc}"
        except Exception as exc:
            logger.exception("%r: the codec failed with command %d", visit.connection, command.id)
            error = f"the codec failed with this command: {exc!r}"
        if error is not None:
            self._give_up(command, visit, error)

    def _give_up(self, command: DueCommand, visit: Visit, error: str) -> None:
        try:
            self._commands.finish(command.id, visit.device.id, time.time(), None, error)
        except Unavailable as exc:
            logger.info("command %d could not be recorded as failed, it is tried again: %s", command.id, exc)
        self._free(visit, command.id)

    def _free(self, visit: Visit, number: int) -> bool:
        """The device may get the next command; False: it is gone."""
        with self._lock:
            place = self._places.get(visit.device.id)
            if place is None or place.visit is not visit:
                return False
            if place.outstanding == number:
                place.outstanding = None
            place.due_at = self._clock()
            return True
