"""MySQL servers and networks that misbehave: a fake server, and a proxy before a real one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_mysql import FakeMySQL
from mariadb import MariaDB
from tcp_proxy import FaultProxy
from waiting import wait_until

from mooring.db import ConnectionPool, MySQLConnectionPool, mysql
from mooring.errors import PoolUnavailable


@pytest.fixture
def server() -> Iterator[FakeMySQL]:
    with FakeMySQL() as server:
        yield server


@pytest.fixture
def pool(server: FakeMySQL) -> Iterator[ConnectionPool]:
    with MySQLConnectionPool(server.url(), min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(mysql, "READ_TIMEOUT", 0.3)


# ------------------------------------------------------------------------------------------------------ logging in


def test_the_fake_server_is_believed(pool: ConnectionPool, server: FakeMySQL) -> None:
    with pool.connection() as lease:
        lease.execute("SELECT 1")
    assert server.statements[-1] == b"SELECT 1"


@pytest.mark.usefixtures("brisk")
def test_a_server_that_answers_drop_by_drop_is_given_up(server: FakeMySQL, pool: ConnectionPool) -> None:
    """Each byte comes within the time-out for one read; all of them would take a minute."""

    def drip(sock: socket.socket) -> None:
        for byte in b"\x4a\x00\x00\x00\x0a8.0.0-fake" * 100:
            sock.sendall(bytes([byte]))
            if server.closing.wait(0.05):
                return

    server.greet = drip
    started = time.monotonic()
    with pytest.raises(PoolUnavailable, match="timed out"):
        pool.create_connections(timeout=0)
    assert time.monotonic() - started < 3  # not 70


@pytest.mark.usefixtures("brisk")
def test_a_server_that_says_half_a_packet_is_given_up(server: FakeMySQL, pool: ConnectionPool) -> None:
    def half(sock: socket.socket) -> None:
        sock.sendall(b"\x4a\x00\x00\x00\x0a8.0")
        server.closing.wait(20)

    server.greet = half
    with pytest.raises(PoolUnavailable, match="timed out"):
        pool.create_connections(timeout=0)


def test_a_server_that_hangs_up_in_the_greeting_is_named(server: FakeMySQL, pool: ConnectionPool) -> None:
    server.greet = lambda sock: sock.sendall(b"\x4a\x00\x00\x00\x0a8.0")
    with pytest.raises(PoolUnavailable, match="closed by the server"):
        pool.create_connections(timeout=0)


def test_a_full_server_is_tried_again_and_a_wrong_password_is_not(server: FakeMySQL) -> None:
    server.login_error = 1040, "Too many connections"
    with (
        MySQLConnectionPool(server.url(), min_size=0, fail_fast_after=30) as pool,
        ThreadPoolExecutor(1) as executor,
    ):
        waiting = executor.submit(pool.get_connection, 30)
        wait_until(lambda: server.logins >= 2)
        server.login_error = None
        pool.return_connection(waiting.result(10))
        server.login_error = 1045, "Access denied"
        pool.evict()
        before = server.logins
        with pytest.raises(PoolUnavailable, match="access denied"):
            pool.get_connection(30)
        assert server.logins == before + 1


@pytest.mark.usefixtures("brisk")
def test_one_connect_that_hangs_does_not_starve_the_others(server: FakeMySQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """HikariCP's one adder thread hung in a read, and the whole pool with it."""
    monkeypatch.setattr(mysql, "CONNECT_TIMEOUT", 20.0)
    with MySQLConnectionPool(server.url(), max_size=4) as pool, ThreadPoolExecutor(2) as executor:
        hangs = threading.Event()
        server.greet = lambda sock: hangs.set() or (server.closing.wait(20) and None)
        first = executor.submit(pool.get_connection, 30)
        assert hangs.wait(10)
        server.greet = None
        second = executor.submit(pool.get_connection, 30)
        for waiting in (first, second):
            pool.return_connection(waiting.result(10))
        assert pool.stats().opening == 1  # it hangs still
        server.drop_all()


# ------------------------------------------------------------------------------------------------- idle, and in use


def test_an_unasked_error_on_an_idle_connection_ends_it_unseen(server: FakeMySQL, pool: ConnectionPool) -> None:
    """4031: the server says that it closes an idle connection; go-sql-driver's check first hid it."""
    with pool.connection():
        pass
    server.say_unasked(4031, "The client was disconnected by the server because of inactivity")
    with pool.connection() as lease:
        lease.execute("SELECT 1")
    assert (pool.stats().dead, pool.stats().pings, server.logins) == (1, 0, 2)


@pytest.mark.usefixtures("brisk")
def test_a_ping_that_is_not_answered_ends(server: FakeMySQL) -> None:
    with MySQLConnectionPool(server.url(), ping_after=0.0) as pool:
        with pool.connection():
            pass
        server.answer = lambda sock, statement: None
        connection = pool._ledger.idle[0].connection
        assert not pool.is_connection_valid(connection)
        server.answer = None


@pytest.mark.usefixtures("brisk")
def test_a_statement_that_is_not_answered_ends_and_costs_the_connection(
    server: FakeMySQL, pool: ConnectionPool
) -> None:
    """PyMySQL's users waited for ever on a silent network."""
    server.answer = lambda sock, statement: None if b"SELECT" in statement else sock.sendall(b"\7\0\0\1\0\0\0\2\0\0\0")
    with pytest.raises(pool.OperationalError) as caught, pool.connection() as lease:
        lease.execute("SELECT 1")
    assert caught.value.args[0] == 2013
    assert pool.stats().broken == 1


def test_half_an_answer_costs_the_connection(server: FakeMySQL, pool: ConnectionPool) -> None:
    def answer(sock: socket.socket, statement: bytes) -> None:
        sock.sendall(b"\x07\x00\x00\x01\x00\x00")
        sock.shutdown(socket.SHUT_RDWR)

    with pytest.raises(pool.OperationalError), pool.connection() as lease:
        server.answer = answer
        lease.execute("SELECT 1")
    server.answer = None
    with pool.connection() as lease:
        lease.execute("SELECT 1")
    assert pool.stats().broken == 1


# --------------------------------------------------------------------------------------------------- several hosts


def test_the_second_host_serves_when_the_first_one_refuses(server: FakeMySQL) -> None:
    with FakeMySQL() as first:
        url = first.url(server)
    with MySQLConnectionPool(url) as pool, pool.connection():
        assert server.logins == 1


def test_a_silent_host_is_passed_over_after_a_second(server: FakeMySQL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.db.dialing.STAGGER", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # until the kernel answers no more
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        url = f"mysql://app:secret@127.0.0.1:{port},127.0.0.1:{server.port}/d"
        with MySQLConnectionPool(url) as pool, pool.connection():
            assert server.logins == 1
        for filler in fillers:
            filler.close()


def test_a_host_that_takes_writes_goes_before_one_that_does_not(server: FakeMySQL) -> None:
    with FakeMySQL() as first:
        first.read_only = "1"
        with MySQLConnectionPool(first.url(server)) as pool, pool.connection():
            assert (first.logins, server.logins) == (1, 1)
            assert len(server.open) == 1
            wait_until(lambda: not first.open)
        server.read_only = "ON"
        with MySQLConnectionPool(first.url(server)) as pool, pool.connection():
            wait_until(lambda: (len(first.open), len(server.open)) == (1, 0))  # better than none


def test_after_a_failover_the_pool_moves_to_the_new_writer(server: FakeMySQL) -> None:
    """1290 on a writer pool: node-mysql2 and HikariCP kept the read-only connections."""
    with FakeMySQL() as first, MySQLConnectionPool(first.url(server)) as pool:
        pool.create_connections(2)
        assert first.logins == 2
        first.read_only = "1"
        first.query_error = 1290, "The MySQL server is running with the --read-only option"
        with pytest.raises(pool.OperationalError), pool.connection() as lease:
            lease.execute("INSERT INTO t VALUES (1)")
        assert pool.stats().total == 0
        with pool.connection() as lease:
            lease.execute("INSERT INTO t VALUES (1)")
        assert server.statements[-1] == b"INSERT INTO t VALUES (1)"


def test_a_wrong_password_is_not_tried_at_every_host(server: FakeMySQL) -> None:
    with FakeMySQL() as first:
        first.login_error = 1045, "Access denied"
        with MySQLConnectionPool(first.url(server)) as pool, pytest.raises(PoolUnavailable, match="access denied"):
            pool.get_connection()
    assert server.logins == 0


# -------------------------------------------------------------------------------- a proxy before a real database


@pytest.fixture
def proxy(mariadb: MariaDB) -> Iterator[FaultProxy]:
    with FaultProxy(mariadb.port) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: FaultProxy, mariadb: MariaDB) -> Iterator[ConnectionPool]:
    url = mariadb.url().replace(f":{mariadb.port}/", f":{proxy.port}/")
    with MySQLConnectionPool(url, max_size=8, fail_fast_after=1.0) as pool:
        yield pool


def test_connections_that_were_reset_are_replaced_unseen(far: ConnectionPool, proxy: FaultProxy) -> None:
    far.create_connections(8)
    proxy.reset()
    with far.connection() as lease:
        assert lease.execute("SELECT 1").fetchone() == (1,)
    stats = far.stats()
    assert (stats.dead, stats.total) == (8, 1)


def test_a_network_that_refuses_and_comes_back_is_waited_out(far: ConnectionPool, proxy: FaultProxy) -> None:
    far.create_connections(2)
    proxy.refuse()
    with ThreadPoolExecutor(4) as executor:
        waiting = [executor.submit(far.get_connection, 30) for _ in range(4)]
        wait_until(lambda: far.stats().open_failures >= 1)
        proxy.accept()
        for future in waiting:
            far.return_connection(future.result(10))


@pytest.mark.usefixtures("brisk")
def test_a_black_hole_is_told_and_left(far: ConnectionPool, proxy: FaultProxy) -> None:
    far.create_connections(2)
    proxy.mode = "blackhole"
    with pytest.raises(far.OperationalError), far.connection() as lease:
        lease.execute("SELECT 1")

    def is_told() -> bool:
        try:
            with far.connection(timeout=5) as lease:
                lease.execute("SELECT 1")
        except (far.OperationalError, PoolUnavailable) as exc:
            return isinstance(exc, PoolUnavailable)
        return False

    wait_until(is_told)
    proxy.mode = "pass"
    wait_until(lambda: not far.stats().down)
    with far.connection() as lease:
        assert lease.execute("SELECT 1").fetchone() == (1,)


def test_a_slow_network_is_only_slow(far: ConnectionPool, proxy: FaultProxy) -> None:
    proxy.mode, proxy.delay = "delay", 0.02
    with far.connection() as lease:
        assert lease.execute("SELECT 1").fetchone() == (1,)
    assert (far.stats().closed, far.stats().open_failures) == (0, 0)


def test_many_threads_lose_nothing_but_their_own_statements_to_resets(far: ConnectionPool, proxy: FaultProxy) -> None:
    stop, failures = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            try:
                with far.connection(10) as lease:
                    assert lease.execute("SELECT 7").fetchone() == (7,)
            except far.OperationalError as exc:
                failures.append(exc.args[0])

    with ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(work) for _ in range(8)]
        for _ in range(10):
            stop.wait(0.05)
            proxy.reset()
        stop.set()
        for future in futures:
            future.result(20)
    assert set(failures) <= {2006, 2013}

    def all_are_back() -> bool:
        stats = far.stats()
        return stats.total == stats.idle == stats.opened - stats.closed

    wait_until(all_are_back)  # one may be opening still that nobody waits for any more
