"""Idle connections on Mooring, which answer their heartbeats with OK: ``python idle.py PORT [INTERVAL]``."""

from __future__ import annotations

import sys

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.server import Server


def answer(connection: Connection, message: bytes) -> bytes | None:
    """The handler."""
    return None if message == b"OK" else b"+PONG"


if __name__ == "__main__":
    interval = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    Server(
        answer,
        framing=Lines(b"\r\n"),
        bind=f"tcp://127.0.0.1:{sys.argv[1]}",
        heartbeat=Heartbeat(timeout=3 * interval, interval=interval, message=b"BEAT"),
    ).run()
