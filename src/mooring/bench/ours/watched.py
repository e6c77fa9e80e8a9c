"""PING as ``mooring serve`` serves it, with an admin side or without: ``python watched.py PORT HOST:PORT|off``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.server import Server

TOKEN = "the token of the benchmark, no secret"  # noqa: S105


def answer(connection: Connection, message: bytes) -> bytes | None:
    """The handler; OK is the answer to a heartbeat."""
    return None if message == b"OK" else b"+PONG"


server = Server(answer, framing=Lines(b"\r\n"), heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"))


if __name__ == "__main__":
    place = Path(__file__)
    command = [sys.executable, "-m", "mooring", "serve", f"{place.stem}:server", "--app-dir", str(place.parent)]
    command += ["--config", os.devnull, "--bind", f"tcp://127.0.0.1:{sys.argv[1]}", "--admin", sys.argv[2]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOORING_")}
    os.execve(sys.executable, command, {**kept, "MOORING_ADMIN_TOKEN": TOKEN})  # noqa: S606
