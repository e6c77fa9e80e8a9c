"""When devices connected and were last heard of: collected in memory, written in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from ..net.connection.connections import Connections
from .tables.database import Unavailable
from .tables.devices import Device, Devices
from .visits import Visit

Noted: TypeAlias = tuple[float | None, float]
"""When a device connected (None: not since the last batch), and when it was last seen; Unix seconds."""

BATCH_SIZE: Final = 500
"""Devices in one commit: enough to make it cheap, few enough that nobody waits long for their rows."""
TICK: Final = 0.001
"""Seconds between two times that the tables tell apart."""


class Presence:
    """A login costs the database no write, and neither does a heartbeat: a reconnecting fleet must not melt it.

    ``_lock`` guards ``_noted`` and ``_leaving``; ``write`` is called by one thread at a time.

    Args:
        devices: where to write.
        connections: those that are open; of each the session is a Visit once it has logged in.
    """

    def __init__(self, devices: Devices, connections: Connections) -> None:
        self._devices = devices
        self._connections = connections
        self._lock = threading.Lock()
        self._noted: dict[int, Noted] = {}  # by the device's id
        self._leaving: dict[int, Noted] = {}  # what is being written now
        self._written: dict[int, float] = {}

    def connected(self, visit: Visit, before: float = 0.0) -> bool:
        """A device has logged in, and its connection has got the name; sets ``visit.began``.

        Of several logins of one name all are sent away but the latest by its time, so that must be the one that has
        the name: one that has lost it meanwhile does not count, and the time is taken under the lock. It is later than
        that of every login which is known, whatever the clock says: it may have been put back since, or be behind that
        of another server.

        Args:
            before: when the last login was that the database knew of, in Unix seconds.

        Returns:
            Whether it has the name still.
        """
        with self._lock:
            if self._connections.get(visit.device.name) is not visit.connection:
                return False
            now = time.time()
            known = [noted.get(visit.device.id, (None, 0.0))[0] or 0.0 for noted in (self._noted, self._leaving)]
            visit.began = max(now, *(earlier + TICK for earlier in (before, *known)))
            self._noted[visit.device.id] = (visit.began, now)
            return True

    def seen(self, device: Device, when: float) -> None:
        """A device was heard of; times are Unix seconds."""
        with self._lock:
            connected_at, last = self._noted.get(device.id, (None, 0.0))
            self._noted[device.id] = (connected_at, max(last, when))

    def write(self) -> None:
        """Write what has been noted since the last time.

        Raises:
            Unavailable: what was not written is kept.
        """
        self._note_open()
        self._write(lambda noted: True)

    def write_logins(self) -> None:
        """Write of those who have logged in since the last time: other servers are to see it.

        Raises:
            Unavailable: what was not written is kept.
        """
        self._write(lambda noted: noted[0] is not None)

    def _write(self, is_due: Callable[[Noted], bool]) -> None:
        with self._lock:
            due = {number: noted for number, noted in self._noted.items() if is_due(noted)}
            for number in due:
                del self._noted[number]
            self._leaving = due
        rows = [(connected_at, seen, number) for number, (connected_at, seen) in sorted(due.items())]
        for first in range(0, len(rows), BATCH_SIZE):
            try:
                self._devices.note_presence(rows[first : first + BATCH_SIZE])
            except Unavailable:
                self._keep(rows[first:])
                raise

    def _keep(self, rows: list[tuple[float | None, float, int]]) -> None:
        with self._lock:
            for connected_at, seen, number in rows:
                newer_connected, newer_seen = self._noted.get(number, (None, 0.0))
                connected = connected_at if newer_connected is None else newer_connected
                self._noted[number] = (connected, max(seen, newer_seen))

    def _note_open(self) -> None:
        """Note those of the open connections that were heard of since the last batch."""
        written: dict[int, float] = {}
        for connection in self._connections:
            visit = connection.session
            if isinstance(visit, Visit):
                number = visit.device.id
                written[number] = when = connection.last_received_at
                if when > self._written.get(number, 0.0):
                    self.seen(visit.device, when)
        self._written = written
