"""Clients that do what none should, as a program: many at once, for as long as its standard input is open.

It is told what to do by one JSON argument, writes ``start`` when it is in full swing, and at its end one JSON line:
connections made, ended by the server, refused, and bytes sent.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

from mooring.bench.load import say
from mooring.running import raise_descriptor_limit

PER_ADDRESS = 7000
"""Connections from one source address: with more than about 14,000 the search for a free port gets very slow."""
PATIENCE = 60.0
"""Seconds within which the crowd is to be complete; then it begins with those that there are."""
RESET = b"\1\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Manner:
    """How one of them behaves.

    Args:
        count: how many at the same time; one that is ended comes again.
        rate: new connections a second, at most.
        greeting: sent first.
        drip: sent again and again, byte by byte.
        interval: seconds between two of these bytes.
        lifetime: seconds after which it leaves by itself; 0: at once; negative: never.
        reads: whether it reads what it gets.
        address: the first of the addresses that they come from.
        spread: whether they come from several addresses.
        niceness: see nice(2): the healthy devices, on the same core, go first.
        spins: whether all the time that is left of the core is used up for nothing.
    """

    count: int
    rate: float = 2000.0
    greeting: bytes = b""
    drip: bytes = b""
    interval: float = 1.0
    lifetime: float = -1.0
    reads: bool = True
    address: int = 9
    spread: bool = True
    niceness: int = 19
    spins: bool = False

    @classmethod
    def from_task(cls, task: dict[str, Any]) -> Manner:
        """From JSON, where bytes are text of the same characters."""
        values: dict[str, Any] = {
            name: value.encode("latin-1") if isinstance(value, str) else value for name, value in task.items()
        }
        return cls(**values)

    def to_task(self) -> dict[str, Any]:
        """To JSON."""
        values = ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        return {name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in values}


class Crowd:
    """All of one kind, in one thread.

    Args:
        port: of the server.
        manner: what they do.
    """

    def __init__(self, port: int, manner: Manner) -> None:
        self._port = port
        self._manner = manner
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._timers: list[tuple[float, int, socket.socket, int]] = []  # when, number, who, byte of the drip; -1: leave
        self._numbers = itertools.count()
        self._begun = time.monotonic()
        self._is_over = False
        self.counts = {"connections": 0, "ended by the server": 0, "refused": 0, "bytes": 0}

    def run(self) -> None:
        """Until standard input is closed."""
        self._epoll.register(0, select.EPOLLIN)
        started = False
        while not self._is_over:
            self._connect()
            if not started and (self.counts["connections"] >= self._manner.count or self._age > PATIENCE):
                started = True
                say("start")
            self._turn()

    def close(self) -> None:
        """Leave, by reset: thousands in TIME_WAIT would slow down the next run."""
        for one in self._sockets.values():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.close()
        self._epoll.close()

    @property
    def _age(self) -> float:
        return time.monotonic() - self._begun

    def _connect(self) -> None:
        allowed = self._manner.rate * self._age - self.counts["connections"]
        missing = self._manner.count - len(self._sockets)
        for _ in range(int(min(allowed, missing, 256))):
            self._open()

    def _open(self) -> None:
        manner, number = self._manner, self.counts["connections"]
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        address = manner.address + (number // PER_ADDRESS % 4 if manner.spread else 0)
        one.bind((f"127.0.0.{address}", 0))
        error = one.connect_ex(("127.0.0.1", self._port))
        self.counts["connections"] += 1
        if error not in (0, 115):  # EINPROGRESS
            self.counts["refused"] += 1
            one.close()
            return
        self._sockets[one.fileno()] = one
        self._epoll.register(one, select.EPOLLOUT | select.EPOLLRDHUP)

    def _turn(self) -> None:
        wait = 0.0 if self._manner.spins else 0.02
        if self._timers:
            wait = min(wait, max(0.0, self._timers[0][0] - time.monotonic()))
        for descriptor, events in self._epoll.poll(wait):
            if descriptor == 0:
                self._is_over = True
            elif events & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP):
                self._lose(descriptor)
            elif events & select.EPOLLOUT:
                self._greet(descriptor)
            else:
                self._read(descriptor)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._act(*heapq.heappop(self._timers))

    def _greet(self, descriptor: int) -> None:
        manner = self._manner
        if manner.greeting:
            self._send(descriptor, manner.greeting)
        if manner.lifetime == 0:
            self._drop(descriptor)
            return
        now = time.monotonic()
        if manner.lifetime > 0:
            self._plan(now + manner.lifetime, descriptor, -1)
        if manner.drip:
            first = manner.interval * (self.counts["connections"] % 97) / 97  # not all in the same moment
            self._plan(now + first, descriptor, 0)
        self._epoll.modify(descriptor, select.EPOLLRDHUP | (select.EPOLLIN if manner.reads else 0))

    def _plan(self, when: float, descriptor: int, index: int) -> None:
        heapq.heappush(self._timers, (when, next(self._numbers), self._sockets[descriptor], index))

    def _act(self, due: float, _: int, one: socket.socket, index: int) -> None:
        descriptor = one.fileno()
        if descriptor < 0:
            return  # it has ended meanwhile
        if index < 0:
            self._drop(descriptor)
            return
        drip = self._manner.drip
        self._send(descriptor, drip[index : index + 1])
        # What has been missed is not made up for: the rate is what is wanted, not the number.
        due = max(due + self._manner.interval, time.monotonic() - 0.1)
        self._plan(due, descriptor, (index + 1) % len(drip))

    def _send(self, descriptor: int, data: bytes) -> None:
        try:
            self.counts["bytes"] += self._sockets[descriptor].send(data)
        except OSError:
            pass  # its end is told by the poll; or the server does not take it, which is its right

    def _read(self, descriptor: int) -> None:
        try:
            data = self._sockets[descriptor].recv(65536)
        except OSError:
            data = b""
        if not data:
            self._lose(descriptor)

    def _lose(self, descriptor: int) -> None:
        self.counts["ended by the server"] += 1
        self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        one = self._sockets.pop(descriptor)
        self._epoll.unregister(one)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()


def main() -> None:
    """Do what the argument says: ``port`` and ``manner``."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    manner = Manner.from_task(task["manner"])
    os.nice(manner.niceness)
    raise_descriptor_limit()
    crowd = Crowd(task["port"], manner)
    try:
        crowd.run()
        say(json.dumps(crowd.counts))
    finally:
        crowd.close()


if __name__ == "__main__":
    main()
