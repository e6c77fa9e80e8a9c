"""Looks whether those who are here may still be here: several processes may serve one database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..net.connection.connections import Connections
from .tables.devices import Devices
from .times import to_seconds, to_text
from .visits import Visit

BATCH_SIZE: Final = 500
LOOK_BACK: Final = 2.0
"""Seconds before the last look in which a login at another server was, if it is to be found at once: it is written a
moment after it has happened, and clocks differ. What is older is found by the next roll call."""
REPLACED_RETRY_AFTER: Final = 60.0
"""Seconds that a replaced device stays away: two devices of one name would push each other out for ever else."""
REMOVED_RETRY_AFTER: Final = 3600.0


class RollCall:
    """Closes the connection of a device that has logged in elsewhere since, or that has lost its token.

    Args:
        devices: the table.
        connections: those that are open.
        sent_away: told of each, with the reason.
    """

    def __init__(self, devices: Devices, connections: Connections, sent_away: Callable[[Visit, str], None]) -> None:
        self._devices = devices
        self._connections = connections
        self._sent_away = sent_away
        self._looked_at = time.time()

    def call(self) -> None:
        """Look at all who are here.

        Raises:
            Unavailable.
        """
        sessions = [connection.session for connection in self._connections]
        visits = [session for session in sessions if isinstance(session, Visit)]
        for first in range(0, len(visits), BATCH_SIZE):
            self._call(visits[first : first + BATCH_SIZE])

    def look(self) -> None:
        """Look at those who have logged in anywhere since the last look.

        Raises:
            Unavailable.
        """
        began = time.time()
        logins = self._devices.logins_since(min(began, self._looked_at) - LOOK_BACK)
        self._looked_at = began
        now = to_text(time.time())
        for name, connected_at in logins:
            connection = self._connections.get(name)
            if connection is not None and isinstance(connection.session, Visit):
                self._compare(connection.session, connected_at, now)

    def _call(self, visits: list[Visit]) -> None:
        rows = self._devices.roll_call([visit.device.id for visit in visits])
        now = to_text(time.time())
        for visit in visits:
            token_hash, connected_at = rows.get(visit.device.id, (None, None))
            if visit.device.id not in rows or visit.device.token_hash not in (None, token_hash):
                self._send_away(visit, "removed", REMOVED_RETRY_AFTER)
            elif connected_at is not None:
                self._compare(visit, connected_at, now)

    def _compare(self, visit: Visit, newest: str, now: str) -> None:
        """Send a device away if the newest login that is written is a later one than its own."""
        if visit.began is None:
            return  # it is about to log in
        began = to_text(visit.began)
        if newest == began:
            visit.is_written = True
        elif newest > began and (newest <= now or visit.is_written):  # later logins have read what was written
            self._send_away(visit, "replaced", REPLACED_RETRY_AFTER)
        elif newest > began:
            # Another server, whose clock is ahead, had not read of ours, nor we of it: that says nothing of who was
            # first, nor will it when our clock has come so far.
            visit.began = to_seconds(newest)

    def _send_away(self, visit: Visit, reason: str, retry_after: float) -> None:
        if visit.connection.close_reason is None:
            self._sent_away(visit, reason)  # before the device can see it
            visit.send_away(reason, retry_after)
