"""The clients of a stampede, as a program: they come, ask in bursts, verify every byte, and leave in one of many ways.

It is told what to do by one JSON argument and writes one JSON line at its end: what was done and which sentences were
violated.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mooring.bench.stampede.words import (
    FRAMING,
    LONGEST,
    Action,
    Asked,
    Kind,
    Numbers,
    Status,
    ask,
    read_said,
)
from mooring.running import raise_descriptor_limit

PATIENCE = 60.0
"""Seconds without a byte after which an answer is missing."""
TLS_SHARE = 3
"""One place of so many speaks TLS, where the server has a port for it."""
PER_ADDRESS = 500
"""Places that share a source address."""
MOST_FAULTS = 20
RESET = struct.pack("ii", 1, 0)
BUFFER = 8192
PAIR = struct.Struct(">QI")

ENDS = ("wait", "half-close", "reset", "leave", "be closed", "be aborted", "break off", "say nonsense")
"""How a visit ends. Wait: for all answers. Leave: with answers unread. Break off: in the middle of a message."""
MAY_BREAK = ("reset", "leave", "be aborted")


class Violated(Exception):
    """The sentence that does not hold."""


class Tally:
    """What all places did together."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.faults: list[str] = []
        self.stored = bytearray()

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        self.counts[name] = self.counts.get(name, 0) + count

    def fault(self, sentence: str) -> None:
        """Note a violation."""
        self.add("faults")
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(sentence)


class Visit:
    """One connection, from its first byte to its last one.

    Args:
        seed: of what is said on it; an attribute, too.
        dice: of its place: the same seed makes the same visits.
        actions: what may be asked for, and how often.
        tally: of all places.
    """

    def __init__(self, seed: int, dice: random.Random, actions: dict[Action, float], tally: Tally) -> None:
        self.seed = seed
        self._dice = dice
        self._actions = list(actions)
        self._weights = list(actions.values())
        self._tally = tally
        self._number = 0
        self._end = "asking"
        self._due: deque[Asked] = deque()
        self._answers = Numbers("answer", seed)
        self._unasked = Numbers("unasked", seed)

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask, verify, leave.

        Raises:
            Violated: something is not as it should be.
        """
        for _ in range(self._dice.randrange(4)):
            await self._say(writer, self._burst())
            await self._hesitate()
            while self._due:
                await self._take(reader)
        end = self._dice.choice(ENDS if writer.can_write_eof() else [one for one in ENDS if one != "half-close"])
        self._tally.add(end)
        self._end = end
        try:
            await self._leave(end, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            if end not in MAY_BREAK:
                raise

    async def _leave(self, end: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last = {"be closed": Action.CLOSE, "be aborted": Action.ABORT}.get(end)
        await self._say(writer, self._burst(last), cut_off=end == "break off")
        if end == "say nonsense":
            writer.write(b"\xff" * 8)  # a length beyond all limits
        if end in ("half-close", "break off") and writer.can_write_eof():
            writer.write_eof()
        await self._hesitate()
        if end == "reset":
            sock = writer.get_extra_info("socket")
            if sock is not None:  # else it is lost already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if end in ("reset", "leave"):
            writer.transport.abort()
            return
        while self._due:
            await self._take(reader)
        if end == "wait" or (end == "break off" and not writer.can_write_eof()):
            return
        while not await self._take(reader, may_end=True):
            pass  # what was sent unasked

    async def _say(self, writer: asyncio.StreamWriter, messages: list[bytes], *, cut_off: bool = False) -> None:
        """Send messages, cut somewhere."""
        data = b"".join(map(FRAMING.join, messages))
        cut = self._dice.randrange(len(data) + 1)
        writer.write(data[:cut])
        if self._dice.random() < 0.3:
            await asyncio.sleep(self._dice.uniform(0, 0.02))
        writer.write(data[cut:])
        if cut_off:
            writer.write(FRAMING.join(ask(Asked(self.seed, self._number, Action.QUICK, 0), 100))[:-1])

    def _burst(self, last: Action | None = None) -> list[bytes]:
        actions = self._dice.choices(self._actions, self._weights, k=self._dice.choice((1, 1, 2, 5, 40)))
        return [self._ask(action) for action in (*actions, *([last] if last is not None else []))]

    def _ask(self, action: Action) -> bytes:
        size = self._dice.choice((0, 10, 10, 100, 3000))
        answer = self._dice.choice((0, 10, 10, 100, 3000)) if self._dice.random() < 0.98 else LONGEST
        asked = Asked(self.seed, self._number, action, answer)
        self._number += 1
        self._due.append(asked)
        return ask(asked, size)

    async def _hesitate(self) -> None:
        """Read slowly, sometimes so that the server cannot send."""
        if self._dice.random() < 0.2:
            await asyncio.sleep(self._dice.uniform(0, 0.5))

    async def _take(self, reader: asyncio.StreamReader, *, may_end: bool = False) -> bool:
        """Verify one message; whether it was the end instead."""
        try:
            async with asyncio.timeout(PATIENCE):
                size = int.from_bytes(await reader.readexactly(4), "big")
                message = await reader.readexactly(size)
        except TimeoutError:
            raise Violated(f"every message is answered, within {PATIENCE:g} s") from None
        except asyncio.IncompleteReadError as exc:
            if may_end and not exc.partial:
                return True
            raise
        try:
            said, data = read_said(message)
        except (struct.error, ValueError):
            raise Violated(f"a message is whole: {message[:20]!r} is none") from None
        if said.kind is Kind.UNASKED:
            self._hold(self._unasked.check(said.number, data))
            self._tally.add("unasked")
        elif not self._due:
            raise Violated(f"a message is answered once: answer {said.number} came without one")
        else:
            asked = self._due.popleft()
            self._hold(self._answers.check(said.number, data, asked.answer))
            self._tally.add("answers")
            self._tally.add("bytes verified", len(message))
            self._note(asked, said.status)
        return False

    def _note(self, asked: Asked, status: Status) -> None:
        if status is Status.STORED:
            self._tally.add("stored")
            self._tally.stored += PAIR.pack(asked.seed, asked.number)
        elif status is Status.FAILED:
            self._tally.add("not stored")

    def _hold(self, sentence: str) -> None:
        if sentence:
            raise Violated(sentence)

    @property
    def state(self) -> str:
        """How far it has got, for the report of a fault."""
        due = f", {len(self._due)} answers due, first that of {self._due[0]!r}" if self._due else ""
        return f"{self._end}{due}"


class Place:
    """Where one visit follows another.

    Args:
        task: of the program.
        number: of this place.
        tally: of all.
    """

    def __init__(self, task: dict[str, Any], number: int, tally: Tally) -> None:
        self._port: int = task["port"]
        self._tls: ssl.SSLContext | None = None
        if "tls_port" in task and number % TLS_SHARE == 0:
            self._port = task["tls_port"]
            self._tls = ssl.create_default_context(cafile=task["certificate"])
        self._number = number
        self._tally = tally
        self._dice = random.Random(f"{task['seed']}/{number}")
        self._actions = {Action[name]: weight for name, weight in task["actions"].items()}

    async def run(self, end: float) -> None:
        """Visit until the end, a time of the monotonic clock; the last visit is not cut short."""
        await asyncio.sleep(self._dice.uniform(0, min(1.0, (end - time.monotonic()) / 4)))
        while time.monotonic() < end:
            visit = Visit(self._dice.getrandbits(63) or 1, self._dice, self._actions, self._tally)
            try:
                await self._run(visit)
            except Violated as exc:
                self._fault(visit, str(exc))
            except (OSError, asyncio.IncompleteReadError) as exc:
                self._fault(visit, f"a connection stays until it is ended: {exc!r}")
            await asyncio.sleep(0)

    def _fault(self, visit: Visit, sentence: str) -> None:
        self._tally.fault(f"place {self._number}, connection {visit.seed}, {visit.state}: {sentence}")

    async def _run(self, visit: Visit) -> None:
        self._tally.add("connections")
        if self._tls is not None:
            self._tally.add("over TLS")
        source = f"127.0.0.{2 + self._number // PER_ADDRESS}"
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                self._port,
                limit=BUFFER,
                local_addr=(source, 0),
                ssl=self._tls,
                ssl_shutdown_timeout=PATIENCE if self._tls is not None else None,
            )
        try:
            await visit.run(reader, writer)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass  # it was broken off


async def stampede(task: dict[str, Any]) -> Tally:
    """All places, for the seconds of the task."""
    tally = Tally()
    end = time.monotonic() + task["seconds"]
    places = [Place(task, number, tally) for number in range(task["connections"])]
    await asyncio.gather(*(place.run(end) for place in places))
    return tally


def stored_pairs(path: Path) -> Iterator[tuple[int, int]]:
    """Seed and number of all rows that were acknowledged, from the file that the program wrote."""
    yield from PAIR.iter_unpack(path.read_bytes())


def main() -> None:
    """Do what the argument says.

    Its fields: ``port``, ``connections``, ``seconds``, ``seed``, ``actions`` (name -> weight), ``stored``: a file; and
    ``tls_port``, ``certificate`` (a file), if some speak TLS.
    """
    task: dict[str, Any] = json.loads(sys.argv[1])
    raise_descriptor_limit()
    tally = asyncio.run(stampede(task))
    Path(task["stored"]).write_bytes(tally.stored)
    print(json.dumps({"counts": tally.counts, "faults": tally.faults}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
