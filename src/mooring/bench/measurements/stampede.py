"""``mooring bench stampede``: everything at random on many connections, while both ends verify every byte."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...db import open_pool
from ...db.url import parse_url
from ..certificates import certificate
from ..contenders import mooring
from ..private_database import PrivateDatabase
from ..process import ServerProcess
from ..resources import descriptors, open_files, resources
from ..session import Session
from ..stampede.disturber import Control, Disturber
from ..stampede.visitors import PATIENCE, stored_pairs
from ..stampede.words import content

BENCHMARK: Final = "stampede"
MODELS: Final = ("hybrid", "epoll", "threads")
QUIET_TIMEOUT: Final = 40.0
"""Seconds for descriptors and threads to return: spares of the loop, openers of the database come and go."""
MEMORY_LIMIT: Final = 16 << 20
"""Bytes that may be there more than after the warm-up: allocators keep pages of which a part is used."""
THREADS_LIMIT: Final = 2
"""Threads that begin at their first use, which a short warm-up may not have brought."""
BLOCKS_LIMIT: Final = 5_000
"""Blocks of Python's allocator that may be there more: caches and statistics that have not come to their bounds."""
WARM_UP: Final = 0.25
"""Seconds of warm-up for each second of stampede."""

ACTIONS: Final[Mapping[str, float]] = {"QUICK": 60, "ANNOUNCE": 1, "WAIT": 1, "LATER": 4, "SEND": 3}
STORING: Final[Mapping[str, float]] = {"STORE": 12}
LEASING: Final[Mapping[str, float]] = {"LEASE": 2}


class Violation(Exception):
    """A sentence does not hold; the text has all that do not, and the seed."""


@dataclass(frozen=True)
class Size:
    """How much is done.

    Args:
        seconds: for each model.
        connections: at the same time.
        seed: of everything that clients do, and that is done to the server.
    """

    seconds: float
    connections: int
    seed: int


@dataclass(frozen=True)
class Left:
    """What a server holds while nobody is there.

    Args:
        descriptors: but for those of the database's pool.
        threads, memory: see Resources.
        blocks: of Python's allocator; see sys.getallocatedblocks().
    """

    descriptors: int
    threads: int
    memory: int
    blocks: int


def measure(
    session: Session, size: Size, models: Iterable[str] = MODELS, url: str = "", database: PrivateDatabase | None = None
) -> None:
    """Run a stampede under each model.

    Args:
        session: where the figures go.
        size: how much.
        models: of ours.
        url: of the database; empty: nothing is stored.
        database: the same one, if it may be killed now and then.

    Raises:
        Violation: something does not hold.
        ProcessFailed: a server or the clients ended by themselves.
    """
    for model in models:
        One(session, size, model, url, database).run()


@contextlib.contextmanager
def own_database(session: Session) -> Iterator[PrivateDatabase | None]:
    """A MariaDB to be killed; None, and noted, if it is not installed."""
    missing = PrivateDatabase.missing()
    if missing:
        session.leave_out("the database of the stampede", f"not installed: {missing}")
        yield None
        return
    with PrivateDatabase() as database:
        yield database


class One:
    """A stampede under one model."""

    def __init__(self, session: Session, size: Size, model: str, url: str, database: PrivateDatabase | None) -> None:
        self._session = session
        self._size = size
        self._model = model
        self._url = url
        self._database = database
        self._certificate = ""
        self._counts: dict[str, int] = {}
        self._faults: list[str] = []

    def run(self) -> None:
        """Warm up, look, do it all, look again, judge."""
        with contextlib.ExitStack() as stack:
            pair = stack.enter_context(certificate())
            self._certificate = pair[0]
            contender = mooring(self._model, "stampede", self._model, *pair, *([self._url] if self._url else []))
            server = stack.enter_context(self._session.start(contender))
            self._stampede(server, self._size.seconds * WARM_UP, self._size.seed + 1)
            before, _ = self._look(server, None)
            self._counts = {}
            self._stampede(server, self._size.seconds, self._size.seed)
            after, report = self._look(server, before)
        self._judge(before, after, report)
        self._keep(before, after, report)
        if self._faults:
            lines = "\n".join(f"  {fault}" for fault in self._faults)
            closed = f"the server closed {report['closed']}, and before they were connections {report['not_opened']}"
            raise Violation(f"{self._model}, seed {self._size.seed}: these do not hold:\n{lines}\n{closed}")

    def _stampede(self, server: ServerProcess, seconds: float, seed: int) -> None:
        with tempfile.TemporaryDirectory(prefix="mooring-") as folder:
            stored = Path(folder) / "stored"
            task = {
                "port": server.port,
                "tls_port": self._ask(server)["tls_port"],
                "certificate": self._certificate,
                "connections": self._size.connections,
                "seconds": seconds,
                "seed": seed,
                "actions": self._actions(),
                "stored": str(stored),
            }
            with (
                self._session.program("stampede.visitors", task, core=self._session.cores.load) as visitors,
                Disturber(server.port, seed, has_pool=self._model == "hybrid", database=self._database) as disturber,
            ):
                said = json.loads(visitors.read_line(seconds + 2 * PATIENCE))
            if disturber.error is not None:
                raise server.failed(f"does not do what it is told: {disturber.error!r}")
            self._faults += said["faults"]
            for counts in (said["counts"], disturber.counts):
                for name, count in counts.items():
                    self._counts[name] = self._counts.get(name, 0) + count
            if self._url:
                self._compare(stored)
        self._session.report(f"stampede, {self._model}: {seconds:g} s: {self._said(said)}")

    def _actions(self) -> dict[str, float]:
        """In the epoll model nobody may wait for a database: one that is away would hold up all."""
        more = {**STORING, **(LEASING if self._model != "epoll" else {})} if self._url else {}
        return {**ACTIONS, **more}

    def _said(self, said: dict[str, Any]) -> str:
        counts = said["counts"]
        return (
            f"{counts.get('connections', 0):,} connections, {counts.get('answers', 0):,} answers, "
            f"{counts.get('stored', 0):,} stored, {len(said['faults'])} sentences violated"
        )

    def _ask(self, server: ServerProcess) -> dict[str, Any]:
        control = Control(server.port)
        try:
            return control.wish()
        finally:
            control.close()

    def _look(self, server: ServerProcess, before: Left | None) -> tuple[Left, dict[str, Any]]:
        """What is held when all have gone, and the server's report then; waits a while for what is on its way out."""
        control = Control(server.port)
        deadline = time.monotonic() + QUIET_TIMEOUT
        try:
            if self._model == "hybrid":
                control.wish(resize=[2, 2])
            while True:
                report = control.wish()
                left = self._left(server, report)
                # Who is not open any more may yet have to hear "lost".
                ended = report["connected"] - report["lost"] == report["open"] == 1
                calm = ended and report["late"] == 0 and report["pool"] <= 2
                back = before is None or (
                    left.descriptors <= before.descriptors and left.threads <= before.threads + THREADS_LIMIT
                )
                if (calm and back) or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            report = control.wish(tidy=True)
            left = self._left(server, report)
            if report["open"] != 1:
                self._faults.append(f"every connection ends: {report['open'] - 1} are left")
            if self._model == "hybrid":
                control.wish(resize=[2, 64])
        finally:
            control.close()
        return left, report

    def _left(self, server: ServerProcess, report: dict[str, Any]) -> Left:
        used = resources(server.pid)
        own = descriptors(server.pid) - self._of_database(server, report)
        return Left(own, used.threads, used.memory, report["blocks"])

    def _of_database(self, server: ServerProcess, report: dict[str, Any]) -> int:
        """Descriptors of the pool: a socket for each connection, or SQLite's files, several for each."""
        address = parse_url(self._url) if self._url else None
        if address is not None and address.dialect == "sqlite":
            return open_files(server.pid, address.database)
        return int(report["database_connections"])

    def _judge(self, before: Left, after: Left, report: dict[str, Any]) -> None:
        self._faults += report["faults"]
        if report["connected"] - report["lost"] != report["open"]:
            self._faults.append(
                f"lost follows connected: {report['connected']} connected, {report['lost']} lost, {report['open']} open"
            )
        if after.descriptors > before.descriptors:
            self._faults.append(f"descriptors are back: {before.descriptors} before, {after.descriptors} after")
        if after.threads > before.threads + THREADS_LIMIT:
            self._faults.append(f"threads are back: {before.threads} before, {after.threads} after")
        if after.blocks > before.blocks + BLOCKS_LIMIT:
            self._faults.append(f"objects are back: {before.blocks:,} blocks before, {after.blocks:,} after")
        if after.memory > before.memory + MEMORY_LIMIT:
            self._faults.append(f"memory is back: {before.memory >> 20} MiB before, {after.memory >> 20} MiB after")

    def _compare(self, stored: Path) -> None:
        """What was acknowledged is in the table, as it was sent."""
        acknowledged = set(stored_pairs(stored))
        with open_pool(self._url, min_size=1, max_size=1) as pool, pool.connection(timeout=PATIENCE) as lease:
            found = {(int(seed), int(number)): text for seed, number, text in lease.execute("SELECT * FROM stampede")}
        missing = acknowledged - found.keys()
        if missing:
            self._faults.append(f"what is acknowledged is stored: {len(missing)} of {len(acknowledged)} rows are not")
        altered = [pair for pair, text in found.items() if text != content("row", *pair, 20).hex()]
        if altered:
            self._faults.append(f"what is stored is what was sent: {len(altered)} rows are not, {altered[0]} say")

    def _keep(self, before: Left, after: Left, report: dict[str, Any]) -> None:
        case = f"{self._size.connections:,} connections, {self._size.seconds:g} s"
        keep = self._session.keep(BENCHMARK, case, self._model)
        for name in ("connections", "over TLS", "answers", "unasked", "stored", "not stored"):
            keep(name, "", self._counts.get(name, 0))
        keep("verified", "MiB", self._counts.get("bytes verified", 0) / (1 << 20))
        keep("hand-overs", "", report["handovers"])
        for name in ("pause", "resize", "suspend", "reload", "kill"):
            keep(f"{name}s", "", self._counts.get(name, 0))
        keep("sentences violated", "", len(self._faults))
        keep("descriptors more", "", after.descriptors - before.descriptors)
        keep("threads more", "", after.threads - before.threads)
        keep("blocks more", "", after.blocks - before.blocks)
        keep("memory more", "MiB", (after.memory - before.memory) / (1 << 20))
