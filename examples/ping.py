"""Answers ``+PONG`` to every line, as ``redis-benchmark -t ping_inline`` wants it.

.venv/bin/mooring serve --app-dir examples ping
"""

from mooring import Connection, Server
from mooring.framing import Lines


def ping(connection: Connection, message: bytes) -> bytes:
    """Answer whatever comes."""
    return b"+PONG"


server = Server(ping, framing=Lines(b"\r\n"), blocking=False)
