"""Servers and clients of a test, ended with it; for whatever needs no more than an echo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mooring import Client, Connection, ConnectionClosed, Server

READERS = ("hybrid", "threads")
"""Who reads: the loop (in "epoll" as in "hybrid"), or a thread for each connection."""

Serve = Callable[..., Server]
Connect = Callable[..., Client]


def echo(connection: Connection, message: bytes) -> bytes:
    return message


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, and stops them at the end of the test."""
    with contextlib.ExitStack() as stack:

        def serve(handler: Any = echo, **options: Any) -> Server:
            return stack.enter_context(Server(handler, bind="tcp://127.0.0.1:0", **options))

        yield serve


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects, and closes at the end of the test."""
    with contextlib.ExitStack() as stack:

        def connect(server: Server, **options: Any) -> Client:
            return stack.enter_context(Client(server.addresses[0], **options))

        yield connect


def ended(client: Client) -> bool:
    """Waits for the end that the server makes; False if a message comes instead."""
    try:
        client.recv()
    except (ConnectionClosed, ConnectionResetError, BrokenPipeError):
        return True
    return False
