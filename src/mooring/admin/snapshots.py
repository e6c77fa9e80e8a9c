"""One snapshot a second, made once and shared by all who look; and the last minutes for the charts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from .events import LastLines, LogLevel
from .neighbours import Find, Neighbours
from .process import ProcessMeter
from .records import Alert, History, ServerNumbers, Snapshot
from .slices import Slices
from .watched import INTERVAL, WatchedServer

logger = logging.getLogger("mooring.admin")

HISTORY: Final = 300
"""Seconds that the charts go back."""

MOST_VIEWERS: Final = 20
KEEPALIVE: Final = 15.0
QUEUED: Final = 8
"""Snapshots that may wait for a viewer who is slow; then he is let go."""

REMEMBERED: Final = 10.0
"""Seconds for which all connections are still looked at for somebody who asked for a snapshot: he may ask again."""

LOOP_IS_LATE: Final = 0.25
STORM: Final = 100.0
STORM_SHARE: Final = 0.05
"""More new connections a second than this, and than this share of those that are open, are a storm."""

DESCRIPTORS_ARE_FEW: Final = 0.8


class Viewer:
    """Somebody who looks: his share of the snapshots, encoded already."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED)
        self.after = 0
        """The number of the snapshot that he began with."""

    def begin(self, number: int) -> None:
        """He is given the snapshot of this number first; what waits is older."""
        self.after = number
        while not self.queue.empty():
            self.queue.get_nowait()

    def hand(self, data: bytes | None) -> bool:
        """Give him the next one, or None for the end; False: he is too slow."""
        try:
            self.queue.put_nowait(data)
        except asyncio.QueueFull:
            return False
        return True


class Snapshots:
    """Makes the snapshots. Belongs to the admin side's thread.

    Args:
        servers: what is watched.
        lines: the last lines of the log.
        log_level: what is logged.
        settings: see ProcessMeter.
        neighbours: finds other processes, see neighbours.Find.
    """

    def __init__(
        self,
        servers: Sequence[WatchedServer],
        lines: LastLines,
        log_level: LogLevel,
        *,
        settings: str = "",
        neighbours: Find = tuple,
    ) -> None:
        self._servers = servers
        self._lines = lines
        self._log_level = log_level
        self._process = ProcessMeter(settings)
        self._neighbours = Neighbours(neighbours)
        self._viewers: set[Viewer] = set()
        self._history: deque[tuple[float, dict[str, dict[str, float]]]] = deque(maxlen=HISTORY)
        self._before: dict[str, tuple[float, ServerNumbers]] = {}
        self._number = 0
        self._line = 0
        self._longest_slice = 0.0
        self._making = asyncio.Lock()
        self._closed = False
        self.latest: Snapshot | None = None
        self._made_at = 0.0
        self._asked_at = -REMEMBERED
        self._looked = False

    # Making ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make one each second, until cancelled. What goes wrong is logged and does not end it."""
        due = time.monotonic()
        while True:
            try:
                await self._turn()
            except Exception:
                logger.exception("a snapshot could not be made")
            due = max(due + INTERVAL, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _turn(self) -> None:
        for server in self._servers:
            server.ask_loop()
        snapshot = await self._current(look=self._is_looked_at())
        if snapshot.events:
            self._line = snapshot.events[-1].number
        if self._viewers:
            data = encode_event("snapshot", snapshot)
            for viewer in [one for one in self._viewers if one.after < snapshot.number and not one.hand(data)]:
                self._viewers.discard(viewer)  # his stream ends when he has read what waits

    async def make(self, *, fresh: bool = False) -> Snapshot:
        """A snapshot that is not older than a moment.

        Args:
            fresh: look at everything now.
        """
        self._asked_at = time.monotonic()
        return await self._current(look=True, fresh=fresh)

    def _is_looked_at(self) -> bool:
        """Whether somebody sees more of the snapshots than the points that they leave in the charts."""
        return bool(self._viewers) or time.monotonic() - self._asked_at < REMEMBERED

    async def _current(self, *, look: bool, fresh: bool = False) -> Snapshot:
        async with self._making:
            age = time.monotonic() - self._made_at
            if self.latest is not None and not fresh and age < INTERVAL / 2 and (self._looked or not look):
                return self.latest
            return await self._make(look=look, fresh=fresh)

    async def _make(self, *, look: bool, fresh: bool = False) -> Snapshot:
        slices = Slices()
        self._looked = look
        numbers = []
        for server in self._servers:
            if look:
                await server.look(slices, fresh=fresh)
            numbers.append(self._with_point(await server.numbers(slices)))
        await slices.breathe()
        now = time.time()
        process = self._process.read(self._longest_slice)
        await slices.breathe()
        neighbours = self._neighbours.look()
        await slices.breathe()
        events = self._lines.after(self._line)
        self._number += 1
        snapshot = Snapshot(
            number=self._number,
            time=now,
            state=overall_state([one.server.state for one in numbers]),
            log_level=self._log_level.name,
            process=process,
            neighbours=neighbours,
            servers=numbers,
            alerts=[*_process_alerts(process.descriptors, process.descriptor_limit), *alerts(numbers)],
            events=events,
        )
        self._history.append((now, {one.server.id: one.point for one in numbers}))
        self.latest, self._made_at = snapshot, time.monotonic()
        await slices.breathe(force=True)
        self._longest_slice = slices.longest
        return snapshot

    def _with_point(self, numbers: ServerNumbers) -> ServerNumbers:
        now = time.monotonic()
        before = self._before.get(numbers.server.id)
        self._before[numbers.server.id] = (now, numbers)
        point = make_point(numbers, before[1] if before else None, now - before[0] if before else INTERVAL)
        return msgspec.structs.replace(numbers, point=point)

    # Looking --------------------------------------------------------------------------------------------------------

    def history(self) -> History:
        """The last minutes in columns."""
        names: dict[str, list[str]] = {}
        for _, points in self._history:
            for server, point in points.items():
                names.setdefault(server, list(point))
        return History(
            times=[at for at, _ in self._history],
            servers={
                server: {key: [points.get(server, {}).get(key) for _, points in self._history] for key in keys}
                for server, keys in names.items()
            },
        )

    def past_lines(self) -> Snapshot | None:
        """The latest snapshot with all lines of the log that are kept, for one who has just come."""
        latest = self.latest
        return msgspec.structs.replace(latest, events=self._lines.after(0)) if latest is not None else None

    def admit(self) -> Viewer | None:
        """A new viewer; None if there are too many."""
        if len(self._viewers) >= MOST_VIEWERS or self._closed:
            return None
        viewer = Viewer()
        self._viewers.add(viewer)
        return viewer

    async def stream(self, viewer: Viewer) -> AsyncIterator[bytes]:
        """What is sent to a viewer, until he leaves, is too slow, or the server ends."""
        try:
            await self.make()
            first = self.past_lines()
            if first is not None and not self._closed:
                viewer.begin(first.number)
                yield encode_event("snapshot", first)
            while viewer in self._viewers or not viewer.queue.empty():
                try:
                    async with asyncio.timeout(KEEPALIVE):
                        data = await viewer.queue.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if data is None:
                    return
                yield data
        finally:
            self._viewers.discard(viewer)

    def close(self) -> None:
        """Let all viewers go."""
        self._closed = True
        for viewer in list(self._viewers):
            if not viewer.hand(None):
                self._viewers.discard(viewer)


def encode_event(name: str, record: object) -> bytes:
    """A record as an event of the stream (text/event-stream)."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(record) + b"\n\n"


def make_point(now: ServerNumbers, before: ServerNumbers | None, seconds: float) -> dict[str, float]:
    """The values of one second for the charts: rates from two snapshots, and sizes."""

    def rate(get: Callable[[ServerNumbers], float]) -> float:
        return max(0.0, (get(now) - get(before)) / seconds) if before is not None and seconds > 0 else 0.0

    point = {
        "connections": float(now.connections.open),
        "accepts": rate(lambda one: one.connections.accepted),
        "closes": rate(lambda one: sum(one.connections.closed.values())),
        "messages_in": rate(lambda one: one.traffic.messages_in),
        "messages_out": rate(lambda one: one.traffic.messages_out),
        "bytes_in": rate(lambda one: one.traffic.bytes_in),
        "bytes_out": rate(lambda one: one.traffic.bytes_out),
        "p50": now.handlers.p50,
        "p99": now.handlers.p99,
        "calls": rate(lambda one: one.handlers.calls),
    }
    if now.threads is not None:
        point |= {
            "busy": float(now.threads.busy),
            "size": float(now.threads.size),
            "queued": float(now.threads.queued),
            "wait_p99": now.threads.wait_p99,
        }
    if now.database is not None:
        point |= {
            "active": float(now.database.active),
            "total": float(now.database.total),
            "waiting": float(now.database.waiting),
            "acquired": rate(lambda one: one.database.acquired if one.database is not None else 0),
        }
    return point


def overall_state(states: Sequence[str]) -> str:
    """The process's state: that of its servers, the one that matters most."""
    for state in ("draining", "stopping", "stopped", "suspended"):
        if state in states:
            return state
    return states[0] if states else "stopped"


def alerts(servers: Sequence[ServerNumbers]) -> list[Alert]:
    """What wants attention now."""
    found = []
    for one in servers:
        server, threads, database, counts = one.server, one.threads, one.database, one.connections
        if server.loop_lag is not None and server.loop_lag > LOOP_IS_LATE:
            found.append(Alert("serious", server.id, f"the loop answers late: {server.loop_lag:.2f} s"))
        if counts.limit and counts.open >= 0.9 * counts.limit:
            found.append(Alert("serious", server.id, f"{counts.open:,} of {counts.limit:,} connections are in use"))
        if threads is not None and threads.paused:
            found.append(Alert("warning", server.id, "the thread pool is paused: no handler starts"))
        if threads is not None and threads.stuck:
            found.append(Alert("serious", server.id, f"handlers that are stuck: {threads.stuck}"))
        if threads is not None and not threads.paused and threads.oldest_wait > 1.0:
            found.append(Alert("serious", server.id, f"messages wait {threads.oldest_wait:.1f} s for a thread"))
        if database is not None and database.down:
            found.append(Alert("serious", server.id, f"the database is away: {database.last_error}"))
        if database is not None and not database.down and database.waiting and database.active >= database.max_size:
            found.append(Alert("warning", server.id, f"{database.waiting} handlers wait for a database connection"))
        if one.point.get("accepts", 0.0) > max(STORM, STORM_SHARE * counts.open):
            text = f"a storm of connections: {one.point['accepts']:.0f} a second"
            found.append(Alert("warning", server.id, text))
        if not server.accepting and server.state == "suspended":
            found.append(Alert("warning", server.id, "accepting is suspended"))
        elif server.accepting:
            for listener in server.listeners:
                if not listener.accepting:
                    found.append(Alert("warning", server.id, f"accepting is suspended on {listener.address}"))
    return found


def _process_alerts(descriptors: int, limit: int) -> list[Alert]:
    if limit > 0 and descriptors > DESCRIPTORS_ARE_FEW * limit:
        return [Alert("serious", None, f"{descriptors:,} of {limit:,} file descriptors are in use (ulimit -n)")]
    return []
