"""The load of ``mooring bench``, as a program: groups of callers, their latencies, or one surprise after another.

It is told what to do by one JSON argument, writes the line ``start`` when its window begins and one JSON line when it
ends, and then keeps its connections open until its standard input is closed, so that the server can be looked at.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from array import array
from typing import Any

from mooring.bench.closed_loop import Caller, ClosedLoop
from mooring.bench.histogram import Histogram

SETTLE = 0.02
"""Seconds after a surprise's answer in which the answers of those who waited for it come."""
LONGEST_SURPRISE = 5.0
LONGEST_SILENCE = 30.0
"""Seconds after the window in which a group that nobody has answered yet must hear something."""
_SLICE = 0.005


class NoAnswer(Exception):
    """The server has stopped answering."""


def measure(task: dict[str, Any]) -> None:
    """Run groups of callers: warm up, count for a window, report.

    The window is longer where nobody of a group was answered in it: without answers there would be no latencies, and 0
    would be the best of all.

    Args:
        task: ``port``, ``warm_up`` and ``window`` in seconds, ``groups``: name -> ``{"count", "request"}``.

    Raises:
        NoAnswer: a group hears nothing for LONGEST_SILENCE.
    """
    groups: dict[str, array[int]] = {name: array("Q") for name in task["groups"]}
    with ClosedLoop() as loop:
        for name, group in task["groups"].items():
            for _ in range(group["count"]):
                loop.add(Caller(task["port"], group["request"].encode(), groups[name].append))
        loop.run(task["warm_up"])
        for latencies in groups.values():
            del latencies[:]
        say("start")
        seconds = loop.run(task["window"])
        while silent := [name for name, latencies in groups.items() if not latencies]:
            if seconds > task["window"] + LONGEST_SILENCE:
                raise NoAnswer(f"the server has answered none of the {silent[0]} callers for {seconds:.0f} s")
            seconds += loop.run(_SLICE)
        say(json.dumps({"seconds": seconds, "groups": {name: summary(values) for name, values in groups.items()}}))
        sys.stdin.read()


def summary(latencies: array[int]) -> dict[str, float]:
    """Count and latencies in seconds of one group."""
    histogram = Histogram(latencies)
    percentiles = {f"p{percent:g}": histogram.percentile(percent) / 1e9 for percent in (50, 99, 99.9)}
    return {"count": histogram.count, **percentiles, "max": histogram.longest / 1e9}


def surprise(task: dict[str, Any]) -> None:
    """Have one caller after another send a request that takes unexpectedly long; report what the others waited.

    Args:
        task: ``port``, ``warm_up``, ``callers``, ``request``, ``surprise`` (the long one), ``count``, ``interval``.
    """
    with ClosedLoop() as loop:
        # One caller more than wait: the others are `callers`.
        callers = [Caller(task["port"], task["request"].encode(), ignore) for _ in range(task["callers"] + 1)]
        for caller in callers:
            loop.add(caller)
        loop.run(task["warm_up"])
        say("start")
        longest = []
        for number in range(task["count"]):
            longest.append(Episode(callers, number % len(callers)).run(loop, task["surprise"].encode()) / 1e9)
            loop.run(task["interval"])
        say(json.dumps({"longest": longest}))
        sys.stdin.read()


def ignore(_: int) -> None:
    """Nobody wants to know this latency."""


class Episode:
    """One surprise: one caller is held up for long; how long are the others?"""

    def __init__(self, callers: list[Caller], chosen: int) -> None:
        self._callers = callers
        self._chosen = callers[chosen]
        self._longest = 0
        self._sent = self._answered = False

    def run(self, loop: ClosedLoop, request: bytes) -> int:
        """The longest latency of the others, in nanoseconds."""
        usual = self._chosen.request
        for caller in self._callers:
            caller.record = self._note
        self._chosen.record = self._note_chosen
        self._chosen.request = request
        waited = 0.0
        while not self._answered and waited < LONGEST_SURPRISE:
            waited += loop.run(_SLICE)
            if self._sent:
                self._chosen.request = usual
        loop.run(SETTLE)
        now = time.perf_counter_ns()
        for caller in self._callers:
            caller.record = ignore
            if caller is not self._chosen:
                self._note(now - caller.started)  # whoever still waits has waited so long already
        return self._longest

    def _note(self, latency: int) -> None:
        if latency > self._longest:
            self._longest = latency

    def _note_chosen(self, latency: int) -> None:
        """The first answer is that of the request before: the surprise leaves now. The second is the surprise's."""
        self._answered = self._sent
        self._sent = True


def say(line: str) -> None:
    """One line to who started us."""
    print(line, flush=True)


def main() -> None:
    """Do what the argument says."""
    task = json.loads(sys.argv[1])
    gc.disable()  # nothing here makes cycles, and a collection would be taken for the server's doing
    {"measure": measure, "surprise": surprise}[task["what"]](task)


if __name__ == "__main__":
    main()
