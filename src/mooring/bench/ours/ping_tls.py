"""PING on Mooring over TLS: ``python ping_tls.py PORT CERTIFICATE KEY``."""

from __future__ import annotations

import sys

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.net.tls.context import TLS
from mooring.server import Server


def answer(connection: Connection, message: bytes) -> bytes:
    """The handler."""
    return b"+PONG"


if __name__ == "__main__":
    Server(
        answer,
        framing=Lines(b"\r\n"),
        bind=f"tls://127.0.0.1:{sys.argv[1]}",
        heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"),
        tls=TLS(sys.argv[2], sys.argv[3]),
    ).run()
