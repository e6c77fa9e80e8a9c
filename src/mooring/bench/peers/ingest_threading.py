"""Pushes stored by threads: ``python ingest_threading.py PORT URL``; SQLAlchemy's QueuePool over PyMySQL."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

import pymysql
from sqlalchemy.pool import QueuePool

SQL = "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)"
POOL_SIZE = 16


def make_row(device: int, push: dict[str, Any]) -> tuple[int, int, str, str, str]:
    """What is stored of a push."""
    at = datetime.fromtimestamp(push["at"], UTC)
    return device, push["seq"], f"{at:%F %T.%f}", f"{datetime.now(UTC):%F %T.%f}", json.dumps(push["data"])


def make_pool(url: str) -> QueuePool:
    """A pool of 16 connections in autocommit."""
    parts = urlsplit(url)

    def connect() -> Any:
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
            autocommit=True,
            ssl_disabled=True,
        )

    return QueuePool(connect, pool_size=POOL_SIZE, max_overflow=0, reset_on_return=None)


class Pushes(StreamRequestHandler):
    """One connection, in a thread of its own: a login, then pushes."""

    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        """See BaseRequestHandler."""
        hello = json.loads(self.rfile.readline() or b"null")
        if hello is None:
            return
        device = self.run("SELECT id FROM devices WHERE name = %s", (hello["device"],))[0]
        self.answer({"op": "welcome", "device": hello["device"]})
        for line in self.rfile:
            push = json.loads(line)
            self.run(SQL, make_row(device, push))
            self.answer({"op": "ack", "seq": push["seq"]})

    def run(self, sql: str, values: tuple[Any, ...]) -> Any:
        """One statement on a connection of the pool."""
        connection = self.server.pool.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(sql, values)
            return cursor.fetchone()
        finally:
            connection.close()

    def answer(self, message: dict[str, Any]) -> None:
        """Send a line of JSON."""
        self.wfile.write(json.dumps(message).encode() + b"\n")


class Server(ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024
    pool: QueuePool


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Pushes) as server:
        server.pool = make_pool(sys.argv[2])
        server.serve_forever()
