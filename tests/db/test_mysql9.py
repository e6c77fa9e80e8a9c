"""What a real MySQL 9 does otherwise than MariaDB: its logins, its certificates, its deadlocks and its time-outs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mariadb import ESCAPED_PASSWORD, USER
from mysql9 import MySQL9
from waiting import wait_until

from mooring.db import ConnectionManager, Lease, MySQLConnectionPool
from mooring.errors import PoolUnavailable


@pytest.fixture
def pool(mysql9_url: str) -> Iterator[MySQLConnectionPool]:
    with MySQLConnectionPool(mysql9_url) as pool:
        yield pool


def test_it_is_a_mysql_9_with_caching_sha2_password(pool: MySQLConnectionPool, mysql9: MySQL9) -> None:
    with pool.connection() as lease:
        version, plugin = lease.execute(
            "SELECT VERSION(), (SELECT plugin FROM mysql.user WHERE user = 'app' AND host = '127.0.0.1')"
        ).fetchone()
    assert version.startswith("9.")
    assert plugin == "caching_sha2_password"


@pytest.mark.parametrize("way", ["tcp", "socket", "tls"])
def test_the_first_login_after_a_restart_of_its_cache_works_on_every_way(mysql9: MySQL9, way: str) -> None:
    """Users found it random, because the server remembers a login: by RSA, in clear over a socket, over TLS."""
    mysql9.query("FLUSH PRIVILEGES")  # forgets who has logged in
    url = {"tcp": mysql9.url(), "socket": mysql9.socket_url(), "tls": mysql9.url() + "?ssl_mode=required"}[way]
    for _ in range(2):
        with MySQLConnectionPool(url) as pool, pool.connection() as lease:
            (cipher,) = lease.execute("SHOW STATUS LIKE 'Ssl_cipher'").fetchone()[1:]
            assert bool(cipher) == (way == "tls")


def test_a_certificate_is_verified(mysql9: MySQL9, tmp_path: Path) -> None:
    authority = mysql9.data / "ca.pem"
    good = f"{mysql9.url()}?ssl_mode=verify_ca&ssl_ca={authority}"
    with MySQLConnectionPool(good) as pool, pool.connection() as lease:
        assert lease.execute("SHOW STATUS LIKE 'Ssl_version'").fetchone()[1].startswith("TLS")
    # Signed by the right authority, but for another name.
    with (
        MySQLConnectionPool(f"{mysql9.url()}?ssl_ca={authority}") as pool,
        pytest.raises(PoolUnavailable, match=r"certificate of 127.0.0.1.* is not accepted: .*127.0.0.1"),
    ):
        pool.get_connection()
    # Signed by nobody that we know.
    with (
        MySQLConnectionPool(f"{mysql9.url()}?ssl_mode=verify_ca") as pool,
        pytest.raises(PoolUnavailable, match=r"is not accepted: self-signed certificate.*ssl_ca=/path"),
    ):
        pool.get_connection()
    with (
        MySQLConnectionPool(f"{mysql9.url()}?ssl_ca={tmp_path}/none.pem") as pool,
        pytest.raises(PoolUnavailable, match=r"cannot use the certificates in .*none.pem"),
    ):
        pool.get_connection()


def test_a_server_without_tls_is_refused_where_tls_is_required(mysql9_url: str, mariadb_url: str) -> None:
    with (
        MySQLConnectionPool(f"{mariadb_url}?ssl_mode=required") as pool,
        pytest.raises(PoolUnavailable, match=r"no encrypted connection to .*SSL is required"),
    ):
        pool.get_connection()


def test_a_wrong_password_is_refused_at_once(mysql9: MySQL9) -> None:
    url = mysql9.url(password="wrong")
    with MySQLConnectionPool(url) as pool, pytest.raises(PoolUnavailable, match=r"access denied for 'app'"):
        pool.get_connection(timeout=60)


def test_an_idle_connection_that_the_server_closed_is_replaced_unseen(
    pool: MySQLConnectionPool, mysql9: MySQL9
) -> None:
    """MySQL says 4031 before it closes."""
    with pool.connection() as lease:
        (number,) = lease.execute("SELECT CONNECTION_ID()").fetchone()
        lease.execute("SET SESSION wait_timeout = 1")
    wait_until(lambda: number not in mysql9.connections())
    with pool.connection() as lease:
        assert lease.execute("SELECT CONNECTION_ID()").fetchone() != (number,)
    assert (pool.stats().dead, pool.stats().pings) == (1, 0)


def test_keepalive_outlives_the_servers_wait_timeout(mysql9: MySQL9, mysql9_url: str) -> None:
    mysql9.query("SET GLOBAL wait_timeout = 1")
    try:
        with MySQLConnectionPool(mysql9_url, min_size=1) as pool:
            with pool.connection() as lease:
                (number,) = lease.execute("SELECT CONNECTION_ID()").fetchone()
            wait_until(lambda: pool.stats().pings >= 2)  # about 1.6 s
            assert number in mysql9.connections()
            assert pool.stats().closed == 0
    finally:
        mysql9.query("SET GLOBAL wait_timeout = 28800")


def test_deadlocks_are_run_again(pool: MySQLConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
        lease.executemany("INSERT INTO t VALUES (%s, 0)", [(1,), (2,)])
    barrier = threading.Barrier(2)

    def cross(first: int, second: int) -> None:
        met = False

        def work(lease: Lease) -> None:
            nonlocal met
            lease.execute("UPDATE t SET v = v + 1 WHERE id = %s", (first,))
            if not met:
                met = True
                barrier.wait(10)
            lease.execute("UPDATE t SET v = v + 1 WHERE id = %s", (second,))

        pool.run_transaction(work)

    with ThreadPoolExecutor(2) as executor:
        for future in [executor.submit(cross, 1, 2), executor.submit(cross, 2, 1)]:
            future.result(30)
    with pool.connection() as lease:
        assert list(lease.execute("SELECT v FROM t")) == [(2,), (2,)]
    assert (pool.stats().retries, pool.stats().closed) == (1, 0)


def test_a_lock_wait_timeout_is_rolled_back_and_run_again(pool: MySQLConnectionPool) -> None:
    """1205 undoes one statement only: without a rollback the rest of the transaction would be done twice."""
    with pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
        lease.executemany("INSERT INTO t VALUES (%s, 0)", [(1,), (2,)])
    blocker = pool.get_connection()
    blocker.execute("BEGIN")
    blocker.execute("UPDATE t SET v = 100 WHERE id = 2")
    runs: list[Lease] = []

    def work(lease: Lease) -> None:
        runs.append(lease)
        lease.execute("SET SESSION innodb_lock_wait_timeout = 1")
        lease.execute("UPDATE t SET v = v + 1 WHERE id = 1")
        if len(runs) == 2:
            blocker.rollback()
        lease.execute("UPDATE t SET v = v + 1 WHERE id = 2")

    pool.run_transaction(work)
    pool.return_connection(blocker)
    with pool.connection() as lease:
        assert list(lease.execute("SELECT v FROM t")) == [(1,), (1,)]


def test_a_read_only_server_costs_the_pool_its_connections(mysql9: MySQL9, mysql9_url: str) -> None:
    with MySQLConnectionPool(mysql9_url) as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INT)")
        mysql9.query("CREATE USER IF NOT EXISTS plain@'127.0.0.1' IDENTIFIED BY 'plain'")
        mysql9.query("GRANT SELECT, INSERT ON *.* TO plain@'127.0.0.1'")
    with MySQLConnectionPool(mysql9_url.replace(f"{USER}:{ESCAPED_PASSWORD}", "plain:plain")) as pool:
        pool.create_connections(3)
        mysql9.query("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(pool.OperationalError) as caught, pool.connection() as lease:
                lease.execute("INSERT INTO t VALUES (1)")
        finally:
            mysql9.query("SET GLOBAL read_only = OFF")
        assert caught.value.args[0] == 1290
        assert pool.stats().total == 0


def test_migrations_run(mysql9_url: str, tmp_path: Path) -> None:
    (tmp_path / "V0001__t.sql").write_text("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    with ConnectionManager(mysql9_url, tmp_path) as manager:
        assert [status.name for status in manager.initialize()] == ["t"]
        assert manager.migrate() == []


def test_a_server_that_stands_still_is_waited_out(mysql9: MySQL9, mysql9_url: str) -> None:
    """SIGSTOP: the kernel goes on accepting, and nothing answers."""
    with MySQLConnectionPool(mysql9_url) as pool, ThreadPoolExecutor(4) as executor:
        pool.create_connections(1)
        mysql9.signal(signal.SIGSTOP)
        try:

            def ask() -> object:
                with pool.connection(20) as lease:
                    return lease.execute("SELECT 1").fetchone()

            futures = [executor.submit(ask) for _ in range(4)]
            wait_until(lambda: pool.stats().waiting == 3)
        finally:
            mysql9.signal(signal.SIGCONT)
        assert [future.result(20) for future in futures] == [(1,)] * 4
