"""Where the admin side listens, and whether it may."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

from ..errors import BindError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7001
PORTS_TRIED: Final = 50


@dataclass(frozen=True)
class Place:
    """Where to listen.

    Args:
        host: an IP address or ``localhost``.
        port: 0 lets the kernel choose.
        moves: take the next free port if this one is taken.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    moves: bool = True

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def url(self, port: int) -> str:
        """What a browser is given."""
        address = None if self.host == "localhost" else ipaddress.ip_address(self.host)
        host = self.host
        if address is not None and address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "[::1]"
        elif address is not None and address.version == 6:
            host = f"[{self.host}]"
        return f"http://{host}:{port}"


def parse_place(text: str) -> Place | None:
    """Read ``HOST:PORT``, or ``off`` (None).

    Raises:
        ValueError: what is wrong, and what it looks like.
    """
    if text == "off":
        return None
    example = "write HOST:PORT, for example 127.0.0.1:7001 or [::1]:7001, or off"
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r}: {example}")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{text!r}: the host must be an IP address or localhost; {example}") from None
    return Place(host, int(port), moves=False)


def check_reach(place: Place, token: str | None) -> None:
    """Whoever can reach it from elsewhere must need a token.

    Raises:
        ValueError: there is none.
    """
    if token is None and not place.is_loopback:
        raise ValueError(
            f"{place.host}:{place.port} can be reached from elsewhere; "
            "give it a token with --admin-token-file (`openssl rand -hex 32` makes one), or listen on 127.0.0.1"
        )


def listen(place: Place) -> socket.socket:
    """Open the socket.

    Raises:
        BindError: it cannot be done; the text says what to do.
    """
    last = min(place.port + PORTS_TRIED, 65536) if place.moves and place.port else place.port + 1
    for port in range(place.port, last):
        try:
            return _open(place.host, port)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE and port + 1 < last:
                continue
            raise _error(place, port, exc) from exc
    raise AssertionError("there is at least one port")


def _open(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(64)
        sock.setblocking(False)
        stack.pop_all()
    return sock


def _error(place: Place, port: int, exc: OSError) -> BindError:
    what = (exc.strerror or str(exc)).lower()
    if exc.errno == errno.EADDRINUSE:
        what += f"; `ss -ltnp 'sport = :{port}'` tells who has it; choose another with --admin, or --admin off"
    return BindError(f"admin on {place.host}:{port}: {what}")
