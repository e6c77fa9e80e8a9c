"""Pushes stored by asyncio: ``python ingest_asyncio.py PORT URL DRIVER WAY``.

DRIVER: ``asyncmy`` or ``aiomysql``. WAY: ``insert`` (one INSERT per message, in autocommit, from a pool of 16) or
``queue`` (a queue by hand, and INSERTs of up to 500 rows by four tasks).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

SQL = "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES "
ROW = "(%s, %s, %s, %s, %s)"
POOL_SIZE = 16
WRITERS = 4
BATCH = 500

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


def make_row(device: int, push: dict[str, Any]) -> tuple[int, int, str, str, str]:
    """What is stored of a push."""
    at = datetime.fromtimestamp(push["at"], UTC)
    return device, push["seq"], f"{at:%F %T.%f}", f"{datetime.now(UTC):%F %T.%f}", json.dumps(push["data"])


def answer(message: dict[str, Any]) -> bytes:
    """A line of JSON."""
    return json.dumps(message).encode() + b"\n"


class Inserts:
    """An INSERT per message."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def store(self, row: tuple[Any, ...]) -> None:
        """Insert and commit it."""
        async with self.pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(SQL + ROW, row)


class Queue:
    """Rows are collected while the INSERT before is on its way."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.rows: asyncio.Queue[tuple[tuple[Any, ...], asyncio.Future[None]]] = asyncio.Queue(10_000)
        self.writers = [asyncio.create_task(self.write()) for _ in range(WRITERS)]

    async def store(self, row: tuple[Any, ...]) -> None:
        """Wait for the commit of the batch in which it is."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.rows.put((row, stored))
        await stored

    async def write(self) -> None:
        """Insert batch after batch."""
        while True:
            batch = [await self.rows.get()]
            while len(batch) < BATCH and not self.rows.empty():
                batch.append(self.rows.get_nowait())
            values = [value for row, _ in batch for value in row]
            try:
                async with self.pool.acquire() as connection, connection.cursor() as cursor:
                    await cursor.execute(SQL + ",".join([ROW] * len(batch)), values)
            except Exception as exc:  # noqa: BLE001 - whoever waits is told
                for _, stored in batch:
                    stored.set_exception(exc)
            else:
                for _, stored in batch:
                    stored.set_result(None)


async def serve(store: Inserts | Queue, reader: Reader, writer: Writer) -> None:
    """One connection: a login, then pushes; answers keep their order."""
    hello = json.loads(await reader.readline())
    async with store.pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT id FROM devices WHERE name = %s", (hello["device"],))
        device = (await cursor.fetchone())[0]
    writer.write(answer({"op": "welcome", "device": hello["device"]}))
    waiting: asyncio.Queue[tuple[int, asyncio.Task[None]] | None] = asyncio.Queue(256)
    answers = asyncio.create_task(acknowledge(waiting, writer))
    while line := await reader.readline():
        push = json.loads(line)
        await waiting.put((push["seq"], asyncio.create_task(store.store(make_row(device, push)))))
    await waiting.put(None)
    await answers
    writer.close()


async def acknowledge(waiting: asyncio.Queue[tuple[int, asyncio.Task[None]] | None], writer: Writer) -> None:
    """Answer each push when it is stored."""
    while (item := await waiting.get()) is not None:
        seq, stored = item
        await stored
        writer.write(answer({"op": "ack", "seq": seq}))
        await writer.drain()


async def main(port: str, url: str, driver: str, way: str) -> None:
    """Serve until TERM."""
    parts = urlsplit(url)
    pool = await importlib.import_module(driver).create_pool(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        db=parts.path[1:],
        minsize=POOL_SIZE,
        maxsize=POOL_SIZE,
        autocommit=True,
    )
    store = Inserts(pool) if way == "insert" else Queue(pool)
    server = await asyncio.start_server(
        lambda reader, writer: serve(store, reader, writer), "127.0.0.1", int(port), backlog=1024
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
