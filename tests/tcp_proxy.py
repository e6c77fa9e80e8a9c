"""A TCP proxy that breaks the network on command: refuses, swallows, resets, delays."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from types import TracebackType


class FaultProxy:
    """Passes bytes to ``127.0.0.1:port``. One thread; ``mode`` may be changed from any other.

    Attributes:
        mode: "pass"; "blackhole": accepts, and passes nothing on; "delay": each piece waits for ``delay``.
        delay: seconds.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.mode = "pass"
        self.delay = 0.0
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._server.getsockname()[1]
        self._selector.register(self._server, selectors.EVENT_READ)
        self._orders, self._giver = socket.socketpair()
        self._selector.register(self._orders, selectors.EVENT_READ)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._order(b"q")
        self._thread.join(10)
        self._selector.close()
        self._server.close()
        self._orders.close()
        self._giver.close()

    def reset(self) -> None:
        """Reset all connections of now (RST)."""
        self._order(b"r")

    def refuse(self) -> None:
        """Refuse new connections, and reset those of now; ``accept`` ends it."""
        self._order(b"x")

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._order(b"a")

    def _order(self, order: bytes) -> None:
        self._done.clear()
        self._giver.sendall(order)
        assert self._done.wait(10)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                if sock is self._orders:
                    order = self._orders.recv(1)
                    self._obey(order)
                    self._done.set()
                    if order == b"q":
                        return
                elif sock is self._server:
                    self._connect()
                elif isinstance(sock, socket.socket) and sock in self._pairs:
                    self._pass(sock)

    def _obey(self, order: bytes) -> None:
        if order in b"rxq":
            for sock in list(self._pairs):
                self._close(sock)
        if order == b"x":
            self._selector.unregister(self._server)
            self._server.close()
        if order == b"a":
            self._server = socket.create_server(("127.0.0.1", self.port))
            self._selector.register(self._server, selectors.EVENT_READ)

    def _connect(self) -> None:
        near, _ = self._server.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass(self, sock: socket.socket) -> None:
        if self.mode == "blackhole":
            time.sleep(0.005)  # what has come stays where it is
            return
        try:
            data = sock.recv(65536)
            if data and self.mode == "delay":
                time.sleep(self.delay)
            if data:
                self._pairs[sock].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        other = self._pairs.pop(sock, None)
        if other is None:
            return
        self._pairs.pop(other)
        for end in (sock, other):
            self._selector.unregister(end)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
