"""A server among strangers: ``python abuse.py PORT [TLS_PORT CERTIFICATE KEY [CLIENT_CA]]``.

All limits are the defaults, but for time-outs of 5 s. They are shorter than the defaults (10 s for a handshake, 60 s
for the first message, 30 s for a frame and for a peer that takes nothing), so that what they do is seen within the
seconds of a measurement: abusers are closed, and come again.
"""

from __future__ import annotations

import json
import sys

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection import Connection
from mooring.net.tls import TLS
from mooring.server import Server

TIMEOUT = 5.0
BIG = b"x" * 16384


def answer(connection: Connection, message: bytes) -> bytes | None:
    """The handler."""
    if message == b"PING":
        return b"+PONG"
    if message == b"BIG":
        return BIG
    if message == b"STATS":
        stats = connection.server.stats()
        shown = {"connections": stats.connections, "accepted": stats.accepted, "refused": stats.refused}
        return json.dumps({**shown, "closed": stats.closed}).encode()
    return None


def main(port: str, tls_port: str = "", certificate: str = "", key: str = "", client_ca: str = "") -> None:
    """Serve until TERM."""
    bind, tls = [f"tcp://127.0.0.1:{port}"], None
    if tls_port:
        bind.append(f"tls://127.0.0.1:{tls_port}")
        tls = TLS(certificate, key, client_ca=client_ca or None, handshake_timeout=TIMEOUT)
    Server(
        answer,
        framing=Lines(b"\r\n"),
        bind=bind,
        tls=tls,
        heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"),
        first_message_timeout=TIMEOUT,
        frame_timeout=TIMEOUT,
        write_timeout=TIMEOUT,
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
