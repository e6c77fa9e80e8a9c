"""``Device``: what a device's program uses. It pushes, and the rest happens by itself."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from ...net.address import parse_address
from ...net.tls.client import ClientTLS, client_context
from ..checks import find_fault
from ..json_text import to_json
from ..messages import END_OF_TIME, LARGEST_SEQ, Welcome
from ..names import check_name
from .disk import Disk, DiskJournal, Refused, line_of
from .link import Link

__all__ = ["Device", "Refused"]

LIMIT: Final = 100_000
GOODBYE_TIME: Final = 2.0


class Device:
    """A device of a gateway, for programs that run on it.

    It stays connected: it comes back after a random pause that grows with each failure, or when the gateway says.
    ``push`` keeps what it gets on the disk, so it may be called while the network is away, and what was not
    acknowledged is sent again, also after a restart of the program. What the gateway refuses for good is put aside.

        with Device("tcp://gateway.example:7000", "meter-7", queue="/var/lib/meter/queue.db") as device:
            device.push({"kwh": 17.4})

    ``push``, ``flush`` and the properties may be used from any thread. ``_changed`` guards the connected mark.

    Args:
        address: of the gateway: ``tls://HOST:PORT``, ``tcp://HOST:PORT`` or ``unix:PATH``.
        name: what it logs in as.
        token: its proof, where the gateway wants one.
        queue: the file that keeps what is not acknowledged; None: it is kept in memory, and lost with the process.
        commands: called with what the gateway commands, one after the other, in a thread of its own; what it returns is
            the result, what it raises the error. No command is run twice, also if the program is restarted meanwhile.
            None: commands are answered with an error.
        limit: pushes that may wait.
        tls: whom to believe at a ``tls://`` address; see Client. An ``ssl.SSLContext`` with a certificate of the device
            (``load_cert_chain``) is its proof where the gateway wants one.

    Raises:
        OSError: the file of ``tls`` cannot be used.
        ValueError: a wrong address or name, or a queue that belongs to another device.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        token: str | None = None,
        queue: str | os.PathLike[str] | None = None,
        commands: Callable[[Any], Any] | None = None,
        limit: int = LIMIT,
        tls: ClientTLS = None,
    ) -> None:
        fault = check_name(name)
        if fault is not None:
            raise ValueError(fault)
        self.name = name
        where = parse_address(address)
        context = client_context(where, tls)
        self._changed = threading.Condition()
        self._clock_offset: float | None = None
        self._disk = Disk(queue, name, limit)
        self._link = _DeviceLink(
            self, name, where, self._disk, DiskJournal(self._disk), token=token, commands=commands, tls=context
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name=f"mooring-device-{name}", daemon=True)
        self._began = threading.Event()

    def start(self) -> None:
        """Begin to connect. Twice is harmless."""
        if self._thread.ident is None:
            self._thread.start()
            self._began.wait()

    def push(self, data: Any, at: float | None = None) -> None:
        """Hand something over; it is on the disk when this returns, and sent as soon as the gateway is there.

        Args:
            data: what JSON can hold; ``msgspec.Raw`` for what is JSON already.
            at: when it happened, in Unix seconds; now by default.

        Raises:
            ValueError, TypeError: it is no JSON, or its message would be longer than the gateway takes.
            QueueFull: too many wait already. sqlite3.Error: the disk does not take it.
        """
        text = bytes(data) if isinstance(data, msgspec.Raw) else to_json(data)
        fault = find_fault(text)
        if fault is not None:
            raise ValueError(f"push: {fault}")
        when = round(time.time() if at is None else float(at), 3)
        if not 0 <= when <= END_OF_TIME:
            raise ValueError(f"push: at is {at!r}; it must be Unix seconds")
        size = len(line_of(LARGEST_SEQ, when, text.decode())) - 1
        if size > self._link.max_message:
            raise ValueError(f"push: the message would have {size} bytes; the gateway takes {self._link.max_message}")
        self._disk.append(text.decode(), when)
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._link.send_more)
            except RuntimeError:
                pass  # closed just now; it is on the disk

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was pushed is acknowledged or refused.

        Args:
            timeout: seconds; None: no limit.

        Returns:
            False if the time was too short.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._disk.waiting, timeout)

    def wait_connected(self, timeout: float | None = None) -> bool:
        """Wait until the device is logged in; False if the time (seconds) was too short."""
        with self._changed:
            return self._changed.wait_for(lambda: self._link.is_connected, timeout)

    @property
    def is_connected(self) -> bool:
        """Whether it is logged in now."""
        return self._link.is_connected

    @property
    def waiting(self) -> int:
        """Pushes that are neither acknowledged nor refused."""
        return self._disk.waiting

    @property
    def refused(self) -> list[Refused]:
        """Pushes that the gateway will never take, put aside with the reason."""
        return self._disk.refused()

    def forget_refused(self) -> None:
        """Drop what was put aside."""
        self._disk.forget_refused()

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the gateway's clock was ahead of ours at the last login; None before the first."""
        return self._clock_offset

    @property
    def last_error(self) -> str:
        """Why the last connection ended, or was not made."""
        return self._link.last_error

    def close(self) -> None:
        """Say bye and end; what is not acknowledged stays in the queue. Twice is harmless."""
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            assert self._stopping is not None
            try:
                loop.call_soon_threadsafe(self._stopping.set)
            except RuntimeError:
                pass
            self._thread.join()
        self._disk.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._began.set()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._began.set()
        connecting = asyncio.create_task(self._link.stay_connected())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([connecting, stopping], return_when=asyncio.FIRST_COMPLETED)
        self._link.say_bye()
        await self._link.drain(GOODBYE_TIME)
        for task in (connecting, stopping):
            task.cancel()
        await asyncio.gather(connecting, stopping, return_exceptions=True)

    def _note(self, welcome: Welcome | None = None) -> None:
        with self._changed:
            if welcome is not None:
                self._clock_offset = welcome.time - time.time()
            self._changed.notify_all()


class _DeviceLink(Link):
    """Tells its Device what those who wait in it wait for."""

    def __init__(self, device: Device, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._device = device

    def logged_in(self, welcome: Welcome) -> None:
        self._device._note(welcome)

    def lost(self) -> None:
        self._device._note()

    def acknowledged(self, seq: int) -> None:
        self._device._note()

    def refused(self, seq: int, code: str, detail: str) -> None:
        self._device._note()
