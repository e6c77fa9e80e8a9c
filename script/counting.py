"""What the scripts that count have in common: a process in which every instruction counts, and what it cost.

Machine instructions are counted by valgrind's callgrind, bytecodes by a trace of each. Two runs, of N and 2 N messages,
are subtracted, so that the start does not count. Counts do not depend on how busy the machine is. As both ways make
everything fifty times as slow, the limits of time are lengthened in the counted process.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

DEPTHS = (1, 16)
FOREVER = 3600.0
SHOWN = 16

Send: TypeAlias = Callable[[int, int, int], None]
"""Is given a port, how many messages are on the way at a time, and how many there are in all."""


# The counted process -------------------------------------------------------------------------------------------------


def lengthen_limits(*more: tuple[Any, str]) -> None:
    """Set the limits of time by which handlers are judged, and further ones, to very long."""
    from mooring.models import handover, serving

    for module, limit in ((serving, "SERVICE_TIME"), (serving, "QUICK"), (handover, "LOOK_INTERVAL"), *more):
        setattr(module, limit, FOREVER)


def serve(make: Callable[[], Any], *, bytecodes: bool) -> None:
    """Make a server and serve until a line comes; then print what was counted."""
    counts: Counter[str] = Counter()
    if bytecodes:
        threading.settrace(tracing_into(counts))
    gc.freeze()
    gc.disable()
    server = make()
    server.start()
    print(server.port, flush=True)
    sys.stdin.readline()
    for name, count in counts.copy().items():
        print(count, name)
    sys.stdout.flush()
    os._exit(0)  # what is torn down does not count


def tracing_into(counts: Counter[str]) -> Callable[..., Any]:
    """A trace function that counts the bytecodes of each function of ours."""

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        _, is_ours, file = frame.f_code.co_filename.rpartition("/mooring/")
        if not is_ours:
            return None
        name = f"{file} {frame.f_code.co_qualname}"
        frame.f_trace_opcodes, frame.f_trace_lines = True, False

        def count(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "opcode":
                counts[name] += 1
            return count

        return count

    return enter


# Counting ------------------------------------------------------------------------------------------------------------


def run(command: list[str], send: Send, depth: int, messages: int) -> str:
    """Start the counted process, send it so many messages, and return what it prints at the end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    send(int(process.stdout.readline()), depth, messages)
    return process.communicate("\n")[0]


def bytecodes(counted: list[str], send: Send, depth: int, messages: int) -> Counter[str]:
    """Bytecodes by function of ours."""
    lines = [line.split(" ", 1) for line in run([*counted, "--bytecodes"], send, depth, messages).splitlines()]
    return Counter({name: int(count) for count, name in lines})


def instructions(counted: list[str], send: Send, depth: int, messages: int) -> Counter[str]:
    """Machine instructions by function of C, without those of the functions that it calls."""
    with tempfile.NamedTemporaryFile("r") as file:
        valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={file.name}"]
        run([*valgrind, *counted], send, depth, messages)
        return own_costs(file.read())


def own_costs(profile: str) -> Counter[str]:
    """Read a profile of callgrind: ``fn=`` begins a function, the line behind ``calls=`` is the cost of others."""
    names: dict[str, str] = {}
    costs: Counter[str] = Counter()
    function, is_others = "", False
    for line in profile.splitlines():
        named = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line)
        if named:
            is_called, number, name = named.groups()
            if name:
                names[number] = name.split("'")[0]
            if not is_called:
                function = names[number]
        elif line.startswith("calls="):
            is_others = True
        elif function and re.match(r"[0-9+*-]", line):
            if not is_others:
                costs[function] += int(line.split()[1])
            is_others = False
    return costs


def print_costs(what: str, counted: list[str], send: Send, number: int, *, begin: Callable[[], None]) -> None:
    """Count and print the costs of one message by function.

    Args:
        what: the message is called.
        counted: the command of the counted process.
        send: sends it messages.
        number: of messages in the first of two runs; the other has twice as many.
        begin: called before each run.
    """
    for depth in DEPTHS:
        for count in (bytecodes, instructions):
            runs = []
            for messages in (number, 2 * number):
                begin()
                runs.append(count(counted, send, depth, messages))
            once, twice = runs
            costs = {name: (twice[name] - once[name]) / number for name in twice}
            print(f"\n{count.__name__} for each {what}, {depth} on the way: {sum(costs.values()):,.0f}")
            for name, cost in sorted(costs.items(), key=lambda item: -item[1])[:SHOWN]:
                print(f"{cost:10,.1f}  {name}", flush=True)
