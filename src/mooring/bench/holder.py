"""Many idle connections, as a program: each speaks once, then answers heartbeats until standard input is closed.

It is told what to do by one JSON argument and writes two JSON lines: when all connections have spoken, and at its end.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from typing import Any

from mooring.running import raise_descriptor_limit

PER_ADDRESS = 7000
"""Connections from one source address: with more than about 14,000 the search for a free port gets very slow."""
UNANSWERED = 512
"""Connections that may wait for their first answer, so that the listener's backlog never overflows."""
PATIENCE = 30.0
"""Seconds without any progress after which connecting is given up."""
FIRST_ADDRESS = 2


class Holder:
    """Opens and holds the connections of one process.

    Args:
        port: of the server.
        offset: connections that others hold; decides the source addresses.
        request: what each says once.
        beat: the server's heartbeat, as it comes.
        answer: what is sent back for it.
        authority: whom to believe, a PEM file: over TLS then; None: plain.
    """

    def __init__(
        self, port: int, offset: int, request: bytes, beat: bytes, answer: bytes, authority: str | None = None
    ) -> None:
        self._tls = ssl.create_default_context(cafile=authority) if authority is not None else None
        self._port = port
        self._offset = offset
        self._request = request
        self._beat = beat
        self._answer = answer
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._answered = 0
        self.beats = 0
        self.lost = 0

    def open(self, count: int) -> float:
        """Connect all, and wait until each has its answer; the seconds that it took.

        Raises:
            TimeoutError: nothing happened for PATIENCE.
        """
        begin = progress = time.monotonic()
        while self._answered < count:
            before = self._answered
            while len(self._sockets) < min(count, self._answered + UNANSWERED):
                self._connect()
            self._turn(0.1)
            if self._answered > before:
                progress = time.monotonic()
            elif time.monotonic() > progress + PATIENCE:
                raise TimeoutError(f"{self._answered} of {count} connections were answered, then none")
        return time.monotonic() - begin

    def hold(self) -> None:
        """Answer heartbeats until standard input is closed."""
        self._epoll.register(0, select.EPOLLIN)
        while self._turn(1.0):
            pass

    def close(self) -> None:
        """Close all connections, by reset: thousands in TIME_WAIT would slow down the next run."""
        for one in self._sockets.values():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        self._epoll.close()

    def _connect(self) -> None:
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        one.bind((f"127.0.0.{FIRST_ADDRESS + (self._offset + len(self._sockets)) // PER_ADDRESS}", 0))
        one.settimeout(PATIENCE)
        one.connect(("127.0.0.1", self._port))
        if self._tls is not None:
            one = self._tls.wrap_socket(one, server_hostname="localhost")
        one.setblocking(False)
        self._sockets[one.fileno()] = one
        self._epoll.register(one, select.EPOLLIN)
        one.send(self._request)

    def _turn(self, timeout: float) -> bool:
        """Look once at all connections; whether to go on."""
        for descriptor, _ in self._epoll.poll(timeout):
            if descriptor == 0:
                return False
            self._read(descriptor)
        return True

    def _read(self, descriptor: int) -> None:
        one = self._sockets[descriptor]
        try:
            data = one.recv(4096)
        except ssl.SSLWantReadError:
            return  # a ticket
        except ConnectionError:
            data = b""
        if not data:
            self.lost += 1
            self._epoll.unregister(one)
            return
        beats = data.count(self._beat)
        if beats:
            self.beats += beats
            one.send(self._answer * beats)
        if len(data) > beats * len(self._beat):
            self._answered += 1


def main() -> None:
    """Do what the argument says."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    raise_descriptor_limit()
    holder = Holder(
        task["port"],
        task["offset"],
        task["request"].encode(),
        task["beat"].encode(),
        task["answer"].encode(),
        task.get("authority"),
    )
    try:
        print(json.dumps({"seconds": holder.open(task["count"])}), flush=True)
        holder.hold()
        print(json.dumps({"beats": holder.beats, "lost": holder.lost}), flush=True)
    finally:
        holder.close()


if __name__ == "__main__":
    main()
