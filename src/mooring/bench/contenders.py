"""Who is measured: each server with its source, its package and its version."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .process import ServerProcess, free_port

FOLDER: Final = Path(__file__).parent
ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Package:
    """Something that has to be installed before a server can run.

    Args:
        module: what is imported; or the program, if ``debian``.
        name: what pip, or apt, installs.
        debian: whether it is a program from a Debian package.
        asks: what makes this program tell its version.
    """

    module: str
    name: str
    debian: bool = False
    asks: str = "--version"

    def missing(self) -> str:
        """What to do to get it; empty if it is there."""
        if self.debian:
            return "" if shutil.which(self.module) else f"apt-get install {self.name}"
        return "" if importlib.util.find_spec(self.module) else f"pip install {self.name}"

    def version(self) -> str:
        """Its version, as it says itself."""
        if not self.debian:
            return importlib.metadata.version(self.name)
        done = subprocess.run([self.module, self.asks], capture_output=True, text=True, check=False)  # noqa: S603
        said = done.stdout or done.stderr
        return next((word.strip("v=") for word in said.split() if word.strip("v=")[:1].isdigit()), said.strip())


UVLOOP: Final = Package("uvloop", "uvloop")
GEVENT: Final = Package("gevent", "gevent")
TWISTED: Final = Package("twisted", "Twisted")
REDIS_SERVER: Final = Package("redis-server", "redis-server", debian=True)
REDIS_BENCHMARK: Final = Package("redis-benchmark", "redis-tools", debian=True)
STUNNEL: Final = Package("stunnel", "stunnel4", debian=True, asks="-version")
CRYPTOGRAPHY: Final = Package("cryptography", "cryptography")


@dataclass(frozen=True)
class Contender:
    """A server that is measured, by the name it has in tables.

    Args:
        name: unique within a measurement.
        script: its source, relative to this folder; it gets the port, what ``start`` is given, and ``arguments``.
        arguments: further arguments.
        package: what it needs besides Python.
        ours: whether it is Mooring.
    """

    name: str
    script: str = ""
    arguments: tuple[str, ...] = ()
    package: Package | None = None
    ours: bool = False

    def command(self, port: int, *more: str) -> list[str]:
        """How it is started."""
        if not self.script:
            return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        # -P: the scripts' folder is not where they find their modules.
        return [sys.executable, "-P", str(FOLDER / self.script), str(port), *more, *self.arguments]

    def start(self, core: int | None, *more: str) -> ServerProcess:
        """Start it on a free port.

        Raises:
            ProcessFailed: it does not listen.
        """
        for attempt in range(ATTEMPTS):
            port = free_port()
            try:
                return ServerProcess(self.command(port, *more), port, core)
            except Exception:
                # Somebody may have taken the port in between.
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("not reached")


def mooring(name: str, script: str, *arguments: str) -> Contender:
    """One of our own servers."""
    return Contender(name, f"ours/{script}.py", arguments, ours=True)


def peer(name: str, script: str, *arguments: str, package: Package | None = None) -> Contender:
    """Somebody else's server."""
    return Contender(name, f"peers/{script}.py", arguments, package)


MOORING: Final = mooring("Mooring", "ping")
REDIS: Final = Contender("redis-server", package=REDIS_SERVER)
ASYNCIO_PROTOCOL: Final = peer("asyncio Protocol", "asyncio_protocol")
UVLOOP_PROTOCOL: Final = peer("uvloop Protocol", "asyncio_protocol", "uvloop", package=UVLOOP)

PING: Final = (
    REDIS,
    MOORING,
    ASYNCIO_PROTOCOL,
    UVLOOP_PROTOCOL,
    peer("uvloop Protocol, one joined write", "asyncio_protocol_joined", "uvloop", package=UVLOOP),
    peer("asyncio streams", "asyncio_streams"),
    peer("uvloop streams", "asyncio_streams", "uvloop", package=UVLOOP),
    peer("gevent", "gevent_ping", package=GEVENT),
    peer("Twisted", "twisted_ping", package=TWISTED),
    peer("ThreadingTCPServer", "threading_ping"),
)
"""All that answer PING."""

TLS_PING: Final = (
    mooring("Mooring", "ping_tls"),
    Contender("Mooring behind stunnel", "ours/ping_behind_stunnel.py", package=STUNNEL),
    peer("asyncio Protocol", "asyncio_tls"),
    peer("uvloop Protocol", "asyncio_tls", "uvloop", package=UVLOOP),
)
"""All that answer PING over TLS; they get the paths of a certificate and its key."""

PINGING_THREADS: Final = "ThreadingTCPServer"

WAYS: Final = ("announced", "lease", "unannounced")
SHAPES: Final = ("function", "Router")
WAITING: Final = tuple(mooring(f"Mooring, {shape}, {way}", "mixed", shape, way) for shape in SHAPES for way in WAYS)
"""Ours with handlers that wait: each way to say so (or not) in each shape."""

COMPUTING: Final = tuple(mooring(f"Mooring, {shape}", "mixed", shape, "unannounced") for shape in SHAPES)
"""Ours where nobody says anything."""

UVLOOP_TO_THREAD: Final = peer("uvloop + to_thread", "asyncio_mixed", "to_thread", "uvloop", package=UVLOOP)
ASYNCIO_TO_THREAD: Final = peer("asyncio + to_thread", "asyncio_mixed", "to_thread")
ASYNCIO_PROCESSES: Final = peer("asyncio + ProcessPoolExecutor", "asyncio_mixed", "processes")
THREADING: Final = peer("ThreadingTCPServer", "threading_mixed")
GEVENT_MIXED: Final = peer("gevent", "gevent_mixed", package=GEVENT)
TWISTED_TO_THREAD: Final = peer("Twisted + deferToThread", "twisted_mixed", package=TWISTED)
UNPROTECTED: Final = peer("asyncio streams, nothing done", "asyncio_mixed", "nothing")
MANY_THREADS: Final = peer("uvloop + to_thread, 64 threads", "asyncio_mixed", "64_threads", "uvloop", package=UVLOOP)

MIXED_PEERS: Final = (
    UVLOOP_TO_THREAD,
    MANY_THREADS,
    ASYNCIO_TO_THREAD,
    GEVENT_MIXED,
    TWISTED_TO_THREAD,
    THREADING,
    UNPROTECTED,
)
CPU_PEERS: Final = (ASYNCIO_TO_THREAD, UVLOOP_TO_THREAD, ASYNCIO_PROCESSES, THREADING)
SURPRISED_PEERS: Final = (UNPROTECTED, GEVENT_MIXED, THREADING)

ASYNCMY: Final = Package("asyncmy", "asyncmy")
AIOMYSQL: Final = Package("aiomysql", "aiomysql")
SQLALCHEMY: Final = Package("sqlalchemy", "SQLAlchemy")

INGEST_OURS: Final = mooring("Mooring", "ingest", "group")
INGEST_SINGLE: Final = mooring("Mooring, group commit off", "ingest", "single")
INGEST_THREADS: Final = peer("ThreadingTCPServer + SQLAlchemy + PyMySQL", "ingest_threading", package=SQLALCHEMY)
INGEST_PEERS: Final = (
    peer("asyncio + asyncmy", "ingest_asyncio", "asyncmy", "insert", package=ASYNCMY),
    peer("asyncio + aiomysql", "ingest_asyncio", "aiomysql", "insert", package=AIOMYSQL),
    INGEST_THREADS,
    peer("gevent + PyMySQL", "ingest_gevent", package=GEVENT),
)
INGEST_QUEUE: Final = peer("asyncio + asyncmy, queue by hand", "ingest_asyncio", "asyncmy", "queue", package=ASYNCMY)
INGEST: Final = (INGEST_OURS, INGEST_SINGLE, *INGEST_PEERS, INGEST_QUEUE)
"""All that store pushes."""

INGEST_CHARTED: Final = (INGEST_OURS, INGEST_SINGLE, INGEST_THREADS)
"""Those whose rate and latency are drawn over the load."""

INGEST_DRIVER: Final = peer("PyMySQL, 500 rows each", "ingest_driver")
"""No server: what the database takes."""
