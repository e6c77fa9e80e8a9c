"""Counts what a push costs the gateway: machine instructions by function of C, bytecodes by function of Python.

    .venv/bin/python script/push_instructions.py [--pushes 8192]

See ``counting.py``; for 64 devices of ``mooring bench ingest``, each with 1 or 16 pushes on the way, and a MariaDB of
its own. All of them push, then all are acknowledged, so batches are about as large as on a busy server.
"""

from __future__ import annotations

import argparse
import sys
from array import array
from typing import Any

from counting import FOREVER, lengthen_limits, print_costs, serve

from mooring.bench.private_database import PrivateDatabase
from mooring.bench.pusher import Device
from mooring.bench.pushing import TOKEN, MariaDBTables

DEVICES = 64


def make_gateway(url: str) -> Any:
    """The server of the counted process."""
    from mooring.gateway import server, writers

    lengthen_limits((writers, "QUEUE_TIMEOUT"))
    return server(bind="tcp://127.0.0.1:0", database=url, auth="token", first_message_timeout=FOREVER)


def send(port: int, depth: int, pushes: int) -> None:
    """All devices push, then all are acknowledged."""
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


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pushes", type=int, default=8192)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--bytecodes", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(lambda: make_gateway(options.serve), bytecodes=options.bytecodes)
        return
    with PrivateDatabase(small=False) as database:
        tables = MariaDBTables(database, DEVICES)
        counted = [sys.executable, __file__, "--serve", tables.url]
        print_costs("push", counted, send, options.pushes, begin=tables.renew)


if __name__ == "__main__":
    main()
