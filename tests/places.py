"""A place to run servers: one model on one transport."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from certificates import Authority

from mooring import TLS, Client, Server
from mooring.framing import Framing


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
        self.transport = transport
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
        return Client(server.addresses[0], framing=framing, tls=tls)

    def socket(self, server: Server) -> socket.socket:
        """A plain socket, connected."""
        return self.client(server).socket
