"""``redis-benchmark``, a load generator that nobody here wrote, as a client of lines: ``PING`` and one line back."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import Final

from .process import Process, ProcessFailed, ServerProcess
from .resources import cpu_seconds

PROGRAM: Final = "redis-benchmark"
_FEW: Final = 20_000
_PATIENCE: Final = 60.0
_ATTEMPTS: Final = 3
_MORE: Final = 1.15
"""More requests than the rate asks for: the rate may grow."""


@dataclass(frozen=True)
class Pings:
    """What one run gave.

    Attributes:
        rate: requests a second.
        cpu: the server's seconds of CPU for each request.
        p50, p99, longest: latencies in seconds, of a whole pipeline each.
    """

    rate: float
    cpu: float
    p50: float
    p99: float
    longest: float


class RedisBenchmark:
    """Runs it so that each run lasts about as long as is wanted: it counts requests, not seconds.

    Args:
        core: the one it may use.
        clients: connections.
        seconds: how long a run is to last.
        authority: whom to believe, a PEM file: over TLS then.
    """

    def __init__(self, core: int | None, clients: int, seconds: float, *, authority: str | None = None) -> None:
        self._core = core
        self._clients = clients
        self._seconds = seconds
        self._tls = f" --tls --cacert {authority}" if authority is not None else ""

    def run(self, server: ServerProcess, depth: int) -> Pings:
        """Load a server, with ``depth`` requests on the way on each connection.

        Raises:
            ProcessFailed: it did not come to its end.
        """
        # The first, short run warms up and is rather slower than the next.
        rate = self._ping(server, depth, _FEW * depth if self._seconds >= 1 else 1000)["rps"]
        for _ in range(_ATTEMPTS):
            count = max(int(rate * self._seconds * _MORE), 1000)
            before = cpu_seconds(server.pid)
            row = self._ping(server, depth, count)
            cpu = cpu_seconds(server.pid) - before
            rate = row["rps"]
            if count >= rate * self._seconds:
                break  # it lasted long enough
        return Pings(
            rate=rate,
            cpu=cpu / count,
            p50=row["p50_latency_ms"] / 1000,
            p99=row["p99_latency_ms"] / 1000,
            longest=row["max_latency_ms"] / 1000,
        )

    def _ping(self, server: ServerProcess, depth: int, count: int) -> dict[str, float]:
        where = f"-h 127.0.0.1 -p {server.port}{self._tls}"
        command = f"{PROGRAM} {where} -t ping_inline -c {self._clients} -n {count} -P {depth} --csv"
        with Process(command.split(), self._core, piped=True) as load:
            output = load.read_all(_PATIENCE + 10 * self._seconds)
            return read_row(output) or _unreadable(load, output)


def read_row(output: str) -> dict[str, float]:
    """The figures of the one test in its output; empty if there are none."""
    lines = [line for line in output.splitlines() if line.startswith('"')]
    for row in csv.DictReader(lines):
        try:
            found = {name: float(value) for name, value in row.items() if name != "test"}
        except (TypeError, ValueError):
            return {}
        return found if math.isfinite(found.get("rps", math.inf)) else {}
    return {}


def _unreadable(load: Process, output: str) -> dict[str, float]:
    raise ProcessFailed(f"{PROGRAM} wrote what cannot be read; is it older than version 6.2? {output[-500:]!r}")
