"""Databases for the tests of ``mooring.db``: the same contract over SQLite and MariaDB, by both drivers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.db import ConnectionPool, open_pool

MakePool = Callable[..., ConnectionPool]


def require_mysqlclient() -> None:
    """Fail, with what to do, if the second MySQL driver is missing."""
    if importlib.util.find_spec("MySQLdb") is None:
        pytest.fail("mysqlclient is not installed: run script/test, which sees to it", pytrace=False)


@pytest.fixture(params=["sqlite", "mariadb", "mysqldb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    value: str = request.getfixturevalue("mariadb_url")
    if request.param == "mysqldb":
        require_mysqlclient()
        return value.replace("mysql://", "mysql+mysqldb://")
    return value


@pytest.fixture
def make_pool(url: str) -> Iterator[MakePool]:
    """A function that makes pools over ``url``; all are closed at the end."""
    pools: list[ConnectionPool] = []

    def make(**options: Any) -> ConnectionPool:
        pool = open_pool(url, **options)
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close(timeout=1.0)


@pytest.fixture
def pool(make_pool: MakePool) -> ConnectionPool:
    """A pool with the table ``t (id, v)``, v unique."""
    pool = make_pool()
    with pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(100) UNIQUE)")
    return pool
