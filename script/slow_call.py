"""Where the time of a slow call goes beside quick ones, as in ``mooring bench mixed``: handler, queue, elsewhere.

    .venv/bin/python script/slow_call.py Router lease

Prints means in milliseconds. What is neither the handler's nor the queue's of the pool is the turn of the loop in which
the call is read, the turn of the load, and the waits for the interpreter between them. Server on one core, load on
another.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import mean

from mooring import Connection, Server
from mooring.bench.ours import mixed
from mooring.db import SQLiteConnectionPool
from mooring.framing import Lines
from mooring.running import shorten_switch_interval

CALLERS = {"fast": {"count": 50, "request": "PING\r\n"}, "slow": {"count": 8, "request": "SLOW\r\n"}}


def main(shape: str, way: str) -> None:
    """Serve, load, print."""
    os.sched_setaffinity(0, {0})
    shorten_switch_interval()  # as run() does
    handled: list[float] = []

    def timed(connection: Connection, message: bytes) -> bytes:
        started = time.perf_counter()
        answer = mixed.WAYS[way](connection, message)
        handled.append(time.perf_counter() - started)
        return answer

    handler = mixed.as_router(timed) if shape == "Router" else mixed.as_function(timed)
    with tempfile.TemporaryDirectory() as folder:
        database = SQLiteConnectionPool(f"sqlite:///{folder}/x.db", max_size=16)
        with Server(handler, bind="tcp://127.0.0.1:0", framing=Lines(), database=database) as server:
            task = {"what": "measure", "port": server.port, "warm_up": 2.0, "window": 5.0, "groups": CALLERS}
            command = ["taskset", "-c", "1", sys.executable, "-m", "mooring.bench.load", json.dumps(task)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:  # noqa: S603
                assert load.stdin is not None
                assert load.stdout is not None
                load.stdout.readline()  # the window begins
                handled.clear()
                before = server.stats().threads
                figures = json.loads(load.stdout.readline())
                after = server.stats().threads
                load.stdin.close()
    count = figures["groups"]["slow"]["count"]
    whole = CALLERS["slow"]["count"] * figures["seconds"] / count * 1e3  # by Little's law
    in_queue = (after.waits.seconds - before.waits.seconds) / (after.completed - before.completed) * 1e3
    in_handler = mean(handled) * 1e3
    print(f"{shape}, {way}: {count / figures['seconds']:,.0f} slow calls/s, {after.size} threads")
    print(f"  whole call {whole:.2f} = handler {in_handler:.2f} + queue {in_queue:.2f} + elsewhere ", end="")
    print(f"{whole - in_handler - in_queue:.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Where the time of a slow call goes beside 50 quick callers.")
    parser.add_argument("shape", choices=["function", "Router"], help="one function for all, or a route for each kind")
    parser.add_argument("way", choices=list(mixed.WAYS), help="how the handler that waits says so")
    main(**vars(parser.parse_args()))
