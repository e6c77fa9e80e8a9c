"""Quick and slow calls on gevent, everything patched, so that waiting yields: ``python gevent_mixed.py PORT``."""

# ruff: noqa: E402 - patching comes before all other imports
# gevent has no types.
# mypy: ignore-errors
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import socket
import sys
import time
from typing import Any

from gevent.server import StreamServer


def compute(rounds: int) -> None:
    """A handler that computes."""
    total = 0
    for number in range(rounds):
        total += number


def answer(line: bytes) -> bytes:
    """The answer to one line."""
    if line.startswith(b"SLOW"):
        time.sleep(0.005)
        return b"+DONE\r\n"
    if line.startswith(b"CPU"):
        compute(int(line[4:]))
        return b"+DONE\r\n"
    if line.startswith(b"PING surprise"):
        time.sleep(0.1)
    return b"+PONG\r\n"


def serve(connection: socket.socket, address: Any) -> None:
    """One connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection.makefile("rb") as lines:
            for line in lines:
                connection.sendall(answer(line))
    except ConnectionError:
        pass


if __name__ == "__main__":
    StreamServer(("127.0.0.1", int(sys.argv[1])), serve, backlog=1024).serve_forever()
