"""One simulated device: logs in, pushes, answers pings, comes back, and repeats what was not acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

import msgspec

from ...net.address import Address
from ..json_lines import encode
from ..messages import Ack, Bye, Error, Hello, Ping, Pong, ToDevice, Welcome
from .backoff import full_jitter
from .record import Record
from .statistics import Statistics

WINDOW: Final = 64
"""Pushes that may be unacknowledged; a device that has so many makes no more for the time being."""
CONNECT_TIMEOUT: Final = 10.0
WELCOME_TIMEOUT: Final = 60.0
LINE_LIMIT: Final = 1 << 17

_decoder: Final[msgspec.json.Decoder[ToDevice]] = msgspec.json.Decoder(ToDevice)
_PONG: Final = encode(Pong()) + b"\n"
_BYE: Final = encode(Bye()) + b"\n"


class SimulatedDevice:
    """Runs in one event loop with all the others; needs no lock.

    Args:
        name: what it logs in as.
        address: of the gateway.
        rate: pushes a second.
        statistics: shared by all devices.
    """

    def __init__(self, name: str, address: Address, rate: float, statistics: Statistics) -> None:
        self.record = Record(name, 1 / rate)
        self.begun = asyncio.Event()
        self.settled = asyncio.Event()
        """Set while nothing is unacknowledged."""
        self.settled.set()
        self._address = address
        self._statistics = statistics
        self._writer: asyncio.StreamWriter | None = None
        self._room = asyncio.Event()
        self._failures = 0
        self._logins = 0
        self._retry_after: float | None = None
        self._repeat: set[int] = set()
        self._repeat_timer: asyncio.TimerHandle | None = None
        self._refusals_in_a_row = 0

    async def stay_connected(self) -> None:
        """Connect, and connect again whenever that ends; until cancelled."""
        while True:
            try:
                await self._connect_once()
                self._statistics.last_error = f"{self._address} closed the connection"
            except (OSError, TimeoutError, ValueError) as exc:  # ValueError: a line over the limit
                self._statistics.last_error = f"{self._address}: {exc or type(exc).__name__}"
            delay, self._retry_after = self._retry_after, None
            if delay is None:
                delay = full_jitter(self._failures)
                self._failures += 1
            await asyncio.sleep(delay)

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

    async def _connect_once(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if self._address.is_unix:
                reader, writer = await asyncio.open_unix_connection(self._address.path, limit=LINE_LIMIT)
            else:
                host, port = self._address.host, self._address.port
                reader, writer = await asyncio.open_connection(host, port, limit=LINE_LIMIT)
        try:
            await self._talk(reader, writer)
        finally:
            self._forget_connection()
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(Hello(self.record.name)) + b"\n")
        silence: float | None = WELCOME_TIMEOUT
        while True:
            async with asyncio.timeout(silence):
                line = await reader.readline()
            if not line.endswith(b"\n"):
                return
            try:
                message = _decoder.decode(line)
            except msgspec.ValidationError:
                continue  # an op of a later version
            if isinstance(message, Welcome):
                silence = message.timeout
                self._log_in(message, writer)
            elif isinstance(message, Bye):
                self._retry_after = message.retry_after
                return
            elif isinstance(message, Error) and message.of == "hello":
                raise OSError(f"hello: {message.code}: {message.detail}")
            else:
                self._take(message, writer)

    def _take(self, message: ToDevice, writer: asyncio.StreamWriter) -> None:
        if isinstance(message, Ack):
            self._acknowledge(message.seq or 0)
        elif isinstance(message, Ping):
            writer.write(_PONG)
        elif isinstance(message, Error) and message.seq is not None:
            self._refuse(message, message.seq)

    def _log_in(self, welcome: Welcome, writer: asyncio.StreamWriter) -> None:
        if not self.record.has_begun:
            self.record.begin(welcome.last_seq, time.time())
            self.begun.set()
        self._writer = writer
        self._failures = 0
        self._statistics.connected += 1
        self._statistics.reconnects += self._logins > 0
        self._logins += 1
        self._send_again(list(self.record.unacknowledged))

    def _forget_connection(self) -> None:
        if self._writer is not None:
            self._writer = None
            self._statistics.connected -= 1
        if self._repeat_timer is not None:
            self._repeat_timer.cancel()
            self._repeat_timer = None
        self._repeat.clear()

    def _make(self) -> None:
        seq = self.record.make(time.monotonic())
        self.settled.clear()
        self._statistics.pushed += 1
        if self._writer is not None:
            self._writer.write(self.record.line(seq))

    def _acknowledge(self, seq: int) -> None:
        made = self.record.settle(seq)
        self._refusals_in_a_row = 0
        if made is not None:
            self._statistics.acknowledged += 1
            self._statistics.latencies.add(time.monotonic() - made)
            self._has_settled()

    def _refuse(self, error: Error, seq: int) -> None:
        if error.retry:
            self._statistics.unavailable += 1
            self._repeat.add(seq)
            self._plan_repeat()
        elif self.record.settle(seq, refused=True) is not None:
            self._statistics.refused += 1
            self._statistics.last_error = f"push {seq} of {self.record.name}: {error.code}: {error.detail}"
            self._has_settled()

    def _has_settled(self) -> None:
        self._room.set()
        if not self.record.unacknowledged:
            self.settled.set()

    def _plan_repeat(self) -> None:
        if self._repeat_timer is None:
            delay = 0.1 + full_jitter(self._refusals_in_a_row, longest=5.0)
            self._refusals_in_a_row += 1
            self._repeat_timer = asyncio.get_running_loop().call_later(delay, self._repeat_refused)

    def _repeat_refused(self) -> None:
        self._repeat_timer = None
        seqs = sorted(self._repeat)
        self._repeat.clear()
        self._send_again([seq for seq in seqs if seq in self.record.unacknowledged])

    def _send_again(self, seqs: list[int]) -> None:
        """In order, as a gateway may rely on seqs that grow."""
        if self._writer is not None and seqs:
            self._writer.write(b"".join(map(self.record.line, seqs)))
            self._statistics.repeated += len(seqs)

    def say_bye(self) -> None:
        """Tell the gateway that the device goes."""
        if self._writer is not None:
            self._writer.write(_BYE)
