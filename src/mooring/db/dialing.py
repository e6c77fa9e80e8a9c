"""Connecting the sockets of MySQL connections: several hosts, in order, without waiting long for a silent one."""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

STAGGER: Final = 1.0
# A dead network is noticed after about 60 + 3 x 10 s of silence, or 30 s after bytes that nobody acknowledged.
_SOCKET_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 60),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 30_000),
        )
        if hasattr(socket, name)
    ),
)


def dial_unix(path: str, timeout: float) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: refused.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def dial(hosts: Sequence[tuple[str, int]], timeout: float) -> tuple[socket.socket, int]:
    """Connect to the first host that answers.

    A host that refuses is passed over at once; one that is silent gets a second before the next one is tried beside it.

    Args:
        hosts: names or addresses with their ports, the preferred one first.
        timeout: seconds for all of it, the look-up of names aside.

    Returns:
        The socket, and which of ``hosts`` it is connected to.

    Raises:
        OSError: the last refusal; TimeoutError if none answered in time.
    """
    race = _Race(hosts, time.monotonic() + timeout)
    try:
        return race.run()
    finally:
        race.close()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Race:
    """Connects that run beside each other; the first to succeed wins."""

    def __init__(self, hosts: Sequence[tuple[str, int]], deadline: float) -> None:
        self._hosts = deque(enumerate(hosts))
        self._addresses: deque[tuple[int, int, tuple[object, ...]]] = deque()
        self._running: dict[int, tuple[socket.socket, int]] = {}
        self._deadline = deadline
        self._failure: OSError | None = None

    def run(self) -> tuple[socket.socket, int]:
        """Start one after the other until one is connected."""
        poll = select.poll()
        while True:
            while not self._running and self._start_next(poll):
                pass
            left = self._deadline - time.monotonic()
            if not self._running:
                raise self._failure or TimeoutError(errno.ETIMEDOUT, "timed out")
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "timed out")
            more = bool(self._addresses or self._hosts)
            winner = self._collect(poll.poll(1000 * (min(STAGGER, left) if more else left)), poll)
            if winner is not None:
                return winner
            self._start_next(poll)

    def _start_next(self, poll: select.poll) -> bool:
        """Begin one more connect; False if there is nothing left to try."""
        while not self._addresses:
            if not self._hosts:
                return False
            self._look_up(*self._hosts.popleft())
        number, family, address = self._addresses.popleft()
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._running[sock.fileno()] = sock, number
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._give_up(sock, code)
        else:
            poll.register(sock, select.POLLOUT)
        return True

    def _look_up(self, number: int, host: tuple[str, int]) -> None:
        try:
            found = socket.getaddrinfo(*host, type=socket.SOCK_STREAM)
        except OSError as exc:
            self._failure = exc
            return
        self._addresses.extend((number, family, address) for family, _, _, _, address in found)

    def _collect(self, events: list[tuple[int, int]], poll: select.poll) -> tuple[socket.socket, int] | None:
        for descriptor, _ in events:
            sock, number = self._running[descriptor]
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                del self._running[descriptor]
                for option in _SOCKET_OPTIONS:
                    sock.setsockopt(*option)
                return sock, number
            poll.unregister(descriptor)
            self._give_up(sock, code)
        return None

    def _give_up(self, sock: socket.socket, code: int) -> None:
        del self._running[sock.fileno()]
        sock.close()
        self._failure = OSError(code, os.strerror(code))

    def close(self) -> None:
        """Close those that lost."""
        for sock, _ in self._running.values():
            sock.close()
