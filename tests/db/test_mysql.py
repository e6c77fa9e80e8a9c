"""MySQL's own ways to fail, on a real MariaDB."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymysql
import pytest
from mariadb import ESCAPED_PASSWORD, PASSWORD, MariaDB
from pymysql.constants import CLIENT

from mooring.db import ConnectionPool, MySQLConnectionPool, mysql
from mooring.errors import CommitUnknown, PoolUnavailable


@pytest.fixture
def pool(mariadb_url: str) -> Iterator[MySQLConnectionPool]:
    with MySQLConnectionPool(mariadb_url) as pool:
        yield pool


def server_id(pool: ConnectionPool) -> int:
    with pool.connection(30) as lease:
        return int(lease.execute("SELECT CONNECTION_ID()").fetchone()[0])


def await_gone(mariadb: MariaDB, numbers: list[int]) -> None:
    """Until the server has closed these connections, and the client's kernel knows."""
    tick = threading.Event()
    for _ in range(1000):
        if not set(numbers) & set(mariadb.connections()):
            tick.wait(0.02)
            return
        tick.wait(0.01)
    raise AssertionError("not killed")


# ------------------------------------------------------------------------------------------- what a connection is


def test_a_connection_speaks_utf8mb4_in_autocommit(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        row = lease.execute("SELECT @@autocommit, @@character_set_client, @@character_set_results").fetchone()
        assert row == (1, "utf8mb4", "utf8mb4")
        assert not lease.raw.client_flag & CLIENT.FOUND_ROWS


def test_an_update_that_changes_nothing_counts_no_rows(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        lease.execute("INSERT INTO t VALUES (1)")
        assert lease.execute("UPDATE t SET id = 1 WHERE id = 1").rowcount == 0


def test_every_wait_of_a_connection_ends(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        assert lease.raw._read_timeout == mysql.READ_TIMEOUT
        assert lease.raw._write_timeout == mysql.WRITE_TIMEOUT
        assert lease.raw._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert lease.raw._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert lease.raw._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_unix_socket_serves_as_well(mariadb: MariaDB) -> None:
    with MySQLConnectionPool(mariadb.socket_url()) as pool, pool.connection() as lease:
        assert lease.raw._sock.family == socket.AF_UNIX
        assert lease.execute("SELECT 1").fetchone() == (1,)


def test_the_password_may_be_given_beside_the_url(mariadb: MariaDB, tmp_path: Path) -> None:
    bare = mariadb.url().replace(f":{ESCAPED_PASSWORD}@", "@")
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    for pool in (
        MySQLConnectionPool(bare, password=PASSWORD),
        MySQLConnectionPool(bare, password=lambda: PASSWORD),
        MySQLConnectionPool(f"{bare}?password_file={file}"),
    ):
        with pool, pool.connection() as lease:
            assert lease.execute("SELECT 1").fetchone() == (1,)
    with MySQLConnectionPool(bare) as pool, pytest.raises(PoolUnavailable, match="access denied"):
        pool.get_connection()
    with (
        MySQLConnectionPool(f"{bare}?password_file={file}.gone") as pool,
        pytest.raises(PoolUnavailable, match=r"password_file .*gone does not exist"),
    ):
        pool.get_connection()


def test_a_rotated_password_is_read_at_the_next_connect(mariadb: MariaDB, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("old")
    url = mariadb.url().replace(f":{ESCAPED_PASSWORD}@", "@") + f"?password_file={file}"
    with MySQLConnectionPool(url) as pool:
        with pytest.raises(PoolUnavailable, match="access denied"):
            pool.get_connection()
        file.write_text(PASSWORD)
        pool.return_connection(pool.get_connection())


def test_one_tls_context_serves_all_connections() -> None:
    """PyMySQL makes one per connection, which costs 28 ms of CPU each."""
    driver = mysql.MySQLDriver(MySQLConnectionPool("mysql://app@db.example/d").url)
    one, other = driver._unconnected("h", 1), driver._unconnected("h", 1)
    assert one.ctx is other.ctx  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", ["127.0.0.1", "[::1]", "localhost", "h"])
def test_loopback_is_not_encrypted(place: str) -> None:
    driver = mysql.MySQLDriver(MySQLConnectionPool(f"mysql://app@{place}/d").url)
    assert driver._unconnected(*driver._url.hosts[0]).ssl == (place == "h")  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------------- being refused


@pytest.mark.parametrize(
    ("url", "number", "words"),
    [
        (
            lambda server: server.url(password="wrong"),
            1045,
            "access denied for 'app' at .*; write @ in a password as %40",
        ),
        (lambda server: server.url(user="nobody"), 1045, "access denied for 'nobody'"),
        (
            lambda server: server.url("meters"),
            1049,
            "unknown database 'meters' on 127.0.0.1:.*; create it with: CREATE DATABASE meters CHARACTER SET utf8mb4",
        ),
    ],
)
def test_a_refusal_comes_at_once_with_advice(mariadb: MariaDB, url: object, number: int, words: str) -> None:
    with (
        MySQLConnectionPool(url(mariadb), timeout=60) as pool,  # type: ignore[operator]
        pytest.raises(PoolUnavailable, match=words) as caught,
    ):
        pool.get_connection()
    assert isinstance(caught.value.__cause__, pymysql.OperationalError)
    assert caught.value.__cause__.args[0] == number
    assert "wrong" not in str(caught.value).replace("wrong user or password", "")


def test_a_database_that_is_created_later_is_found(mariadb: MariaDB) -> None:
    mariadb.query("DROP DATABASE IF EXISTS later")
    with MySQLConnectionPool(mariadb.url("later")) as pool:
        with pytest.raises(PoolUnavailable, match="unknown database"):
            pool.get_connection()
        mariadb.query("CREATE DATABASE later")
        pool.return_connection(pool.get_connection())
    mariadb.query("DROP DATABASE later")


def test_nobody_listening_is_said_within_the_timeout() -> None:
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        port = unbound.getsockname()[1]
        with (
            MySQLConnectionPool(f"mysql://app@127.0.0.1:{port}/d") as pool,
            pytest.raises(
                PoolUnavailable, match=f"cannot reach a database server at 127.0.0.1:{port}: connection refused"
            ),
        ):
            pool.get_connection(timeout=0.3)


def test_a_unix_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        MySQLConnectionPool(f"mysql://app@h/d?unix_socket={tmp_path}/none") as pool,
        pytest.raises(PoolUnavailable, match=r"/none: no such file or directory"),
    ):
        pool.get_connection(timeout=0.1)


def test_a_port_that_listens_and_never_speaks_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyMySQL's connect_timeout ends with the TCP connect: a deaf server would hang it for ever."""
    monkeypatch.setattr(mysql, "CONNECT_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"mysql://app@127.0.0.1:{deaf.getsockname()[1]}/d"
        with MySQLConnectionPool(url) as pool, pytest.raises(PoolUnavailable) as caught:
            pool.create_connections(timeout=0)
    assert "timed out" in str(caught.value.__cause__)


def test_a_server_that_is_not_mysql_is_recognised() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                client.recv(100)

        thread = threading.Thread(target=greet)
        thread.start()
        with (
            MySQLConnectionPool(f"mysql://app@127.0.0.1:{server.getsockname()[1]}/d") as pool,
            pytest.raises(PoolUnavailable, match=r"does not answer like a MySQL server.*is the port right"),
        ):
            pool.get_connection()
        thread.join(10)


# ---------------------------------------------------------------------------------------- connections that are lost


def test_a_killed_idle_connection_is_replaced_unseen(pool: ConnectionPool, mariadb: MariaDB) -> None:
    number = server_id(pool)
    mariadb.query(f"KILL {number}")
    await_gone(mariadb, [number])
    assert server_id(pool) != number
    assert (pool.stats().dead, pool.stats().pings) == (1, 0)  # noticed without a round trip


def test_a_killed_busy_connection_raises_the_drivers_error_and_is_not_lent_again(
    pool: ConnectionPool, mariadb: MariaDB
) -> None:
    with pytest.raises(pool.OperationalError) as caught, pool.connection() as lease:
        number = lease.execute("SELECT CONNECTION_ID()").fetchone()[0]
        mariadb.query(f"KILL {number}")
        await_gone(mariadb, [number])
        lease.execute("SELECT 1")
    assert caught.value.args[0] in (2006, 2013)
    assert pool.stats().broken == 1
    assert server_id(pool) != number


def test_a_connection_lost_during_commit_is_unknown(pool: ConnectionPool, mariadb: MariaDB) -> None:
    with pytest.raises(CommitUnknown) as caught, pool.transaction() as lease:
        number = lease.execute("SELECT CONNECTION_ID()").fetchone()[0]
        mariadb.query(f"KILL {number}")
        await_gone(mariadb, [number])
    assert isinstance(caught.value.__cause__, pymysql.OperationalError)


def test_the_servers_own_idle_timeout_is_survived(mariadb_url: str, mariadb: MariaDB) -> None:
    with MySQLConnectionPool(mariadb_url) as pool:
        with pool.connection() as lease:
            number = lease.execute("SELECT CONNECTION_ID()").fetchone()[0]
            lease.execute("SET SESSION wait_timeout = 1")
        await_gone(mariadb, [number])
        assert server_id(pool) != number


def test_unread_results_cost_the_connection(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INT)")
        lease.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(1000)])
    with pool.connection() as lease:
        cursor = lease.raw.cursor(pymysql.cursors.SSCursor)
        cursor.execute("SELECT * FROM t")
        assert cursor.fetchone() == (0,)
    assert pool.stats().broken == 1
    with pool.connection() as lease:
        assert lease.execute("SELECT 1").fetchone() == (1,)


def test_autocommit_turned_off_by_a_user_is_turned_on_again(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INT)")
        lease.execute("SET autocommit = 0")
        lease.execute("INSERT INTO t VALUES (1)")
    with pool.connection() as lease:
        assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
        assert lease.execute("SELECT @@autocommit").fetchone() == (1,)


def test_a_deadlock_is_the_drivers_error_and_the_connection_survives(mariadb_url: str) -> None:
    with MySQLConnectionPool(mariadb_url) as pool, ThreadPoolExecutor(2) as executor:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
            lease.executemany("INSERT INTO t VALUES (%s, 0)", [(1,), (2,)])
        barrier = threading.Barrier(2)

        def cross(first: int, second: int) -> None:
            with pool.transaction() as lease:
                lease.execute("UPDATE t SET v = v + 1 WHERE id = %s", (first,))
                barrier.wait(10)
                lease.execute("UPDATE t SET v = v + 1 WHERE id = %s", (second,))

        errors = [f.exception(30) for f in [executor.submit(cross, 1, 2), executor.submit(cross, 2, 1)]]
        assert sorted(error.args[0] if error else 0 for error in errors) == [0, 1213]
        assert pool.stats().closed == 0


# -------------------------------------------------------------------------------------- a server that goes and comes


def test_a_restart_with_idle_connections_is_not_seen_by_the_caller(own_mariadb: MariaDB) -> None:
    with MySQLConnectionPool(own_mariadb.url(), max_size=8) as pool:
        pool.create_connections(8)
        own_mariadb.stop()
        own_mariadb.start()
        assert server_id(pool) > 0
        stats = pool.stats()
        assert (stats.dead, stats.total, stats.pings) == (8, 1, 0)  # the first dead one uncovered all others


def test_sigkill_is_survived_by_those_who_wait(own_mariadb: MariaDB) -> None:
    with (
        MySQLConnectionPool(own_mariadb.url(), max_size=4, fail_fast_after=30) as pool,
        ThreadPoolExecutor(8) as executor,
    ):
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INT PRIMARY KEY)")
            lease.execute("INSERT INTO t VALUES (1)")
        own_mariadb.kill()
        waiting = [executor.submit(server_id, pool) for _ in range(8)]
        with pytest.raises(PoolUnavailable, match="cannot reach a database server"):
            pool.get_connection(timeout=0.3)
        own_mariadb.start()
        assert all(future.result(30) for future in waiting)
        with pool.connection() as lease:
            assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (1,)
        assert not pool.stats().down


def test_close_cuts_off_a_query_that_does_not_end(pool: ConnectionPool, mariadb: MariaDB) -> None:
    started = threading.Event()

    def sleep() -> None:
        with pool.connection() as lease:
            started.set()
            lease.execute("SELECT SLEEP(20)")

    with ThreadPoolExecutor(1) as executor:
        query = executor.submit(sleep)
        assert started.wait(10)
        while not mariadb.query("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%%'"):
            pass
        pool.close(timeout=0.05)
        assert isinstance(query.exception(10), pool.OperationalError)
    assert pool.stats().total == 0


def test_a_query_interrupted_by_a_signal_ends_the_connection(pool: ConnectionPool) -> None:
    """An answer that nobody read would be the next user's first row."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with pool.connection() as lease:
        lease.execute("SELECT 1")
    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt), pool.connection() as lease:
            lease.execute("SELECT SLEEP(10)")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    with pool.connection() as lease:
        assert lease.execute("SELECT 'mine'").fetchone() == ("mine",)
    assert pool.stats().broken == 1


def test_a_query_interrupted_while_it_is_sent_ends_the_connection(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyMySQL closes the socket itself when reading is interrupted, but not when writing is."""

    def interrupt(data: bytes) -> None:
        raise KeyboardInterrupt

    with pool.connection() as lease:
        cursor = lease.cursor()  # not watched by the lease
        with monkeypatch.context() as patch:
            patch.setattr(lease.raw, "_write_bytes", interrupt)
            with pytest.raises(KeyboardInterrupt):
                cursor.execute("SELECT 1")
    assert pool.stats().broken == 1


def test_bytes_are_written_as_text_that_can_be_sent(pool: ConnectionPool) -> None:
    value = bytes(range(256)) + b"'\\"
    with pool.connection() as lease:
        literal = pool._driver.literals(lease.raw)
        for kind in (bytes, bytearray, memoryview):
            assert literal(kind(value)) == f"X'{value.hex()}'"
        assert lease.execute(f"SELECT {literal(value)}").fetchone() == (value,)
