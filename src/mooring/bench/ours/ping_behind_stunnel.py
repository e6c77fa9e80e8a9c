"""PING on Mooring behind stunnel: ``python ping_behind_stunnel.py PORT CERTIFICATE KEY``; stunnel is its child."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from mooring.framing import Lines
from mooring.heartbeat import Heartbeat
from mooring.net.connection.connection import Connection
from mooring.server import Server

CONFIGURATION = """
foreground = yes
pid =
[ping]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {certificate}
key = {key}
"""


def answer(connection: Connection, message: bytes) -> bytes:
    """The handler."""
    return b"+PONG"


if __name__ == "__main__":
    port, certificate, key = sys.argv[1:4]
    server = Server(
        answer,
        framing=Lines(b"\r\n"),
        bind="tcp://127.0.0.1:0",
        heartbeat=Heartbeat(timeout=90, interval=30, message=b"BEAT"),
    )
    server.initialize()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(CONFIGURATION.format(port=port, behind=server.port, certificate=certificate, key=key))
        file.flush()
        with subprocess.Popen(["stunnel", file.name], stderr=subprocess.DEVNULL) as stunnel:  # noqa: S603, S607
            try:
                server.run()
            finally:
                stunnel.terminate()
