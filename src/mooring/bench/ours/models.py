"""One set of handlers under each of the three models: ``python models.py PORT MODEL``."""

from __future__ import annotations

import sys
import time

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.server import Server
from mooring.threads import blocking


def answer(connection: Connection, message: bytes) -> bytes:
    """The handler: quick, but for those that wait."""
    if message == b"SLOW":
        with blocking():
            time.sleep(0.005)
        return b"+DONE"
    return b"+PONG"


if __name__ == "__main__":
    Server(
        answer,
        framing=Lines(b"\r\n"),
        bind=f"tcp://127.0.0.1:{sys.argv[1]}",
        model=sys.argv[2],
        heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"),
    ).run()
