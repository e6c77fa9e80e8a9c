"""What systemd and a service say to each other: ready, status, watchdog (sd_notify(3)), and sockets (sd_listen_fds(3)).

A datagram and two variables; the libraries for it are asleep or need a compiler.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping, Sequence
from typing import Final

from ..server import Server

logger = logging.getLogger("mooring")

FIRST_DESCRIPTOR: Final = 3
MOST_DESCRIPTORS: Final = 1000
STATUS_INTERVAL: Final = 10.0
OLDEST_LOOP: Final = 10.0
"""Seconds: a loop that has not come round for longer is not well, and the watchdog is not fed."""


class Notifier:
    """Tells the service manager what the process does; without one every method does nothing.

    Takes the variables out of the environment, so that children do not speak in our name.

    Args:
        environ: where the variables are.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._feeding_interval = _watchdog_interval(environ) / 2
        self._fed_at = self._told_at = 0.0

    def ready(self, servers: Sequence[Server]) -> None:
        """The servers are started, or their settings have been reloaded."""
        self._tell("READY=1", f"STATUS={_status(servers)}")

    def reloading(self) -> None:
        """The settings are being reloaded; ``ready`` ends that."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, timeout: float) -> None:
        """The drain has begun, which may take so many seconds."""
        self._tell("STOPPING=1", "STATUS=draining", f"EXTEND_TIMEOUT_USEC={int((timeout + 10) * 1e6)}")

    def tick(self, servers: Sequence[Server]) -> None:
        """Feed the watchdog if all loops come round, and renew the status; to be called about twice a second."""
        if not self._address:
            return
        now = time.monotonic()
        hungry = self._feeding_interval and now - self._fed_at >= self._feeding_interval
        if hungry and all(server.loop_age < OLDEST_LOOP for server in servers):
            self._fed_at = now
            self._tell("WATCHDOG=1")
        if now - self._told_at >= STATUS_INTERVAL:
            self._told_at = now
            self._tell(f"STATUS={_status(servers)}")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(1.0)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as exc:
            logger.warning("the service manager was not told %s: %s", lines[0], exc)


def _watchdog_interval(environ: MutableMapping[str, str]) -> float:
    """Seconds within which the watchdog wants to be fed; 0.0 without one, sd_watchdog_enabled(3)."""
    microseconds, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or (process and process != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6


def _status(servers: Sequence[Server]) -> str:
    connections = sum(len(server.connections) for server in servers)
    addresses = ", ".join(str(address) for server in servers for address in server.addresses)
    return f"{connections} connections on {addresses}"


def inherited_sockets(environ: MutableMapping[str, str]) -> list[tuple[int, str]]:
    """The sockets that the service manager has opened for this process, each with its name, sd_listen_fds(3)."""
    process, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()) or not count.isdigit():
        return []
    number = min(int(count), MOST_DESCRIPTORS)
    names += [""] * (number - len(names))
    return [(FIRST_DESCRIPTOR + index, names[index]) for index in range(number)]


def bind_inherited(servers: Sequence[Server], inherited: Sequence[tuple[int, str]]) -> None:
    """Have servers listen on inherited sockets instead of their own addresses.

    With several servers a socket goes to the one that is called as it is (``FileDescriptorName=``); a server for
    which there is none keeps its addresses. A server that has a certificate speaks TLS on all of its sockets.

    Raises:
        ValueError: a socket belongs to none of the servers.
    """
    binds: dict[int, list[str]] = {}
    for descriptor, name in inherited:
        index = 0 if len(servers) == 1 else next((at for at, one in enumerate(servers) if one.name == name), None)
        if index is None:
            called = ", ".join(repr(server.name) for server in servers)
            raise ValueError(
                f"the inherited socket fd://{descriptor} is called {name!r}, and the servers are {called}; "
                "give it the name of one with FileDescriptorName="
            )
        kind = "tls+fd" if servers[index].configuration.tls is not None else "fd"
        binds.setdefault(index, []).append(f"{kind}://{descriptor}")
    for index, addresses in binds.items():
        servers[index].reconfigure(bind=addresses)
