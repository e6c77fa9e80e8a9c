"""Devices whose server is killed, as a program: they come back as real ones do, log in, and push what they have.

It is told what to do by one JSON argument and writes two JSON lines: when all have logged in for the first time, and
when, after the server has gone, all have logged in again and had their push acknowledged. Times are of the monotonic
clock, which all processes of the machine share.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import json
import random
import select
import socket
import sys
import time
from array import array
from typing import Any

from mooring.bench.load import say
from mooring.running import raise_descriptor_limit

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds: a device tries again after anything from 0 to a bound that doubles, as mooring.gateway.Device does."""
CONNECT_TIMEOUT = 10.0
UNANSWERED = 256
"""Devices that log in at the same time for the first time; when they come back nobody holds them back."""
PER_ADDRESS = 5000
PATIENCE = 180.0
PUSH = b'{"op":"push","seq":1,"at":1790000000.125,"data":{"temperature":21.53,"humidity":40.2,"status":"ok"}}\n'
PONG = b'{"op":"pong"}\n'


class Device:
    """One of them.

    Attributes:
        socket: its connection, or None.
        attempts: that failed since it was logged in last.
        is_in: whether it is logged in.
        rest: the beginning of a line.
    """

    __slots__ = ("attempts", "hello", "is_in", "is_settled", "number", "rest", "socket")

    def __init__(self, number: int, token: str) -> None:
        self.number = number
        self.hello = json.dumps({"op": "hello", "device": f"bench-{number}", "v": 1, "token": token}).encode() + b"\n"
        self.socket: socket.socket | None = None
        self.attempts = 0
        self.is_in = self.is_settled = False
        self.rest = b""


class Fleet:
    """All devices, in one thread.

    Args:
        task: ``port``, ``devices``, ``token``.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self._port: int = task["port"]
        self._devices = [Device(number, task["token"]) for number in range(task["devices"])]
        self._by_descriptor: dict[int, Device] = {}
        self._timers: list[tuple[float, int, Device, socket.socket | None]] = []
        self._numbers = itertools.count()
        self._epoll = select.epoll()
        self._logged_in = 0
        self._is_again = False
        self.logins = array("d")
        self.acknowledgements = array("d")
        self.counts = {"refused": 0, "timed out": 0, "put off": 0, "lost": 0}

    def enter(self) -> None:
        """Log all in for the first time.

        Raises:
            TimeoutError: not all were within PATIENCE.
        """
        waiting = iter(self._devices)
        coming = 0
        end = time.monotonic() + PATIENCE
        while self._logged_in < len(self._devices):
            while coming < min(len(self._devices), self._logged_in + UNANSWERED):
                self._connect(next(waiting))
                coming += 1
            self._turn(end)

    def come_back(self) -> None:
        """Wait until the server has gone, and all have come back and settled their pushes.

        Raises:
            TimeoutError: not all had within PATIENCE.
        """
        self._is_again = True
        end = time.monotonic() + PATIENCE
        while len(self.acknowledgements) < len(self._devices):
            self._turn(end)

    def _turn(self, end: float) -> None:
        now = time.monotonic()
        if now > end:
            raise TimeoutError(f"{self._logged_in} are logged in, {len(self.acknowledgements)} acknowledged")
        wait = min(0.1, max(0.0, self._timers[0][0] - now)) if self._timers else 0.1
        for descriptor, events in self._epoll.poll(wait):
            device = self._by_descriptor.get(descriptor)
            if device is None:
                continue  # of this turn, and gone
            if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
                self._greet(device)
            else:
                self._read(device)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, device, meant = heapq.heappop(self._timers)
            self._act(device, meant)

    def _act(self, device: Device, meant: socket.socket | None) -> None:
        """A timer: to connect (if it was set without a connection), to give one up, or to push again."""
        if meant is not device.socket:
            return
        if meant is None:
            self._connect(device)
        elif device.is_in:
            self._send(device, PUSH)
        else:
            self.counts["timed out"] += 1
            self._lose(device)

    def _connect(self, device: Device) -> None:
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        one.bind((f"127.0.0.{2 + device.number // PER_ADDRESS}", 0))
        one.connect_ex(("127.0.0.1", self._port))
        device.socket, device.rest = one, b""
        self._by_descriptor[one.fileno()] = device
        self._epoll.register(one, select.EPOLLOUT)
        self._plan(CONNECT_TIMEOUT, device)

    def _greet(self, device: Device) -> None:
        assert device.socket is not None
        self._epoll.modify(device.socket, select.EPOLLIN)
        self._send(device, device.hello)

    def _read(self, device: Device) -> None:
        assert device.socket is not None
        try:
            data = device.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(device)
            return
        *lines, device.rest = (device.rest + data).split(b"\n")
        for line in lines:
            self._take(device, json.loads(line))

    def _take(self, device: Device, message: dict[str, Any]) -> None:
        op = message["op"]
        if op == "welcome":
            device.is_in = True
            device.attempts = 0
            self._logged_in += 1
            if self._is_again:
                self.logins.append(time.monotonic())
                self._send(device, PUSH)
        elif op == "ack" and not device.is_settled:
            device.is_settled = True
            self.acknowledgements.append(time.monotonic())
        elif op == "ping":
            self._send(device, PONG)
        elif op == "error" and message["of"] == "push":
            self.counts["put off"] += 1
            self._plan(0.1 + self._pause(0), device)
        elif op == "error":
            self.counts["refused"] += 1
            self._lose(device)

    def _send(self, device: Device, data: bytes) -> None:
        assert device.socket is not None
        try:
            device.socket.send(data)
        except OSError:
            pass  # the read tells

    def _lose(self, device: Device) -> None:
        assert device.socket is not None
        self.counts["lost"] += device.is_in
        self._logged_in -= device.is_in
        device.is_in = False
        del self._by_descriptor[device.socket.fileno()]
        self._epoll.unregister(device.socket)
        device.socket.close()
        device.socket = None
        self._plan(self._pause(device.attempts), device)
        device.attempts += 1

    @staticmethod
    def _pause(attempts: int) -> float:
        return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts, 30)))

    def _plan(self, seconds: float, device: Device) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), device, device.socket))

    def close(self) -> None:
        """Leave, by reset."""
        for device in self._by_descriptor.values():
            if device.socket is not None:
                device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                device.socket.close()
        self._epoll.close()


def main() -> None:
    """Do what the argument says."""
    gc.disable()  # nothing here makes cycles
    raise_descriptor_limit()
    fleet = Fleet(json.loads(sys.argv[1]))
    try:
        fleet.enter()
        say("in")
        fleet.come_back()
        logins, acknowledgements = sorted(fleet.logins), sorted(fleet.acknowledgements)
        say(json.dumps({"logins": logins, "acknowledgements": acknowledgements, "counts": fleet.counts}))
        sys.stdin.read()
    finally:
        fleet.close()


if __name__ == "__main__":
    main()
