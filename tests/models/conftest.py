"""The contract suite runs over every model and every transport."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from places import Place

MODELS = ("hybrid", "epoll", "threads")
TRANSPORTS = ("tcp4", "tcp6", "unix", "tls")
BALANCED = ("tcp4 balanced", "tcp6 balanced", "unix balanced", "tls balanced")
"""The same behind a load balancer that speaks the PROXY protocol."""


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """Each model in turn."""
    return request.param


@pytest.fixture(params=(*TRANSPORTS, *BALANCED))
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport in turn."""
    return request.param


@pytest.fixture
def place(model: str, transport: str, folder: Path, authority: Authority) -> Iterator[Place]:
    """One model on one transport."""
    with contextlib.ExitStack() as stack:
        yield Place(model, transport, folder, stack, authority)


@pytest.fixture
def tcp(model: str, folder: Path) -> Iterator[Place]:
    """One model on IPv4, for what does not depend on the transport."""
    with contextlib.ExitStack() as stack:
        yield Place(model, "tcp4", folder, stack)


@pytest.fixture
def collected() -> Callable[[socket.socket], bytes]:
    """Reads a socket to its end."""

    def read(sock: socket.socket) -> bytes:
        data = b""
        while piece := sock.recv(65536):
            data += piece
        return data

    return read
