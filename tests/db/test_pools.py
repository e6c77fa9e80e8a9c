"""The contract of a pool over real databases: what holds for one kind holds for the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mooring.db import ConnectionPool, open_pool
from mooring.errors import PoolClosed


def count_rows(pool: ConnectionPool) -> int:
    with pool.connection() as lease:
        return int(lease.execute("SELECT COUNT(*) FROM t").fetchone()[0])


def test_a_plain_insert_is_there_after_the_return(pool: ConnectionPool, url: str) -> None:
    with pool.connection() as lease:
        lease.execute("INSERT INTO t VALUES (1, 'kept')")
    with open_pool(url) as other, other.connection() as lease:
        assert list(lease.execute("SELECT id, v FROM t")) == [(1, "kept")]


def test_parameters_are_percent_s(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("INSERT INTO t VALUES (%s, %s)", (1, "50 % of \\ 'ä😀'; -- ?"))
        row = lease.execute("SELECT v, '%%', 7 %% 4 FROM t WHERE id = %s", [1]).fetchone()
        assert row == ("50 % of \\ 'ä😀'; -- ?", "%", 3)
        assert lease.execute("SELECT v FROM t WHERE id = %(id)s", {"id": 1}).rowcount in (1, -1)


def test_a_statement_without_parameters_is_sent_as_it_is(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        for params in ((), [], None):
            assert lease.execute("SELECT '%s', '%%', 7 % 4", params).fetchone() == ("%s", "%%", 3)  # type: ignore[arg-type]


def test_the_cursor_is_that_of_pep_249(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        cursor = lease.executemany("INSERT INTO t (id, v) VALUES (%s, %s)", ((n, f"v{n}") for n in (1, 2, 3)))
        assert cursor.rowcount == 3
        assert lease.execute("INSERT INTO t (id, v) VALUES (%s, %s)", (9, "x")).rowcount == 1
        cursor = lease.cursor()
        cursor.execute("SELECT id FROM t ORDER BY id")
        assert cursor.description[0][0] == "id"
        assert cursor.fetchone() == (1,)
        assert list(cursor.fetchmany(2)) == [(2,), (3,)]
        assert list(cursor.fetchall()) == [(9,)]
        assert cursor.fetchone() is None


def test_executemany_stores_all_rows_or_none(pool: ConnectionPool) -> None:
    with pytest.raises(pool.IntegrityError), pool.connection() as lease:
        lease.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "a"), (2, "b"), (1, "again")])
    assert count_rows(pool) == 0


def test_the_drivers_errors_have_names_on_the_pool(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("INSERT INTO t VALUES (1, 'a')")
        with pytest.raises(pool.IntegrityError):
            lease.execute("INSERT INTO t VALUES (%s, %s)", (1, "b"))
        with pytest.raises((pool.ProgrammingError, pool.OperationalError)):
            lease.execute("SELEKT")
        assert lease.execute("SELECT 1").fetchone() == (1,)  # the connection survives a wrong statement
    assert pool.stats().closed == 0
    assert issubclass(pool.IntegrityError, pool.DatabaseError)
    assert issubclass(pool.DatabaseError, pool.Error)


def test_a_transaction_is_committed_at_the_end(pool: ConnectionPool) -> None:
    with pool.transaction() as lease:
        lease.execute("INSERT INTO t VALUES (1, 'a')")
        lease.execute("INSERT INTO t VALUES (2, 'b')")
        assert count_rows(pool) == 0  # another connection sees nothing yet
    assert count_rows(pool) == 2


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_a_transaction_is_rolled_back_by_any_exception(pool: ConnectionPool, error: BaseException) -> None:
    with pytest.raises(type(error)), pool.transaction() as lease:
        lease.execute("INSERT INTO t VALUES (1, 'a')")
        raise error
    assert count_rows(pool) == 0


def test_a_transaction_left_open_is_rolled_back_at_the_return(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("BEGIN")
        lease.execute("INSERT INTO t VALUES (1, 'a')")
    with pool.connection() as lease:
        lease.execute("INSERT INTO t VALUES (2, 'b')")
    assert count_rows(pool) == 1


def test_commit_and_rollback_by_hand(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("BEGIN")
        lease.execute("INSERT INTO t VALUES (1, 'a')")
        lease.rollback()
        lease.execute("BEGIN")
        lease.execute("INSERT INTO t VALUES (2, 'b')")
        lease.commit()
        lease.commit()  # without a transaction: nothing to do
        lease.rollback()
    assert count_rows(pool) == 1


@pytest.mark.parametrize("isolation", [None, "read committed", "SERIALIZABLE"])
def test_a_read_only_transaction_cannot_write_and_leaves_nothing_behind(
    pool: ConnectionPool, isolation: str | None
) -> None:
    with pytest.raises(pool.DatabaseError), pool.transaction(isolation=isolation, read_only=True) as lease:
        assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
        lease.execute("INSERT INTO t VALUES (1, 'a')")
    for _ in range(3):
        with pool.transaction(isolation=isolation) as lease:
            lease.execute("DELETE FROM t")
            lease.execute("INSERT INTO t VALUES (1, 'a')")
    assert count_rows(pool) == 1


def test_a_pooled_connection_sees_what_others_committed(pool: ConnectionPool, url: str) -> None:
    """With autocommit off, REPEATABLE READ would freeze a pooled connection's view."""
    with pool.connection() as lease:
        lease.execute("SELECT COUNT(*) FROM t").fetchall()
        with open_pool(url) as other, other.connection() as writer:
            writer.execute("INSERT INTO t VALUES (1, 'a')")
        assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (1,)


def test_a_half_read_result_does_not_reach_the_next_user(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.executemany("INSERT INTO t VALUES (%s, %s)", [(n, str(n)) for n in range(500)])
    with pool.connection() as lease:
        cursor = lease.execute("SELECT id FROM t")
        assert cursor.fetchone() is not None
    with pool.connection() as lease:
        lease.execute("DELETE FROM t")
        assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)


def test_a_cursor_is_closed_with_its_lease(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        cursor = lease.execute("SELECT 1")
    with pytest.raises(pool.ProgrammingError):
        cursor.fetchone()
    with pytest.raises(pool.ProgrammingError):
        cursor.execute("SELECT 2")


def test_a_lease_may_be_used_and_returned_by_another_thread(pool: ConnectionPool) -> None:
    lease = pool.get_connection()
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(lambda: lease.execute("SELECT 1").fetchone()).result(10) == (1,)
        executor.submit(pool.return_connection, lease).result(10)
    assert pool.stats().active == 0


def test_many_threads_write_and_nothing_is_lost(pool: ConnectionPool) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 25):
            with pool.transaction(30) if number % 2 else pool.connection(30) as lease:
                lease.execute("INSERT INTO t VALUES (%s, %s)", (number, str(number)))

    with ThreadPoolExecutor(16) as executor:
        for future in [executor.submit(write, 25 * worker) for worker in range(16)]:
            future.result(60)
    assert count_rows(pool) == 400
    assert pool.stats().total <= 10


def test_without_autocommit_nothing_is_kept_unless_committed(pool: ConnectionPool, url: str) -> None:
    with open_pool(url, autocommit=False) as manual:
        for commits in (False, True):
            with manual.connection() as lease:
                lease.execute("INSERT INTO t VALUES (1, 'a')")
                if commits:
                    lease.commit()
            assert count_rows(pool) == int(commits)
        with manual.transaction() as lease:
            lease.execute("INSERT INTO t VALUES (2, 'b')")
    assert count_rows(pool) == 2


def test_the_dialect_is_known(pool: ConnectionPool, url: str) -> None:
    assert pool.dialect == ("sqlite" if url.startswith("sqlite") else "mysql")


def test_on_connect_gets_the_driver_connection(url: str) -> None:
    seen: list[object] = []
    with open_pool(url, on_connect=seen.append) as pool, pool.connection() as lease:
        assert seen == [lease.raw]


def test_a_closed_pool_leaves_no_thread_and_no_descriptor(url: str) -> None:
    def resources() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    with open_pool(url) as pool:
        pool.create_connections(2)
    before = resources()
    pool = open_pool(url, max_size=5)
    leases = [pool.get_connection() for _ in range(5)]
    for lease in leases:
        pool.return_connection(lease)
    pool.close()
    assert resources() == before
    with pytest.raises(PoolClosed):
        pool.get_connection()


def test_create_new_connection_is_in_autocommit(pool: ConnectionPool) -> None:
    connection = pool.create_new_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO t VALUES (1, 'a')")
        assert count_rows(pool) == 1
        assert pool.is_connection_valid(connection)
    finally:
        connection.close()
    assert not pool.is_connection_valid(connection)
