"""What waits on a connection in the kernel, or in a layer of ours on it, without taking any of it."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from typing import Final

from .connection import Connection

DONT_WAIT: Final = socket.MSG_DONTWAIT


def unsent_bytes(connection: Connection) -> int:
    """Bytes that the kernel holds and the peer's has not acknowledged, SIOCOUTQ of tcp(7) and unix(7)."""
    return int.from_bytes(fcntl.ioctl(connection._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def has_more(connection: Connection) -> bool:
    """Whether a layer of ours holds input that nobody has read yet, of which the descriptor does not tell."""
    ask: Callable[[], bool] | None = getattr(connection._socket, "has_more", None)
    return ask is not None and ask()


def has_bytes(connection: Connection) -> bool:
    """Whether the kernel holds input that nobody has read yet."""
    try:
        return bool(connection._socket.recv(1, socket.MSG_PEEK | DONT_WAIT))
    except OSError:
        return False
