"""A child of a process with a pool: it shares nothing with its parent, and harms nothing of it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from fake_driver import FakeDriver, make_fake_pool
from forks import in_child
from mariadb import MariaDB

from mooring.db import ConnectionPool, open_pool
from mooring.errors import PoolError

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(params=["inline", "openers"])
def fake(request: pytest.FixtureRequest) -> Iterator[tuple[ConnectionPool, FakeDriver]]:
    driver = FakeDriver(inline=request.param == "inline")
    with make_fake_pool(driver, max_size=2) as pool:
        yield pool, driver


def test_a_child_begins_with_an_empty_pool_that_works(fake: tuple[ConnectionPool, FakeDriver]) -> None:
    pool, driver = fake
    pool.create_connections(2)

    def work() -> None:
        assert pool.stats().total == 0
        with pool.connection(10) as lease:
            assert lease.raw.number == 2
        assert all(connection.abandoned for connection in driver.connections[:2])
        assert not any(connection.closed for connection in driver.connections[:2])
        pool.close()

    in_child(work)
    assert pool.stats().total == 2
    with pool.connection() as lease:
        assert not lease.raw.abandoned


def test_a_lease_of_the_parent_raises_in_the_child(fake: tuple[ConnectionPool, FakeDriver]) -> None:
    pool, _ = fake
    lease = pool.get_connection()

    def work() -> None:
        with pytest.raises(PoolError, match="before the process forked"):
            lease.execute("SELECT 1")
        with pytest.raises(PoolError, match="before the process forked"):
            pool.return_connection(lease)
        lease.close()  # nothing to do

    in_child(work)
    lease.execute("SELECT 1")
    pool.return_connection(lease)


def test_a_fork_in_the_middle_of_lending_leaves_the_child_a_free_mutex(fake: tuple[ConnectionPool, FakeDriver]) -> None:
    """psycopg_pool and others hang in the child: a lock was held by a thread that does not exist there."""
    pool, _ = fake
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            with pool.connection(10):
                pass

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()

    def work() -> None:
        with pool.connection(10):
            pass

    try:
        for _ in range(10):
            in_child(work)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def test_no_database_notices_a_child(url: str, mariadb: MariaDB) -> None:
    """Inherited MySQL connections that a child closes, or collects as garbage, end the parent's sessions."""
    with open_pool(url, max_size=3) as pool:
        pool.create_connections(2)
        held = pool.get_connection()
        held.execute("CREATE TABLE t (id INTEGER)")
        held.execute("BEGIN")
        held.execute("INSERT INTO t VALUES (1)")

        def work() -> None:
            gc.collect()
            with pool.connection(10) as lease:
                assert list(lease.execute("SELECT id FROM t")) == []
            pool.close(timeout=0)
            gc.collect()

        in_child(work)
        held.execute("COMMIT")
        pool.return_connection(held)
        with pool.connection() as lease:
            assert list(lease.execute("SELECT id FROM t")) == [(1,)]
        assert pool.stats().closed == 0


def test_idle_connections_are_closed_politely_when_the_process_ends(mariadb_url: str, mariadb: MariaDB) -> None:
    from processes import run_python

    before = int(str(mariadb.query("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")[0][1]))
    code = """
import sys
from mooring.db import open_pool
pool = open_pool(sys.argv[1])
pool.create_connections(2)
"""
    assert run_python(code, mariadb_url) == ""
    mariadb.query("SELECT 1")
    assert int(str(mariadb.query("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")[0][1])) == before
