"""A place to run servers: one model on one transport."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from certificates import Authority

from mooring import TLS, Client, ProxyProtocol, Server
from mooring.framing import Framing

LOCAL_HEADER = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
"""Of the PROXY protocol, version 2: the connection is the balancer's own."""


class BalancedClient(Client):
    """Comes as through a load balancer: its first bytes say, by the PROXY protocol, whose connection it is."""

    def _connect(self) -> socket.socket:
        sock = super()._connect()
        if sock.family == socket.AF_UNIX:
            header = LOCAL_HEADER
        else:
            family = "TCP6" if sock.family == socket.AF_INET6 else "TCP4"
            (source, source_port), (target, target_port) = sock.getsockname()[:2], sock.getpeername()[:2]
            header = f"PROXY {family} {source} {target} {source_port} {target_port}\r\n".encode()
        try:
            sock.sendall(header)
        except OSError:  # closed already: whoever uses it next learns of it
            pass
        return sock


class Place:
    """Makes servers of one model on one transport, and connections to them."""

    def __init__(
        self,
        model: str,
        transport: str,
        folder: Path,
        stack: contextlib.ExitStack,
        authority: Authority | None = None,
    ) -> None:
        self.authority = authority
        self.model = model
        self.transport, _, self._balanced = transport.partition(" ")
        self._folder = folder
        self._stack = stack
        self._count = 0

    def server(self, handler: Any, *, start: bool = True, **options: Any) -> Server:
        """A server that is stopped at the end of the test."""
        self._count += 1
        bind = {
            "tcp4": "tcp://127.0.0.1:0",
            "tcp6": "tcp://[::1]:0",
            "tls": "tls://127.0.0.1:0",
            "unix": f"unix:{self._folder}/{self._count}.sock",
        }[self.transport]
        if self.authority is not None and self.transport == "tls":
            pair = self.authority.server
            options.setdefault("tls", TLS(pair.certificate, pair.key))
        if self._balanced:
            version = 2 if self.transport == "unix" else 1
            options.setdefault("proxy_protocol", ProxyProtocol(version, ("127.0.0.0/8", "::1/128")))
        server = Server(handler, bind=bind, model=self.model, **options)
        self._stack.callback(server.stop, 5.0)
        if start:
            server.start()
        return server

    def client(self, server: Server, framing: Framing | None = None) -> Client:
        """A connection that is closed at the end of the test."""
        return self._stack.enter_context(self.connect(server, framing))

    def connect(self, server: Server, framing: Framing | None = None) -> Client:
        """A connection that the caller closes."""
        tls = self.authority.believing if self.authority is not None and self.transport == "tls" else None
        kind = BalancedClient if self._balanced else Client
        return kind(server.addresses[0], framing=framing, tls=tls)

    def socket(self, server: Server) -> socket.socket:
        """A plain socket, connected."""
        return self.client(server).socket
