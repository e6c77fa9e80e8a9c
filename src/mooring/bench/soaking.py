"""A gateway with a fleet over hours: restarted now and then, watched all the time, and held to what it acknowledged."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from .process import Process, ProcessFailed, ServerProcess, free_port
from .resources import descriptors, memory, resources
from .session import Session

PUSH_INTERVAL: Final = 40.0
"""Seconds between two pushes of a device: more than the gateway's heartbeat, so that every device also answers one."""
LONGEST_LIFE: Final = 1800.0
"""Seconds between two restarts; less in a short soak, which has two of them."""
DRAIN_TIMEOUT: Final = 60.0
END_TIMEOUT: Final = 600.0
"""Seconds for the last acknowledgements and for reading everything back."""
SAMPLES: Final = 360


class Database(Protocol):
    """Where the gateway stores: a PrivateDatabase."""

    @property
    def url(self) -> str:
        """Where it is."""

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """One statement, with all rights."""


@dataclass(frozen=True)
class Sample:
    """The server at one moment.

    Args:
        at: seconds since the beginning.
        life: the number of the process, from 0.
        memory: bytes resident.
        descriptors, threads: open, and running.
        database_connections: that the database has of it.
    """

    at: float
    life: int
    memory: int
    descriptors: int
    threads: int
    database_connections: int


@dataclass
class Soaked:
    """What was seen.

    Attributes:
        samples: in the order of time.
        fleet: what the devices saw, a line for each five seconds; see ``mooring simulate --figures``.
        restarts: seconds since the beginning, and the signal.
        verified: the comparison of what was acknowledged with what is stored.
    """

    samples: list[Sample] = field(default_factory=list)
    fleet: list[dict[str, Any]] = field(default_factory=list)
    restarts: list[tuple[float, signal.Signals]] = field(default_factory=list)
    verified: dict[str, int] = field(default_factory=dict)

    def growth(self) -> float:
        """Bytes that a process grew by after the first quarter of its life: the worst of all lives."""
        grown = [0]
        for _, life in itertools.groupby(self.samples, lambda sample: sample.life):
            samples = list(life)
            settled = samples[len(samples) // 4 :]
            grown.append(settled[-1].memory - settled[0].memory)
        return max(grown)

    def calm(self) -> list[dict[str, Any]]:
        """What the devices saw while all of them were connected and no restart was under way."""
        most = max((line["connected"] for line in self.fleet), default=0)
        return [
            after
            for before, after in itertools.pairwise(self.fleet)
            if before["connected"] == after["connected"] == most and after["acknowledged"] > before["acknowledged"]
        ]

    def returns(self) -> list[float]:
        """Seconds from each restart until all devices were connected again, to the five seconds of a line."""
        most = max((line["connected"] for line in self.fleet), default=0)
        back = []
        for at, _ in self.restarts:
            gone = [line for line in self.fleet if line["elapsed"] > at]
            later = itertools.dropwhile(lambda line: line["connected"] == most, gone)
            back += [line["elapsed"] - at for line in later if line["connected"] == most][:1]
        return back


class Soak:
    """One soak.

    Args:
        session: where its progress goes.
        database: that the gateway stores in.
        seconds: how long the devices push.
        devices: how many.
        push_interval: seconds between two pushes of each.
    """

    def __init__(
        self,
        session: Session,
        database: Database,
        seconds: float,
        devices: int,
        push_interval: float = PUSH_INTERVAL,
    ) -> None:
        self._session = session
        self._database = database
        self._seconds = seconds
        self._devices = devices
        self._push_interval = push_interval
        self._port = free_port()
        self._begun = 0.0
        self._life = 0
        self.soaked = Soaked()

    def run(self) -> Soaked:
        """Until the end.

        Raises:
            ProcessFailed: a server did not start or stop, or what was acknowledged is not stored.
        """
        server = self._start()
        try:
            with tempfile.TemporaryDirectory(prefix="mooring-") as folder:
                figures = Path(folder) / "figures"
                with Process(self._simulate(figures), self._session.cores.load, piped=True) as fleet:
                    self._begun = time.monotonic()
                    for number in self._moments():
                        if number is None:
                            self._look(server, figures)
                        else:
                            server = self._restart(server, number)
                    self._session.report("soak: the devices stop; everything that was acknowledged is read back")
                    fleet.read_all(END_TIMEOUT)
                self._read(figures)
        finally:
            server.stop()
        return self.soaked

    def _moments(self) -> Iterator[signal.Signals | None]:
        """Waits for the next moment to look (None) or to restart (by which signal); ends when the devices do."""
        look_interval = max(0.5, self._seconds / SAMPLES)
        life = min(LONGEST_LIFE, self._seconds / 3)
        signals = itertools.cycle((signal.SIGTERM, signal.SIGKILL))
        look_at, restart_at = 0.0, life
        while True:
            at = min(look_at, restart_at)
            if at > self._seconds:
                return
            time.sleep(max(0.0, at - self._now))
            if at == restart_at:
                # Not so near the end that the devices have no time to come back.
                restart_at = restart_at + life if restart_at + 1.5 * life < self._seconds else float("inf")
                yield next(signals)
            else:
                look_at = max(look_at + look_interval, self._now)
                yield None

    @property
    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _start(self) -> ServerProcess:
        bind = f"tcp://127.0.0.1:{self._port}"
        serve = ["serve", "--bind", bind, "--database", self._database.url, "--log-level", "error"]
        return ServerProcess([sys.executable, "-m", "mooring", *serve], self._port, self._session.cores.server)

    def _simulate(self, figures: Path) -> list[str]:
        options = {
            "--devices": self._devices,
            "--rate": 1 / self._push_interval,
            "--duration": self._seconds,
            "--server": f"tcp://127.0.0.1:{self._port}",
            "--figures": figures,
            "--verify": self._database.url,
        }
        return [sys.executable, "-m", "mooring", "simulate", *(str(word) for pair in options.items() for word in pair)]

    def _restart(self, server: ServerProcess, number: signal.Signals) -> ServerProcess:
        at = self._now
        os.kill(server.pid, number)
        while server.running:
            if self._now > at + DRAIN_TIMEOUT:
                raise server.failed(f"still runs {DRAIN_TIMEOUT:g} s after {number.name}")
            time.sleep(0.02)
        server.stop()
        self._life += 1
        self.soaked.restarts.append((at, number))
        self._session.report(f"soak: {at:.0f} s: ended by {number.name}, started again")
        return self._start()

    def _look(self, server: ServerProcess, figures: Path) -> None:
        sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'bench'"
        if not server.running:
            raise server.failed("ended by itself")
        try:
            sample = Sample(
                at=self._now,
                life=self._life,
                memory=memory(server.pid),
                descriptors=descriptors(server.pid),
                threads=resources(server.pid).threads,
                database_connections=int(str(self._database.query(sql)[0][0])),
            )
        except OSError:
            raise server.failed("ended by itself") from None
        self.soaked.samples.append(sample)
        self._session.report(
            f"soak: {sample.at:.0f} of {self._seconds:.0f} s: {sample.memory / (1 << 20):.1f} MiB, "
            f"{sample.descriptors} descriptors, {sample.threads} threads, "
            f"{sample.database_connections} database connections; {_last_line(figures)}"
        )

    def _read(self, figures: Path) -> None:
        lines = [json.loads(line) for line in figures.read_text().splitlines()]
        self.soaked.fleet = [line for line in lines if "elapsed" in line]
        self.soaked.verified = next((line for line in lines if "missing" in line), {})
        if not self.soaked.verified:
            raise ProcessFailed("mooring simulate ended without a comparison of what is stored")


def _last_line(figures: Path) -> str:
    lines = figures.read_text().splitlines() if figures.exists() else []
    if not lines:
        return "no device yet"
    last = json.loads(lines[-1])
    return f"{last['connected']} devices, {last['acknowledged']} acknowledged, p99 {last['p99'] * 1e3:.1f} ms"
