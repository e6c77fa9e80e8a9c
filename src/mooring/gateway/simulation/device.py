"""One simulated device: a Link whose pushes follow from their seq, and which counts what happens."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from typing import Any

from ...net.address import Address
from ..device.journal import MemoryJournal
from ..device.link import WINDOW, Link
from ..messages import Welcome
from .record import Record
from .statistics import Statistics


class RecordQueue:
    """See ``device.link.Queue``; keeps the numbers only, as a Record makes the rest anew."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.made: deque[int] = deque()

    def begin(self, last_seq: int) -> None:
        """See Queue."""
        if not self._record.has_begun:
            self._record.begin(last_seq, time.time())

    def unacknowledged(self) -> list[int]:
        """See Queue."""
        fresh = set(self.made)
        return [seq for seq in self._record.unacknowledged if seq not in fresh]

    def take(self, count: int) -> list[int]:
        """See Queue."""
        return [self.made.popleft() for _ in range(min(count, len(self.made)))]

    def line(self, seq: int) -> bytes | None:
        """See Queue."""
        return self._record.line(seq) if seq in self._record.unacknowledged else None

    def settle(self, seq: int) -> None:
        """See Queue; the device does it."""

    def refuse(self, seq: int, code: str, detail: str) -> None:
        """See Queue; the device does it."""


class SimulatedDevice(Link):
    """Runs in one event loop with all the others; needs no lock.

    Args:
        name: what it logs in as.
        address: of the gateway.
        rate: pushes a second.
        statistics: shared by all devices.
        token: its proof, where the gateway wants one.
        tls: for a ``tls://`` address.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        rate: float,
        statistics: Statistics,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.record = Record(name, 1 / rate)
        self.begun = asyncio.Event()
        self.settled = asyncio.Event()
        """Set while nothing is unacknowledged."""
        self.settled.set()
        self._made = RecordQueue(self.record)
        self._statistics = statistics
        self._room = asyncio.Event()
        self._logins = 0
        super().__init__(name, address, self._made, MemoryJournal(), token=token, commands=self._echo, tls=tls)

    async def produce(self) -> None:
        """Make pushes at the device's rate, from its first login on; until cancelled."""
        await self.begun.wait()
        interval = self.record.interval
        due = time.monotonic() + random.uniform(0, interval)
        while True:
            await asyncio.sleep(due - time.monotonic())
            while len(self.record.unacknowledged) >= WINDOW:
                self._room.clear()
                await self._room.wait()
            self._make()
            # What a full window kept from being made is not made up for: the device's buffer was full.
            due = max(due + interval, time.monotonic() - interval)

    def _make(self) -> None:
        self._made.made.append(self.record.make(time.monotonic()))
        self.settled.clear()
        self._statistics.pushed += 1
        self.send_more()

    def _echo(self, data: Any) -> Any:
        self._statistics.commands += 1
        return data

    def logged_in(self, welcome: Welcome) -> None:
        """See Link."""
        self.begun.set()
        self._statistics.connected += 1
        self._statistics.reconnects += self._logins > 0
        self._logins += 1

    def lost(self) -> None:
        """See Link."""
        self._statistics.connected -= 1

    def failed(self, error: str) -> None:
        """See Link."""
        self._statistics.last_error = error

    def repeated(self, count: int) -> None:
        """See Link."""
        self._statistics.repeated += count

    def put_off(self, seq: int) -> None:
        """See Link."""
        self._statistics.unavailable += 1

    def acknowledged(self, seq: int) -> None:
        """See Link."""
        made = self.record.settle(seq)
        if made is not None:
            self._statistics.acknowledged += 1
            self._statistics.note_latency(time.monotonic() - made)
            self._has_settled()

    def refused(self, seq: int, code: str, detail: str) -> None:
        """See Link."""
        if self.record.settle(seq, refused=True) is not None:
            self._statistics.refused += 1
            self._statistics.last_error = f"push {seq} of {self.name}: {code}: {detail}"
            self._has_settled()

    def _has_settled(self) -> None:
        self._room.set()
        if not self.record.unacknowledged:
            self.settled.set()
