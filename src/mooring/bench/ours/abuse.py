"""A server among strangers: ``python abuse.py PORT [TLS_PORT CERTIFICATE KEY [CLIENT_CA]] [--limits]``.

All limits are the defaults, or those of ``LIMITS``. The time-outs are 5 s, and so shorter than the defaults (10 s for a
handshake, 60 s for the first message, 30 s for a frame and for a peer that takes nothing), so that what they do is seen
within the seconds of a measurement: abusers are closed, and come again.
"""

from __future__ import annotations

import json
import sys

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.net.limits.limits import Limits
from mooring.net.tls.context import TLS
from mooring.server import Server

TIMEOUT = 5.0
LIMITS = Limits(
    per_address=200,
    connects_per_address_per_second=50,
    messages_per_second=1000,
    strikes=20,
    strike_time=60,
)
"""For a port that is open to the world, and devices of which up to some dozens share an address."""
BIG = b"x" * 16384


def answer(connection: Connection, message: bytes) -> bytes | None:
    """The handler."""
    if message == b"PING":
        return b"+PONG"
    if message == b"BIG":
        return BIG
    if message == b"STATS":
        stats = connection.server.stats()
        return json.dumps([stats.closed, stats.not_opened, stats.refusals]).encode()
    return None


def main(
    port: str, tls_port: str = "", certificate: str = "", key: str = "", client_ca: str = "", *, limits: Limits | None
) -> None:
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
        limits=limits,
        heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"),
        first_message_timeout=TIMEOUT,
        frame_timeout=TIMEOUT,
        write_timeout=TIMEOUT,
    ).run()


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--limits"]
    main(*given, limits=LIMITS if "--limits" in sys.argv else None)
