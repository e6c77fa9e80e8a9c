"""Counts what a message costs a server: machine instructions by function of C, bytecodes by function of Python.

    .venv/bin/python script/instructions.py [--messages 4096] [--router]

Under valgrind's callgrind, and with a trace of every bytecode; each for 1 and 16 messages in flight on 8 connections.
Two runs, of N and 2 N messages, are subtracted, so that the start does not count. Counts do not depend on how busy the
machine is. As both ways make everything fifty times as slow, the limits of time are lengthened in the counted process.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

CONNECTIONS = 8
DEPTHS = (1, 16)
FOREVER = 3600.0
SHOWN = 16


# The counted process -------------------------------------------------------------------------------------------------


def answer(connection: Any, message: bytes) -> bytes:
    """The handler."""
    return b"+PONG"


def serve(*, router: bool, bytecodes: bool) -> None:
    """Serve until a line comes; then print what was counted."""
    from mooring import Router, Server
    from mooring.framing import Lines
    from mooring.models import handover, serving

    for module, limit in ((serving, "SERVICE_TIME"), (serving, "QUICK"), (handover, "LOOK_INTERVAL")):
        setattr(module, limit, FOREVER)
    handler: Any = answer
    if router:
        handler = Router(key=lambda message: message[:4])
        handler.on(b"PING")(answer)
    counts: Counter[str] = Counter()
    if bytecodes:
        threading.settrace(tracing_into(counts))
    gc.freeze()
    gc.disable()
    server = Server(handler, framing=Lines(b"\r\n"), bind="tcp://127.0.0.1:0")
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


def run(command: list[str], depth: int, messages: int) -> str:
    """Start the counted process, send it so many messages, and return what it prints at the end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    port = int(process.stdout.readline())
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for _ in range(messages // (CONNECTIONS * depth)):
        for sock in sockets:
            sock.sendall(b"PING\r\n" * depth)
        for sock in sockets:
            answers = 0
            while answers < depth:
                answers += sock.recv(65536).count(b"\n")
    output, _ = process.communicate("\n")
    return output


def bytecodes(counted: list[str], depth: int, messages: int) -> Counter[str]:
    """Bytecodes by function of ours."""
    return read_counts(run([*counted, "--bytecodes"], depth, messages))


def read_counts(output: str) -> Counter[str]:
    """Read what a counted process prints at its end."""
    lines = [line.split(" ", 1) for line in output.splitlines()]
    return Counter({name: int(count) for count, name in lines})


def instructions(counted: list[str], depth: int, messages: int) -> Counter[str]:
    """Machine instructions by function of C, without those of the functions that it calls."""
    with tempfile.NamedTemporaryFile("r") as file:
        valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={file.name}"]
        run([*valgrind, *counted], depth, messages)
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


def print_costs(what: str, whose: str, counts: list[Counter[str]], number: int) -> None:
    """Print the costs of one message by function: of a run of this number of them, and one of twice as many."""
    once, twice = counts
    costs = {name: (twice[name] - once[name]) / number for name in twice}
    print(f"\n{what} for each {whose}: {sum(costs.values()):,.0f}")
    for name, cost in sorted(costs.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{cost:10,.1f}  {name}", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=4096)
    parser.add_argument("--router", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bytecodes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(router=options.router, bytecodes=options.bytecodes)
        return
    counted = [sys.executable, __file__, "--serve", *(["--router"] if options.router else [])]
    for depth in DEPTHS:
        for count in (bytecodes, instructions):
            counts = [count(counted, depth, times * options.messages) for times in (1, 2)]
            print_costs(count.__name__, f"message, {depth} in flight", counts, options.messages)


if __name__ == "__main__":
    main()
