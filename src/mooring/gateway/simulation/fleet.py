"""All simulated devices of a run: started, watched, and ended in order."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ...net.address import Address
from .device import SimulatedDevice
from .record import Record
from .statistics import Statistics

GRACE: Final = 15.0
"""Seconds that the end waits for acknowledgements that are still due."""
LOGINS_PER_SECOND: Final = 1000


class Fleet:
    """One run of many devices.

    Args:
        names: one a device.
        address: of the gateway.
        rate: pushes a second of each device.
        tokens: by name, where the gateway wants them.
        tls: for a ``tls://`` address; shared by all devices.
        report: called with (statistics, seconds since the beginning) from time to time.
        report_interval: seconds between two of these calls.
    """

    def __init__(
        self,
        names: Iterable[str],
        address: Address,
        rate: float,
        *,
        tokens: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        report: Callable[[Statistics, float], None],
        report_interval: float,
    ) -> None:
        self.statistics = Statistics()
        self._devices = [
            SimulatedDevice(name, address, rate, self.statistics, (tokens or {}).get(name), tls) for name in names
        ]
        self._report = report
        self._report_interval = report_interval
        self._interrupted = asyncio.Event()
        self._hurried = asyncio.Event()

    @property
    def records(self) -> list[Record]:
        """What each device pushed."""
        return [device.record for device in self._devices]

    async def run(self, duration: float | None) -> None:
        """Push for some time, wait for what is still to be acknowledged, say bye.

        Args:
            duration: seconds; None: until INT or TERM. A second signal ends the waiting, too.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        connecting = [asyncio.create_task(self._enter(index)) for index in range(len(self._devices))]
        producing = [asyncio.create_task(device.produce()) for device in self._devices]
        reporting = asyncio.create_task(self._keep_reporting())
        try:
            async with asyncio.timeout(duration):
                await self._interrupted.wait()
        except TimeoutError:
            pass
        await _cancel(producing)
        await self._await_acknowledgements()
        for device in self._devices:
            device.say_bye()
        await _cancel([*connecting, reporting])

    def _interrupt(self) -> None:
        if self._interrupted.is_set():
            self._hurried.set()
        self._interrupted.set()

    async def _enter(self, index: int) -> None:
        await asyncio.sleep(index / LOGINS_PER_SECOND)
        await self._devices[index].stay_connected()

    async def _keep_reporting(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(self._report_interval)
            self._report(self.statistics, time.monotonic() - began)

    async def _await_acknowledgements(self) -> None:
        settled = asyncio.create_task(self._all_settled())
        hurried = asyncio.create_task(self._hurry())
        await asyncio.wait([settled, hurried], timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
        await _cancel([settled, hurried])

    async def _all_settled(self) -> None:
        for device in self._devices:  # nothing is made any more, so who has settled stays so
            await device.settled.wait()

    async def _hurry(self) -> None:
        await self._hurried.wait()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception) and not isinstance(result, asyncio.CancelledError):
            raise result
