"""``Link``: keeps one device connected, sends what its queue has, and sends again what was not acknowledged."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ...net.address import Address
from ..checks import find_fault
from ..json_lines import MAX_MESSAGE, encode
from ..json_text import to_json
from ..messages import LONGEST_TEXT, Ack, Bye, Command, Done, Error, Hello, Ping, Pong, ToDevice, Welcome
from .backoff import full_jitter

WINDOW: Final = 64
"""Pushes that may be unacknowledged at the same time."""
CONNECT_TIMEOUT: Final = 10.0
WELCOME_TIMEOUT: Final = 60.0
CLOSE_TIMEOUT: Final = 1.0
LINE_LIMIT: Final = 1 << 17
LONGEST_PAUSE: Final = 5.0
"""Seconds, at most, until a push is sent again that the gateway could not take."""
REFUSED_PAUSE: Final = 60.0
"""Seconds, at most, until a device that was not let in tries again: somebody may give it a token."""

_decoder: Final[msgspec.json.Decoder[ToDevice]] = msgspec.json.Decoder(ToDevice)


class Queue(Protocol):
    """What a device has to push. A seq, once given, stays with its push."""

    def begin(self, last_seq: int) -> None:
        """The device has logged in; what has no seq yet gets one above ``last_seq``."""

    def unacknowledged(self) -> list[int]:
        """Seqs that were taken and neither acknowledged nor refused, ascending."""

    def take(self, count: int) -> list[int]:
        """Give up to so many pushes a seq; returned ascending, and taken only once."""

    def line(self, seq: int) -> bytes | None:
        """The push with this seq as it goes over the wire; None: it is settled."""

    def settle(self, seq: int) -> None:
        """It is stored."""

    def refuse(self, seq: int, code: str, detail: str) -> None:
        """It will never be taken: put it aside."""


class Journal(Protocol):
    """Which commands were run: so that none is run twice."""

    def earlier(self, id: int) -> Done | None:
        """The answer to a command that was begun before; None: it was not."""

    def begin(self, id: int) -> None:
        """It is about to be run; from now on it never is again."""

    def finish(self, done: Done) -> None:
        """It was run, with this answer."""


class NotLetIn(OSError):
    """The gateway answered the hello with an error.

    Args:
        error: the answer.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(f"hello: {error.code}: {error.detail}")
        self.error = error


class Link:
    """Runs in one event loop, with as many others as there are devices; needs no lock.

    What is interesting to somebody is a method to override: ``logged_in``, ``lost``, ``failed``,
    ``acknowledged``, ``refused``, ``put_off``, ``repeated``.

    Args:
        name: what it logs in as.
        address: of the gateway.
        queue: what there is to push.
        journal: of the commands.
        token: its proof, where the gateway wants one.
        commands: called with the data of a command, in a thread; what it returns is the result, what it raises the
            error. None: the device takes no commands.
        window: pushes that may be unacknowledged at the same time.
        tls: for a ``tls://`` address.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        queue: Queue,
        journal: Journal,
        *,
        token: str | None = None,
        commands: Callable[[Any], Any] | None = None,
        window: int = WINDOW,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.max_message = MAX_MESSAGE
        self.last_error = ""
        self._address = address
        self._queue = queue
        self._journal = journal
        self._token = token
        self._commands = commands
        self._window = window
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None
        self._failures = 0
        self._retry_after: float | None = None
        self._in_flight: set[int] = set()
        self._again: deque[int] = deque()
        self._put_off: set[int] = set()
        self._put_off_timer: asyncio.TimerHandle | None = None
        self._put_offs_in_a_row = 0
        self._running: asyncio.Task[None] | None = None

    # What others call -------------------------------------------------------------------------------------------------

    async def stay_connected(self) -> None:
        """Connect, and connect again whenever that ends; until cancelled."""
        while True:
            longest, shortest = 10.0, 0.0
            try:
                await self._connect_once()
                self.failed(f"{self._address} closed the connection")
            except NotLetIn as exc:
                self.failed(f"{self._address}: {exc}")
                if not exc.error.retry:
                    longest, shortest = REFUSED_PAUSE, 1.0
            except (OSError, TimeoutError, ValueError) as exc:  # ValueError: a line over the limit
                self.failed(f"{self._address}: {exc or type(exc).__name__}")
            except Exception as exc:  # noqa: BLE001 - the disk of the queue is full, say: that passes
                self.failed(f"{type(exc).__name__}: {exc}")
            delay, self._retry_after = self._retry_after, None
            if delay is None:
                delay = shortest + full_jitter(self._failures, longest=longest)
                self._failures += 1
            await asyncio.sleep(delay)

    def send_more(self) -> None:
        """There may be something new in the queue."""
        writer = self._writer
        if writer is None:
            return
        lines = []
        while self._again and self._has_room():
            seq = self._again.popleft()
            lines.append(self._line(seq))
        if self._has_room():
            lines.extend(self._line(seq) for seq in self._queue.take(self._window - self._outstanding()))
        data = b"".join(lines)
        if data:
            writer.write(data)

    def say_bye(self) -> None:
        """Tell the gateway that the device goes."""
        if self._writer is not None:
            self._say(Bye())

    async def drain(self, timeout: float) -> None:
        """Wait until what was said has left, and a command that runs is answered; at most ``timeout`` seconds."""
        running = [self._running] if self._running is not None else []
        writing = [asyncio.create_task(self._writer.drain())] if self._writer is not None else []
        if running or writing:
            await asyncio.wait([*running, *writing], timeout=timeout)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

    @property
    def is_connected(self) -> bool:
        """Whether the device is logged in now."""
        return self._writer is not None

    # What may be overridden -------------------------------------------------------------------------------------------

    def logged_in(self, welcome: Welcome) -> None:
        """The device has logged in."""

    def lost(self) -> None:
        """The connection of a device that was logged in has ended."""

    def failed(self, error: str) -> None:
        """A connection has ended, or could not be made, for this reason."""
        self.last_error = error

    def acknowledged(self, seq: int) -> None:
        """A push is stored; the queue knows already."""

    def refused(self, seq: int, code: str, detail: str) -> None:
        """A push will never be taken; the queue knows already."""

    def put_off(self, seq: int) -> None:
        """The gateway asks for a push to be sent again later."""

    def repeated(self, count: int) -> None:
        """So many pushes are sent again."""

    # The talk ---------------------------------------------------------------------------------------------------------

    async def _connect_once(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if self._address.is_unix:
                reader, writer = await asyncio.open_unix_connection(self._address.path, limit=LINE_LIMIT)
            else:
                host, port = self._address.host, self._address.port
                reader, writer = await asyncio.open_connection(host, port, limit=LINE_LIMIT, ssl=self._tls)
        try:
            await self._talk(reader, writer)
        finally:
            self._forget_connection()
            await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close; over TLS both sides have a last word, for which a gateway that is gone is not waited for long."""
        writer.close()
        if self._tls is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await writer.wait_closed()
            except OSError:  # TimeoutError is one
                writer.transport.abort()
                await asyncio.sleep(0)  # the loop closes the socket in its next turn

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(Hello(self.name, token=self._token)) + b"\n")
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
                raise NotLetIn(message)
            else:
                self._take(message)

    def _log_in(self, welcome: Welcome, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._failures = 0
        self.max_message = welcome.max_message
        self._queue.begin(welcome.last_seq)
        self._again.extend(self._queue.unacknowledged())
        self.logged_in(welcome)
        self.repeated(len(self._again))
        self.send_more()

    def _forget_connection(self) -> None:
        if self._writer is not None:
            self._writer = None
            self.lost()
        if self._put_off_timer is not None:
            self._put_off_timer.cancel()
            self._put_off_timer = None
        for waiting in (self._in_flight, self._again, self._put_off):
            waiting.clear()  # the queue knows what is not acknowledged

    def _take(self, message: ToDevice) -> None:
        if isinstance(message, Ack) and message.seq is not None:
            self._settle(message.seq)
        elif isinstance(message, Error) and message.seq is not None:
            self._refuse(message.seq, message)
        elif isinstance(message, Error) and message.id is not None and message.retry:
            asyncio.get_running_loop().call_later(1.0 + full_jitter(2), self._answer_again, message.id)
        elif isinstance(message, Ping):
            self._say(Pong())
        elif isinstance(message, Command):
            self._obey(message)

    def _say(self, message: Pong | Done | Bye) -> None:
        if self._writer is not None:
            self._writer.write(encode(message) + b"\n")

    # Pushes -----------------------------------------------------------------------------------------------------------

    def _outstanding(self) -> int:
        return len(self._in_flight) + len(self._put_off)

    def _has_room(self) -> bool:
        return self._outstanding() < self._window

    def _line(self, seq: int) -> bytes:
        """The line of a push that is sent now; nothing if it is settled, or can never be sent."""
        line = self._queue.line(seq)
        if line is None:
            return b""
        if len(line) - 1 > self.max_message:
            detail = f"{len(line) - 1} bytes, and the gateway takes {self.max_message}"
            self._queue.refuse(seq, "too_large", detail)
            self.refused(seq, "too_large", detail)
            return b""
        self._in_flight.add(seq)
        return line

    def _settle(self, seq: int) -> None:
        self._in_flight.discard(seq)
        self._put_offs_in_a_row = 0
        self._queue.settle(seq)
        self.acknowledged(seq)
        self.send_more()

    def _refuse(self, seq: int, error: Error) -> None:
        self._in_flight.discard(seq)
        if error.retry:
            self._put_off.add(seq)
            self.put_off(seq)
            self._plan_repetition()
            return
        self._queue.refuse(seq, error.code, error.detail)
        self.refused(seq, error.code, error.detail)
        self.send_more()

    def _plan_repetition(self) -> None:
        if self._put_off_timer is None:
            delay = 0.1 + full_jitter(self._put_offs_in_a_row, longest=LONGEST_PAUSE)
            self._put_offs_in_a_row += 1
            self._put_off_timer = asyncio.get_running_loop().call_later(delay, self._repeat)

    def _repeat(self) -> None:
        self._put_off_timer = None
        again = sorted(self._put_off)
        self._put_off.clear()
        self._again.extendleft(reversed(again))
        self.repeated(len(again))
        self.send_more()

    # Commands ---------------------------------------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        if self._running is not None and self._running.get_name() == str(command.id):
            return  # it came again by another connection; its answer goes there
        done = self._journal.earlier(command.id)
        if done is not None:
            self._say(done)
        elif self._commands is None:
            self._say(Done(command.id, error="this device takes no commands"))
        else:
            self._journal.begin(command.id)
            before = self._running
            self._running = asyncio.create_task(self._run(command, before), name=str(command.id))

    async def _run(self, command: Command, before: asyncio.Task[None] | None) -> None:
        """Run a command in a thread; one after the other."""
        if before is not None:
            await asyncio.wait([before])
        assert self._commands is not None
        try:
            result = to_json(await asyncio.to_thread(self._commands, msgspec.json.decode(command.data)))
            fault = find_fault(result)
            if fault is None:
                done = Done(command.id, result=msgspec.Raw(result))
            else:
                done = Done(command.id, error=f"it was done, but the gateway does not take its result: {fault}")
        except Exception as exc:  # noqa: BLE001 - whatever it raises is the answer
            text = (str(exc) or type(exc).__name__)[:LONGEST_TEXT]
            done = Done(command.id, error=text.encode("utf-8", "replace").decode())
        if len(encode(done)) > self.max_message:
            done = Done(command.id, error="it was done, but its result is too long for a message")
        self._journal.finish(done)
        if self._running is asyncio.current_task():
            self._running = None
        self._say(done)

    def _answer_again(self, id: int) -> None:
        done = self._journal.earlier(id)
        if done is not None and self._running is None:
            self._say(done)
