"""Counts what a push costs the gateway: machine instructions by function of C, bytecodes by function of Python.

    .venv/bin/python script/push_instructions.py [--pushes 8192]

As ``instructions.py``, for 64 devices of ``mooring bench ingest`` that have 1 or 16 pushes on the way, and a MariaDB of
its own. All of them push, then all are acknowledged, so batches are about as large as on a busy server.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import threading
from array import array
from collections import Counter

from instructions import DEPTHS, FOREVER, own_costs, print_costs, read_counts, tracing_into

from mooring.bench.private_database import PrivateDatabase
from mooring.bench.pusher import Device
from mooring.bench.pushing import TOKEN, MariaDBTables

DEVICES = 64


def serve(url: str, *, bytecodes: bool) -> None:
    """The counted process: serve until a line comes; then print what was counted."""
    from mooring.gateway import server, writers
    from mooring.models import handover, serving

    limits = (
        (serving, "SERVICE_TIME"), (serving, "QUICK"), (handover, "LOOK_INTERVAL"), (writers, "QUEUE_TIMEOUT"),
    )  # fmt: skip
    for module, limit in limits:
        setattr(module, limit, FOREVER)
    counts: Counter[str] = Counter()
    if bytecodes:
        threading.settrace(tracing_into(counts))
    gc.freeze()
    gc.disable()
    gateway = server(bind="tcp://127.0.0.1:0", database=url, auth="token", first_message_timeout=FOREVER)
    gateway.start()
    print(gateway.port, flush=True)
    sys.stdin.readline()
    for name, count in counts.copy().items():
        print(count, name)
    sys.stdout.flush()
    os._exit(0)  # what is torn down does not count


def run(command: list[str], depth: int, pushes: int) -> str:
    """Start the counted process, send it so many pushes, and return what it prints at the end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    port = int(process.stdout.readline())
    devices = [Device(port, f"bench-{number}", TOKEN) for number in range(DEVICES)]
    for device in devices:
        device.socket.settimeout(FOREVER)
        device.wait_for_welcome()
    for _ in range(pushes // (DEVICES * depth)):
        for device in devices:
            device.push(depth, 0)
        for device in devices:
            while device.sent:
                device.take_acknowledgements(array("Q"))
    return process.communicate("\n")[0]


def bytecodes(url: str, depth: int, pushes: int) -> Counter[str]:
    """Bytecodes by function of ours."""
    return read_counts(run([sys.executable, __file__, "--serve", url, "--bytecodes"], depth, pushes))


def instructions(url: str, depth: int, pushes: int) -> Counter[str]:
    """Machine instructions by function of C, without those of the functions that it calls."""
    with tempfile.NamedTemporaryFile("r") as file:
        valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={file.name}"]
        run([*valgrind, sys.executable, __file__, "--serve", url], depth, pushes)
        return own_costs(file.read())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pushes", type=int, default=8192)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--bytecodes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, bytecodes=options.bytecodes)
        return
    with PrivateDatabase(small=False) as database:
        tables = MariaDBTables(database, DEVICES)
        for depth in DEPTHS:
            for count in (bytecodes, instructions):
                counts = []
                for times in (1, 2):
                    tables.renew()
                    counts.append(count(tables.url, depth, times * options.pushes))
                print_costs(count.__name__, f"push, {depth} on the way", counts, options.pushes)


if __name__ == "__main__":
    main()
