"""Devices that push, as a program: the load of ``mooring bench ingest``, in a closed or an open loop.

It is told what to do by one JSON argument, writes the line ``start`` when its window begins, and one JSON line when
every push of it has been acknowledged.
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

from mooring.bench.load import summary
from mooring.bench.real_time import goes_first

PATIENCE = 30.0
"""Seconds to wait for logins, and for the last acknowledgements."""
PUSH = '{"op":"push","seq":%d,"at":%.3f,"data":{"temperature":21.53,"humidity":40.2,"battery":3.71,"status":"ok"}}\n'


class Refused(Exception):
    """The server answered a push with an error, or closed the connection."""


class Device:
    """One connection and its pushes that are not acknowledged yet.

    Attributes:
        sent: when each of them was sent, or was due, by ``perf_counter_ns``.
    """

    __slots__ = ("at", "sent", "seq", "socket")

    def __init__(self, port: int, name: str, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent: deque[int] = deque()
        self.seq = 0
        self.at = 1_790_000_000.0
        self.socket.sendall((json.dumps({"op": "hello", "device": name, "v": 1, "token": token}) + "\n").encode())

    def wait_for_welcome(self) -> None:
        """Read the answer to the login."""
        data = b""
        while not data.endswith(b"\n"):
            data += self.socket.recv(65536) or self._closed()
        if b"welcome" not in data:
            raise Refused(data.decode())

    def push(self, count: int, due: int) -> None:
        """Send so many pushes in one write."""
        lines = []
        for _ in range(count):
            self.seq += 1
            self.at += 0.001
            lines.append(PUSH % (self.seq, self.at))
            self.sent.append(due)
        self.socket.sendall("".join(lines).encode())

    def take_acknowledgements(self, record: array[int]) -> int:
        """Read what is there; note how long each push took."""
        data = self.socket.recv(65536) or self._closed()
        if b'"error"' in data:
            raise Refused(data.decode())
        now, count = time.perf_counter_ns(), data.count(b"\n")
        for _ in range(count):
            record.append(now - self.sent.popleft())
        return count

    def _closed(self) -> bytes:
        raise Refused("the server closed a connection")


class Fleet:
    """The devices of a run.

    Attributes:
        acknowledged: how long each push took that was acknowledged, in nanoseconds.
        late: in an open loop, how long after it was due each push was sent.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.devices = [Device(task["port"], f"bench-{number}", task["token"]) for number in range(task["devices"])]
        for device in self.devices:
            device.wait_for_welcome()
        self.acknowledged: array[int] = array("Q")
        self.late: array[int] = array("Q")
        self._by_descriptor = {device.socket.fileno(): device for device in self.devices}
        self._epoll = select.epoll()
        for descriptor in self._by_descriptor:
            self._epoll.register(descriptor, select.EPOLLIN)

    def turn(self, timeout: float) -> list[tuple[Device, int]]:
        """Wait for acknowledgements and take them: which devices got how many."""
        ready = self._epoll.poll(timeout)
        found = [self._by_descriptor[descriptor] for descriptor, _ in ready]
        return [(device, device.take_acknowledgements(self.acknowledged)) for device in found]

    def run_closed(self, seconds: float, depth: int) -> None:
        """Each device has ``depth`` pushes on the way: every acknowledgement lets it send another one."""
        for device in self.devices:
            if not device.sent:
                device.push(depth, time.perf_counter_ns())
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for device, count in self.turn(0.05):
                if count:
                    device.push(count, time.perf_counter_ns())

    def run_open(self, seconds: float, rate: float) -> None:
        """So many pushes per second, device after device, whether those before are acknowledged or not.

        The time of a push counts from when it was due, so a server that stalls is not spared.
        """
        begin = time.perf_counter_ns()
        gap, number, end = 1e9 / rate, 0, begin + int(seconds * 1e9)
        while (now := time.perf_counter_ns()) < end:
            while begin + number * gap <= now:
                due = begin + int(number * gap)
                self.late.append(time.perf_counter_ns() - due)
                self.devices[number % len(self.devices)].push(1, due)
                number += 1
            self.turn(max(0.0, (begin + number * gap - time.perf_counter_ns()) / 1e9))

    def drain(self) -> None:
        """Wait for the last acknowledgements."""
        deadline = time.perf_counter() + PATIENCE
        while any(device.sent for device in self.devices):
            self.turn(0.1)
            if time.perf_counter() > deadline:
                raise Refused(f"pushes were not acknowledged within {PATIENCE:g} s")


def measure(task: dict[str, Any]) -> None:
    """Run a fleet: warm up, count for a window, wait for what is on the way, report.

    Args:
        task: ``port``, ``devices``, ``token``, ``warm_up`` and ``window`` in seconds; ``depth``, or ``rate`` in pushes
            per second.
    """
    if "rate" in task:
        goes_first()
    fleet = Fleet(task)

    def run(seconds: float) -> None:
        if "rate" in task:
            fleet.run_open(seconds, task["rate"])
        else:
            fleet.run_closed(seconds, task["depth"])

    run(task["warm_up"])
    before, began = len(fleet.acknowledged), time.perf_counter()
    del fleet.late[:]
    print("start", flush=True)
    run(task["window"])
    counted, seconds = fleet.acknowledged[before:], time.perf_counter() - began
    fleet.drain()
    said = {"seconds": seconds, "acknowledged": len(fleet.acknowledged), **summary(counted)}
    if fleet.late:
        said["late"] = summary(fleet.late)["p99"]
    print(json.dumps(said), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles
    measure(json.loads(sys.argv[1]))
