"""When devices connected and were last heard of: collected in memory, written in batches by one thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Final

from ..net.connection import Connection
from .store import Device, Store, Unavailable

logger = logging.getLogger("mooring.gateway")

INTERVAL: Final = 10.0
"""Seconds between two batches: as much may be missing of ``last_seen_at`` after a crash."""
BATCH_SIZE: Final = 500
"""Devices in one commit: enough to make it cheap, few enough that nobody waits long for their rows."""


class Presence:
    """A login costs the database no write, and neither does a heartbeat: a reconnecting fleet must not melt it.

    ``_lock`` guards ``_noted``. The thread is started by ``start`` and ended, after a last batch, by ``close``.

    Args:
        store: where to write.
        connections: those that are open; of each the session is a Device once it has logged in.
        interval: seconds between two batches.
    """

    def __init__(self, store: Store, connections: Iterable[Connection], interval: float = INTERVAL) -> None:
        self._store = store
        self._connections = connections
        self._interval = interval
        self._lock = threading.Lock()
        self._noted: dict[int, tuple[float | None, float]] = {}  # device id -> (connected at, last seen at)
        self._written: dict[int, float] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mooring-presence", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what is left and end."""
        self._closing.set()
        self._thread.join()

    def connected(self, device: Device, now: float) -> None:
        """A device has logged in."""
        with self._lock:
            self._noted[device.id] = (now, now)

    def seen(self, device: Device, when: float) -> None:
        """A device was heard of; times are Unix seconds."""
        with self._lock:
            connected_at, last = self._noted.get(device.id, (None, 0.0))
            self._noted[device.id] = (connected_at, max(last, when))

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self._write()
        self._write()

    def _write(self) -> None:
        try:
            self._note_open()
            with self._lock:
                noted, self._noted = self._noted, {}
            rows = [(connected_at, seen, number) for number, (connected_at, seen) in noted.items()]
            for first in range(0, len(rows), BATCH_SIZE):
                self._store.note_presence(rows[first : first + BATCH_SIZE])
        except Unavailable as exc:
            # The next batch writes what is true then; only who left meanwhile keeps an older time.
            logger.info("last_seen_at of devices could not be written: %s", exc)
        except Exception:
            logger.exception("last_seen_at of devices could not be written")

    def _note_open(self) -> None:
        """Note those of the open connections that were heard of since the last batch."""
        written: dict[int, float] = {}
        for connection in self._connections:
            device = connection.session
            if isinstance(device, Device):
                written[device.id] = when = connection.last_received_at
                if when > self._written.get(device.id, 0.0):
                    self.seen(device, when)
        self._written = written
