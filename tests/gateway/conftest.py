"""Gateways on real databases, and devices that talk to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devices import Connect, Device, MakeGateway

from mooring.db import ConnectionPool, open_pool
from mooring.gateway import Gateway, server
from mooring.gateway.server import migrations_of
from mooring.gateway.store import Store


@pytest.fixture
def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'gateway.db'}"


@pytest.fixture(params=["sqlite", "mariadb", "mysql9"])
def database_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'gateway.db'}"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_gateway(stack: contextlib.ExitStack) -> MakeGateway:
    """A function that starts gateways; all are stopped at the end."""

    def make(url: str, **options: Any) -> Gateway:
        gateway = server(database=url, bind="tcp://127.0.0.1:0", **options)
        stack.callback(gateway.stop, 5.0)
        gateway.start()
        return gateway

    return make


@pytest.fixture
def gateway(make_gateway: MakeGateway, sqlite_url: str) -> Gateway:
    """A gateway over SQLite."""
    return make_gateway(sqlite_url)


@pytest.fixture
def connect(stack: contextlib.ExitStack) -> Connect:
    """A function that makes connections; all are closed at the end."""
    return lambda gateway: stack.enter_context(Device(gateway.addresses[0]))


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    """A pool over a database with the gateway's tables."""
    with open_pool(database_url) as pool:
        migrations_of(pool).migrate()
        yield pool


@pytest.fixture
def store(pool: ConnectionPool) -> Store:
    return Store(pool)
