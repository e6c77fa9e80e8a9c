"""Callers in a closed loop: each sends its next request as soon as the last one is answered.

The same loop drives every server, and its own time is in every latency alike. A server that stalls is not spared by
it: all callers wait, and the longest of their waits is what the stall cost.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

LONGEST_POLL = 0.05


class ServerClosed(Exception):
    """The server closed a connection, which no server is asked to do here."""


class Caller:
    """One connection and its request in flight.

    Attributes:
        request: what is sent next.
        record: gets the latency of each answer in nanoseconds.
        started: when the request in flight was sent, by ``perf_counter_ns``.
    """

    __slots__ = ("record", "request", "socket", "started")

    def __init__(self, port: int, request: bytes, record: Callable[[int], object]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.record = record
        self.started = 0

    def call(self) -> None:
        """Send the request."""
        self.started = time.perf_counter_ns()
        self.socket.sendall(self.request)


class ClosedLoop:
    """Runs callers against one server; ``with`` closes their connections."""

    def __init__(self) -> None:
        self._callers: dict[int, Caller] = {}
        self._epoll = select.epoll()

    def add(self, caller: Caller) -> None:
        """Have a caller send its first request."""
        self._callers[caller.socket.fileno()] = caller
        self._epoll.register(caller.socket, select.EPOLLIN)
        caller.call()

    def run(self, seconds: float) -> float:
        """Answer every reply with the next request for some time; the seconds that it took in fact.

        Raises:
            ServerClosed: the server closed a connection.
        """
        callers, poll, clock = self._callers, self._epoll.poll, time.perf_counter_ns
        begin = now = clock()
        end = begin + int(seconds * 1e9)
        while now < end:
            for descriptor, _ in poll(min(LONGEST_POLL, (end - now) / 1e9)):
                caller = callers[descriptor]
                data = caller.socket.recv(65536)
                now = clock()
                if not data.endswith(b"\n"):
                    if not data:
                        raise ServerClosed("the server closed a connection")
                    continue  # the end of the answer is still to come
                caller.record(now - caller.started)
                caller.started = now
                caller.socket.sendall(caller.request)
            now = clock()
        return (now - begin) / 1e9

    def close(self) -> None:
        """Close all connections."""
        self._epoll.close()
        for caller in self._callers.values():
            caller.socket.close()

    def __enter__(self) -> ClosedLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
