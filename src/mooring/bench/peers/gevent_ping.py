"""PING on gevent, everything patched: ``python gevent_ping.py PORT``."""

# ruff: noqa: E402 - patching comes before all other imports
# gevent has no types.
# mypy: ignore-errors
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import socket
import sys
from typing import Any

from gevent.server import StreamServer


def serve(connection: socket.socket, address: Any) -> None:
    """One connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection.makefile("rb") as lines:
            for _ in lines:
                connection.sendall(b"+PONG\r\n")
    except ConnectionError:
        pass


if __name__ == "__main__":
    StreamServer(("127.0.0.1", int(sys.argv[1])), serve, backlog=1024).serve_forever()
