"""Quick and slow calls on Mooring: ``python mixed.py PORT SHAPE WAY``.

SHAPE: ``function`` (one handler for all, its calls differ) or ``Router`` (a route for each kind of message).
WAY, how a handler that waits says so: ``announced`` (``with blocking()``), ``lease`` (it waits for a database of the
pool) or ``unannounced``. The handlers that compute or sleep unexpectedly say nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable

from mooring.db import SQLiteConnectionPool
from mooring.framing import Lines
from mooring.handler import Router
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.server import Server
from mooring.threads import blocking

WAIT = 0.005
SURPRISE = 0.1


def wait_announced(connection: Connection, message: bytes) -> bytes:
    """Wait, and say so."""
    with blocking():
        time.sleep(WAIT)
    return b"+DONE"


def wait_for_lease(connection: Connection, message: bytes) -> bytes:
    """Wait for a database that needs its time; the lease says so."""
    with connection.server.database.connection() as lease:
        lease.execute("SELECT 1")
        time.sleep(WAIT)
    return b"+DONE"


def wait_unannounced(connection: Connection, message: bytes) -> bytes:
    """Wait, and say nothing."""
    time.sleep(WAIT)
    return b"+DONE"


def compute(connection: Connection, message: bytes) -> bytes:
    """Compute: ``CPU N`` counts to N."""
    total = 0
    for number in range(int(message[4:])):
        total += number
    return b"+DONE"


def ping(connection: Connection, message: bytes) -> bytes:
    """Quick, nearly always."""
    if message == b"PING surprise":
        time.sleep(SURPRISE)
    return b"+PONG"


WAYS = {"announced": wait_announced, "lease": wait_for_lease, "unannounced": wait_unannounced}
Function = Callable[[Connection, bytes], bytes]


def as_function(wait: Function) -> Function:
    """One function for everything."""

    def answer(connection: Connection, message: bytes) -> bytes:
        if message == b"SLOW":
            return wait(connection, message)
        if message.startswith(b"CPU"):
            return compute(connection, message)
        return ping(connection, message)

    return answer


def as_router(wait: Function) -> Router:
    """A route for each kind."""
    router = Router(key=lambda message: message[:4])
    router.on(b"PING")(ping)
    router.on(b"SLOW")(wait)
    router.on(b"CPU ")(compute)
    return router


def main(port: str, shape: str, way: str) -> None:
    """Serve until TERM."""
    wait = WAYS[way]
    with tempfile.TemporaryDirectory() as folder:
        Server(
            as_router(wait) if shape == "Router" else as_function(wait),
            framing=Lines(b"\r\n"),
            bind=f"tcp://127.0.0.1:{port}",
            heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"),
            database=SQLiteConnectionPool(f"sqlite:///{folder}/database") if way == "lease" else None,
        ).run()


if __name__ == "__main__":
    main(*sys.argv[1:4])
