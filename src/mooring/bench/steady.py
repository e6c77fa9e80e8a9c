"""Healthy devices, as a program: requests at fixed times, whether those before are answered or not, and latencies.

It is told what to do by one JSON argument and writes ``start`` when all are connected, and whether it goes before all
others on its core. Each line on its standard input
ends a window, of which it writes the latencies as one JSON line. It ends when its input is closed.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from array import array
from collections import deque
from typing import Any

from mooring.bench.load import say, summary
from mooring.bench.real_time import goes_first

REQUEST = b"PING\r\n"
LONGEST_POLL = 0.05


class Device:
    """One connection, and when its requests that are not answered yet were due."""

    __slots__ = ("due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due: deque[int] = deque()


class Steady:
    """All devices; ``rate`` requests a second by turns.

    Attributes:
        lost: devices whose connection the server has ended.
    """

    def __init__(self, port: int, count: int, rate: float) -> None:
        self._devices = [Device(port) for _ in range(count)]
        self._by_descriptor = {device.socket.fileno(): device for device in self._devices}
        self._gap = 1e9 / rate
        self._latencies = array("Q")
        self._epoll = select.epoll()
        self.lost = 0
        for descriptor in (0, *self._by_descriptor):
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Until standard input is closed."""
        begin, number = time.perf_counter_ns(), 0
        while True:
            now = time.perf_counter_ns()
            while begin + number * self._gap <= now:
                self._ask(self._devices[number % len(self._devices)], begin + int(number * self._gap))
                number += 1
            wait = (begin + number * self._gap - time.perf_counter_ns()) / 1e9
            for descriptor, _ in self._epoll.poll(min(LONGEST_POLL, max(0.0, wait))):
                if descriptor:
                    self._read(self._by_descriptor[descriptor])
                elif not sys.stdin.readline():
                    return
                else:
                    self._report()

    def _ask(self, device: Device, due: int) -> None:
        device.due.append(due)
        try:
            device.socket.send(REQUEST)
        except OSError:
            pass  # it has been told by the read, or will be

    def _read(self, device: Device) -> None:
        try:
            data = device.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.lost += 1
            self._epoll.unregister(device.socket)
            return
        now = time.perf_counter_ns()
        for _ in range(min(data.count(b"+PONG"), len(device.due))):
            self._latencies.append(now - device.due.popleft())

    def _report(self) -> None:
        """A window has ended: those who still wait have waited, too."""
        now = time.perf_counter_ns()
        waiting = array("Q", (max(0, now - due) for device in self._devices for due in device.due))
        say(json.dumps({**summary(self._latencies + waiting), "waiting": len(waiting), "lost": self.lost}))
        del self._latencies[:]


def main() -> None:
    """Do what the argument says: ``port``, ``count``, ``rate``."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    gc.disable()  # nothing here makes cycles, and a collection would be taken for the server's doing
    steady = Steady(task["port"], task["count"], task["rate"])
    say(f"start {goes_first()}")
    steady.run()


if __name__ == "__main__":
    main()
