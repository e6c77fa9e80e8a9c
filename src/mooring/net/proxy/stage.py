"""The PROXY header as the first stage of a new socket. Not one byte behind the header is taken out of the kernel."""

from __future__ import annotations

import logging
import select
import socket
from typing import Any

from ..accepting.opening import OpeningFailed
from ..limits.gate import Gate
from .header import LARGEST_V1, LARGEST_V2, ProxyHeaderError, parse_header
from .protocol import ProxyProtocol


class AnnouncedSocket(socket.socket):
    """A socket whose client was announced by a load balancer; ``getpeername`` still tells of the balancer.

    Attributes:
        announced: the client's address, packed (``address.pack_sockaddr``).
    """

    __slots__ = ("announced",)

    announced: Any


def announce(sock: socket.socket, packed: Any) -> AnnouncedSocket:
    """The same socket, with the announced address; the object that was given is not one any more."""
    family, kind, protocol = sock.family, sock.type, sock.proto
    announced = AnnouncedSocket(family, kind, protocol, fileno=sock.detach())
    announced.setblocking(False)
    announced.announced = packed
    return announced


class ProxyStage:
    """Reads the header; see Stage.

    Args:
        protocol: which version, and how long it may take.
        gate: judges the address that was announced.
    """

    name = "proxy"
    setting = "ProxyProtocol.timeout"

    def __init__(self, protocol: ProxyProtocol, gate: Gate) -> None:
        self.version = protocol.version
        self.timeout = float(protocol.timeout)
        self.gate = gate

    def begin(self, sock: socket.socket) -> ProxyStep:
        """See Stage."""
        return ProxyStep(self, sock)


class ProxyStep:
    """One socket whose header is being read; see Step."""

    __slots__ = ("_data", "_stage", "socket")

    def __init__(self, stage: ProxyStage, sock: socket.socket) -> None:
        self._stage = stage
        self._data = b""
        self.socket = sock

    def advance(self) -> int:
        """See Step: look at what is there, and take out of the kernel what belongs to the header alone."""
        stage = self._stage
        largest = LARGEST_V1 if stage.version == 1 else LARGEST_V2
        try:
            found = self.socket.recv(largest - len(self._data), socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return select.EPOLLIN
        if not found:
            # A port that is looked at and left: a balancer's health check of the simple kind, or a scanner.
            level = logging.INFO if self._data else logging.DEBUG
            raise OpeningFailed("left", f"it ended after {len(self._data)} bytes", level)
        known = len(self._data)
        self._data += found
        try:
            header = parse_header(stage.version, self._data)
        except ProxyHeaderError as exc:
            raise OpeningFailed("header", str(exc)) from exc
        if header is None:
            self._take(len(found))  # all of it is the header's: it would be reported again and again otherwise
            return select.EPOLLIN
        self._take(header.size - known)
        if header.peer is not None:
            self._arrived(header.peer)
        return 0

    def _take(self, count: int) -> None:
        taken = 0
        while taken < count:
            taken += len(self.socket.recv(count - taken))

    def _arrived(self, packed: Any) -> None:
        gate = self._stage.gate
        verdict = gate.check_address(packed)
        if verdict is not None:
            reason, detail = verdict
            gate.refusals.note(reason, packed, detail)
            raise OpeningFailed("refused", reason.value, logging.DEBUG)
        gate.announced(self.socket.fileno(), packed)
        self.socket = announce(self.socket, packed)
