"""What users of other pools and drivers ran into: one test for each that no other test names and that can happen here.

Those with a test of their own elsewhere: an absence of minutes, fail-fast and who tries (test_absence.py); forks
(test_forking.py); expiry, order, hand-over, interrupted waiters (test_pool.py); leaks, nested loans, wait_timeout
(test_housekeeper.py); lost wake-ups (test_ledger.py, test_pool_states.py); silence, half packets, black holes, failover
(test_network_faults.py); stale reads (test_pools.py); caching_sha2_password and deadlocks (test_mysql9.py).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clock import Clock
from fake_driver import FakeDriver, Refused, make_fake_pool
from fake_mysql import FakeMySQL
from mariadb import MariaDB
from waiting import wait_until

from mooring.db import MySQLConnectionPool, mysql, mysql_errors, open_pool
from mooring.db.url import parse_url
from mooring.errors import PoolUnavailable


@pytest.fixture
def server() -> Iterator[FakeMySQL]:
    with FakeMySQL() as server:
        yield server


@pytest.fixture(params=["mysql", "mysql+mysqldb"])
def mysql_url(request: pytest.FixtureRequest, mariadb_url: str) -> str:
    """The URL of an empty MariaDB database, by each driver."""
    return mariadb_url.replace("mysql://", f"{request.param}://")


# ------------------------------------------------------------------------------------------- one user at a time


def test_two_threads_on_one_connection_do_not_read_each_others_answers(mysql_url: str) -> None:
    """PyMySQL #422, #845: "Packet sequence number wrong", or the other thread's rows."""
    with open_pool(mysql_url) as pool, ThreadPoolExecutor(1) as executor, pool.connection() as lease:
        begun = threading.Event()

        def sleep() -> Any:
            cursor = lease.cursor()
            begun.set()
            cursor.execute("SELECT SLEEP(0.5)")
            return cursor.fetchone()

        asked = executor.submit(sleep)
        assert begun.wait(10)
        with pytest.raises(pool.ProgrammingError, match=r"in use by another thread|already in use"):
            while not asked.done():
                lease.execute("SELECT 1")
        assert asked.result(10) == (0,)
        assert lease.execute("SELECT 2").fetchone() == (2,)


def test_a_snapshot_does_not_outlive_its_lease_without_autocommit(mysql_url: str) -> None:
    """PyMySQL #390: a SELECT begins a transaction that the status flag of its answer does not show."""
    with open_pool(mysql_url, autocommit=False, min_size=1, max_size=1) as pool, open_pool(mysql_url) as writer:
        with writer.connection() as lease:
            lease.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        for count in range(3):
            with pool.connection() as lease:
                assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (count,)
            with writer.connection() as lease:
                lease.execute("INSERT INTO t VALUES (%s)", (count,))


def test_a_full_reset_leaves_nothing_of_the_last_user(mysql_url: str) -> None:
    """COM_RESET_CONNECTION takes SET NAMES and autocommit back, too: they must be said again."""
    prepared: list[Any] = []
    with open_pool(mysql_url, min_size=1, max_size=1, reset_on_return="full", on_connect=prepared.append) as pool:
        with pool.connection() as lease:
            number = lease.execute("SELECT CONNECTION_ID()").fetchone()
            lease.execute("SET @left = 1, SESSION sql_mode = '', autocommit = 0")
            lease.execute("CREATE TEMPORARY TABLE left_over (id INT)")
            assert lease.execute("SELECT GET_LOCK('left', 0)").fetchone() == (1,)
            lease.execute("SET NAMES latin1")
        with pool.connection() as lease:
            row = lease.execute(
                "SELECT CONNECTION_ID(), @left, @@sql_mode <> '', @@autocommit, @@character_set_client, "
                "@@character_set_results, IS_FREE_LOCK('left')"
            ).fetchone()
            assert row == (*number, None, 1, 1, "utf8mb4", "utf8mb4", 1)
            with pytest.raises(pool.ProgrammingError):
                lease.execute("SELECT * FROM left_over")
            assert lease.execute("SELECT %s", ("ä𝄞",)).fetchone() == ("ä𝄞",)
        assert (len(prepared), pool.stats().opened) == (3, 1)


def test_without_a_reset_the_next_user_goes_on_where_the_last_one_was(mysql_url: str) -> None:
    with open_pool(mysql_url, min_size=1, max_size=1, reset_on_return="none") as pool:
        with pool.connection() as lease:
            lease.execute("SET @left = 1")
        with pool.connection() as lease:
            assert lease.execute("SELECT @left").fetchone() == (1,)


def test_on_connect_failing_after_a_full_reset_costs_the_connection(mariadb_url: str) -> None:
    """mysql-connector PR #8: a reset that failed lost the place in the pool."""
    calls: list[Any] = []

    def prepare(connection: Any) -> None:
        calls.append(connection)
        if len(calls) == 2:
            raise ValueError("not today")

    with open_pool(mariadb_url, min_size=1, max_size=1, reset_on_return="full", on_connect=prepare) as pool:
        for _ in range(2):
            with pool.connection() as lease:
                lease.execute("SELECT 1")
        assert (pool.stats().broken, pool.stats().opened, pool.stats().active) == (1, 2, 0)


# --------------------------------------------------------------------------------------------------- validation


def test_an_idle_check_never_waits_though_the_socket_has_a_timeout(mariadb_url: str) -> None:
    """A recv with MSG_DONTWAIT waits for the whole time-out of a Python socket; poll(0) does not."""
    with MySQLConnectionPool(f"{mariadb_url}?read_timeout=20") as pool:
        with pool.connection() as lease:
            assert lease.raw._sock.gettimeout() > 0
        (slot,) = pool._ledger.idle
        started = time.monotonic()
        assert not slot.looks_dead()
        assert time.monotonic() - started < 10


def test_a_statement_costs_one_round_trip_and_a_loan_none(server: FakeMySQL) -> None:
    """mysql-connector pings at each cursor(); others at each loan."""
    with MySQLConnectionPool(server.url()) as pool:
        pool.create_connections(1)
        before = len(server.statements)
        for _ in range(3):
            with pool.connection() as lease:
                cursor = lease.cursor()
                cursor.execute("DO 1")
                cursor.close()
        assert server.statements[before:] == [b"DO 1"] * 3


def test_a_ping_never_connects_again(mysql_url: str, mariadb: MariaDB) -> None:
    """PyMySQL before 1.2 and mysqlclient could reconnect in ping(), which loses the session's state unseen."""
    with open_pool(mysql_url) as pool:
        connection = pool.create_new_connection()
        cursor = connection.cursor()
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()
        assert pool.is_connection_valid(connection)
        mariadb.query(f"KILL {number}")
        wait_until(lambda: not pool.is_connection_valid(connection))
        assert not pool.is_connection_valid(connection)
        pool._driver.close(connection)


def test_what_on_connect_sets_is_set_on_every_connection(mysql_url: str, mariadb: MariaDB) -> None:
    """DBUtils #23: the session's settings were lost when the driver connected again."""

    def prepare(connection: Any) -> None:
        connection.cursor().execute("SET @prepared = 1")

    with open_pool(mysql_url, on_connect=prepare) as pool:
        for _ in range(3):
            with pool.connection() as lease:
                number, value = lease.execute("SELECT CONNECTION_ID(), @prepared").fetchone()
            assert value == 1
            mariadb.query(f"KILL {number}")
            wait_until(lambda number=number: number not in mariadb.connections())
            (slot,) = pool._ledger.idle
            wait_until(slot.looks_dead)


def test_stale_connections_are_passed_over_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg #709: five stale connections cost 1 + 2 + 4 + 8 + 16 seconds, and the caller's patience."""
    driver = FakeDriver(inline=False)
    clock = Clock()
    with make_fake_pool(driver, clock, max_size=20, ping_after=0.0) as pool:
        pool.create_connections(20)
        for connection in driver.connections:
            connection.alive = False
        clock.advance(1)
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        with pool.connection() as lease:
            assert lease.raw.alive
        assert not pauses
        assert pool.stats().dead == 20


def test_what_was_idle_for_too_long_is_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vitess PR #17757: its closer of idle connections opened new ones."""
    driver = FakeDriver(inline=False)
    clock = Clock()
    with make_fake_pool(driver, clock, min_size=1, max_size=8, max_idle=10) as pool:
        pool.create_connections(8)
        clock.advance(11)
        for _ in range(3):
            pool._housekeeper.look()
        assert (pool.stats().total, driver.attempts) == (1, 8)


# ------------------------------------------------------------------------------------------------------- waiting


def test_a_database_that_is_away_neither_spins_nor_outlasts_the_timeout() -> None:
    """mariadb_pool 2.0rc2 never came back from its wait, and burned a core with the lock held."""
    driver = FakeDriver(inline=False)
    driver.down = Refused("away")
    with make_fake_pool(driver) as pool:
        used, started = time.process_time(), time.monotonic()
        with pytest.raises(PoolUnavailable, match="away"):
            pool.get_connection(timeout=0.5)
        assert time.monotonic() - started < 20
        assert time.process_time() - used < 0.4
        assert driver.attempts < 10


@pytest.mark.parametrize("statement", [b"", b"SELECT @@"])
def test_a_server_that_stands_still_after_the_login_holds_no_opener(
    server: FakeMySQL, monkeypatch: pytest.MonkeyPatch, statement: bytes
) -> None:
    """HikariCP #2062: an opener hung in a read that nothing bounded, and the pool starved."""
    monkeypatch.setattr(mysql, "CONNECT_TIMEOUT", 0.3)
    server.silent_on = statement
    with MySQLConnectionPool(server.url()) as pool, pytest.raises(PoolUnavailable, match="timed out"):
        pool.create_connections(timeout=0)


def test_the_urls_timeouts_are_those_of_the_connection(mariadb_url: str) -> None:
    url = f"{mariadb_url}?connect_timeout=2.5&read_timeout=300&write_timeout=7"
    with MySQLConnectionPool(url) as pool, pool.connection() as lease:
        raw = lease.raw
        assert (raw.connect_timeout, raw._read_timeout, raw._write_timeout) == (2.5, 300, 7)


def test_a_long_statement_may_be_allowed_and_others_end(mysql_url: str) -> None:
    """PyMySQL #338: hangs for ever, or too short for a report."""
    with open_pool(f"{mysql_url}?read_timeout=1") as pool:
        with pytest.raises(pool.OperationalError), pool.connection() as lease:
            lease.execute("SELECT SLEEP(5)")
        assert pool.stats().broken == 1


# ------------------------------------------------------------------------------------------------- text and login


def test_text_is_utf8mb4_in_the_collation_that_was_asked_for(mysql_url: str) -> None:
    """PyMySQL #1092: utf8 that is none, and collations that do not compare."""
    with open_pool(f"{mysql_url}?collation=utf8mb4_bin", reset_on_return="full") as pool:
        for _ in range(2):
            with pool.connection() as lease:
                row = lease.execute("SELECT %s, @@collation_connection", ("𝄞",)).fetchone()
                assert row == ("𝄞", "utf8mb4_bin")


def test_a_login_that_needs_cryptography_says_what_to_install() -> None:
    """PyMySQL #768: caching_sha2_password failed now and then, because the server remembers logins."""
    error = RuntimeError("'cryptography' package is required for sha256_password or caching_sha2_password auth methods")
    failure = mysql_errors.explain(parse_url("mysql://app@db/d"), error)
    assert failure.fatal
    assert "pip install 'PyMySQL[rsa]'" in failure.detail


def test_without_mysqlclient_its_urls_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """mysqlclient #620: it cannot be had everywhere, so it is asked for by name, and named when it is missing."""
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    monkeypatch.delitem(sys.modules, "mooring.db.mysqldb", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'mooring\[mysqlclient\]'.*mysql:// needs nothing more"):
        open_pool("mysql+mysqldb://app@db/d")


def test_a_tls_context_is_made_once_and_not_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """cpython #95031: a context costs 28 ms of CPU, and PyMySQL makes one for each connection."""
    made: list[Any] = []
    monkeypatch.setattr("mooring.db.credentials._make_context", lambda url: made.append(url) or object())
    near = mysql.MySQLDriver(parse_url("mysql://app@127.0.0.1/d"))
    near._unconnected("127.0.0.1", 1)
    assert not made
    far = mysql.MySQLDriver(parse_url("mysql://app@db.example/d"))
    for _ in range(3):
        far._unconnected("db.example", 1)
    assert len(made) == 1


@pytest.mark.parametrize("number", [1290, 1792, 1836])
def test_a_writer_that_became_read_only_is_left(server: FakeMySQL, number: int) -> None:
    """HikariCP #2185, node-mysql2 #2050: after a failover pools kept the connections to the former writer."""
    with MySQLConnectionPool(server.url()) as pool:
        pool.create_connections(2)
        server.query_error = number, "The MySQL server is running with the --read-only option"
        with pytest.raises(pool.OperationalError), pool.connection() as lease:
            lease.execute("INSERT INTO t VALUES (1)")
        assert (pool.stats().total, pool.stats().evicted) == (0, 1)
