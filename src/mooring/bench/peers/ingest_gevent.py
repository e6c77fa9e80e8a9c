"""Pushes stored by greenlets: ``python ingest_gevent.py PORT URL``; PyMySQL, made cooperative by patching sockets."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import urlsplit  # noqa: E402

import pymysql  # noqa: E402
from gevent.queue import LifoQueue  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

SQL = "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)"
POOL_SIZE = 16


def make_row(device: int, push: dict[str, Any]) -> tuple[int, int, str, str, str]:
    """What is stored of a push."""
    at = datetime.fromtimestamp(push["at"], UTC)
    return device, push["seq"], f"{at:%F %T.%f}", f"{datetime.now(UTC):%F %T.%f}", json.dumps(push["data"])


class Pool:
    """16 connections in autocommit; who finds none free waits for one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._free: LifoQueue = LifoQueue()
        for _ in range(POOL_SIZE):
            self._free.put(
                pymysql.connect(
                    host=parts.hostname,
                    port=parts.port or 3306,
                    user=parts.username,
                    password=parts.password or "",
                    database=parts.path[1:],
                    autocommit=True,
                    ssl_disabled=True,
                )
            )

    def run(self, sql: str, values: tuple[Any, ...]) -> Any:
        """One statement."""
        connection = self._free.get()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchone()
        finally:
            self._free.put(connection)


def answer(socket: Any, message: dict[str, Any]) -> None:
    """Send a line of JSON."""
    socket.sendall(json.dumps(message).encode() + b"\n")


def main(port: int, url: str) -> None:
    """Serve until TERM."""
    pool = Pool(url)

    def serve(socket: Any, address: Any) -> None:
        socket.setsockopt(6, 1, 1)  # TCP_NODELAY
        lines = socket.makefile("rb")
        hello = json.loads(lines.readline() or b"null")
        if hello is None:
            return
        device = pool.run("SELECT id FROM devices WHERE name = %s", (hello["device"],))[0]
        answer(socket, {"op": "welcome", "device": hello["device"]})
        for line in lines:
            push = json.loads(line)
            pool.run(SQL, make_row(device, push))
            answer(socket, {"op": "ack", "seq": push["seq"]})

    StreamServer(("127.0.0.1", port), serve, backlog=1024).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
