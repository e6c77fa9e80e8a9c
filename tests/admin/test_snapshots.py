"""One snapshot a second for all who look, and as little work as can be while nobody does."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from mooring import Client, Server
from mooring.admin.events import LastLines, LogLevel
from mooring.admin.snapshots import Snapshots
from mooring.admin.watched import WatchedServer

from .conftest import ask_device


def snapshots_of(watched: WatchedServer, lines: LastLines | None = None) -> Snapshots:
    return Snapshots([watched], lines or LastLines(), LogLevel(lambda seconds, function: lambda: None))


def data_of(event: bytes) -> Any:
    return json.loads(event.partition(b"data: ")[2])


def test_while_nobody_looks_the_connections_are_left_alone(server: Server, client: Client) -> None:
    ask_device(client, b"ping")

    async def look() -> None:
        watched = WatchedServer("1", server)
        snapshots = snapshots_of(watched)
        await snapshots._turn()
        assert watched.scanned.count == 0
        viewer = snapshots.admit()
        assert viewer is not None
        stream = snapshots.stream(viewer)
        first = data_of(await anext(stream))
        assert first["servers"][0]["heartbeats"]["alive"] == 1, "who comes sees everything at once"
        assert len(snapshots.history().times) == 2, "the charts have gone on meanwhile"
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(look())


def test_a_line_of_the_log_comes_to_every_viewer_whoever_asks_in_between(server: Server) -> None:
    async def look() -> None:
        lines = LastLines()
        snapshots = snapshots_of(WatchedServer("1", server), lines)
        viewer = snapshots.admit()
        assert viewer is not None
        stream = snapshots.stream(viewer)
        await anext(stream)
        lines.handle(logging.LogRecord("mooring", logging.WARNING, "", 0, "the line", None, None))
        assert [event.text for event in (await snapshots.make(fresh=True)).events] == ["the line"]
        await snapshots.make(fresh=True)
        await snapshots._turn()
        assert [event["text"] for event in data_of(await anext(stream))["events"]] == ["the line"]
        snapshots._made_at = 0.0
        await snapshots._turn()
        assert data_of(await anext(stream))["events"] == [], "and once"
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(look())
