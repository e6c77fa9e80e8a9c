"""``Client``: the blocking counterpart of a server, for tests, examples and small tools."""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self, cast

from .errors import ConnectionClosed, FrameError
from .framing import Framing, Lines
from .net.address import Address, parse_address
from .net.tls.client import ClientTLS, TLSClientSocket, client_context

RECEIVE_SIZE = 64 * 1024


class Client:
    """A connection to a server. For one thread at a time.

    Iterating gives messages until the server closes. ``with Client(...) as client:`` closes it at the end.

    Args:
        address: ``tcp://HOST:PORT``, ``tls://HOST:PORT`` or ``unix:PATH``; or an Address, as ``server.addresses[0]``.
        framing: as the server's.
        timeout: seconds for connecting and for each ``send`` and ``recv``; None: no limit.
        tls: whom to believe at a ``tls://`` address. None or True: the authorities of the system; a path: those of this
            PEM file; or an ``ssl.SSLContext``. The server's certificate must be valid and have the name, or the IP
            address, that the address has.

    Raises:
        OSError: the connection cannot be made; ``ssl.SSLError``, one of them: the server is not who it should be.
        ValueError: the address is wrong, or ``tls`` does not fit it.
    """

    def __init__(
        self,
        address: str | Address,
        *,
        framing: Framing | None = None,
        timeout: float | None = 10.0,
        tls: ClientTLS = None,
    ) -> None:
        self.address = parse_address(address) if isinstance(address, str) else address
        context = client_context(self.address, tls)
        self.framing: Framing = framing if framing is not None else Lines()
        self.timeout = timeout
        self._messages: deque[bytes] = deque()
        self._rest = b""
        self._ended = False
        self._fault: FrameError | None = None
        self.socket = self._connect()
        if context is not None:
            self.socket = cast(socket.socket, TLSClientSocket(self.socket, context, self.address.host))

    def _connect(self) -> socket.socket:
        """A plain socket, connected; TLS begins on it after that."""
        if not self.address.is_unix:
            sock = socket.create_connection((self.address.host, self.address.port), self.timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.address.path)
        except BaseException:
            sock.close()
            raise
        return sock

    def send(self, *messages: bytes) -> None:
        """Send messages, in one piece.

        Raises:
            FrameError: the framing cannot carry one of them; nothing was sent.
            TimeoutError: the server took too little in time; the connection is of no use any more.
            OSError: the connection broke.
        """
        self.socket.settimeout(self.timeout)
        self.socket.sendall(b"".join(map(self.framing.join, messages)))

    def recv(self, timeout: float | None = None) -> bytes:
        """Receive one message.

        Args:
            timeout: seconds; None: the client's own.

        Raises:
            ConnectionClosed: the server has closed the connection.
            TimeoutError: nothing complete came in time; what came is kept.
            FrameError: the bytes are not of the framing; the messages before them were given.
            OSError: the connection broke.
        """
        limit = self.timeout if timeout is None else timeout
        deadline = None if limit is None else time.monotonic() + limit
        while not self._messages:
            if self._fault is not None:
                raise self._fault
            if self._ended:
                raise ConnectionClosed(f"{self.address} has closed the connection")
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"no message from {self.address} within {limit:g} s")
            self._receive(left)
        return self._messages.popleft()

    def _receive(self, timeout: float | None) -> None:
        self.socket.settimeout(timeout)
        data = self.socket.recv(RECEIVE_SIZE)
        if not data:
            self._ended = True
            return
        try:
            messages, self._rest, _ = self.framing.split(self._rest + data)
        except FrameError as exc:
            messages, self._fault = list(exc.messages), exc
        self._messages.extend(messages)

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.recv()
            except ConnectionClosed:
                return

    def send_eof(self) -> None:
        """Say that nothing more will be sent; the answers that are owed can still be received.

        Harmless if the server has reset the connection meanwhile: ``recv`` tells.
        """
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as exc:
            if exc.errno != errno.ENOTCONN:
                raise

    def close(self) -> None:
        """Close the connection. Twice is harmless."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
