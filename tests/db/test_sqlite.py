"""SQLite's own ways: files, folders, locks, full disks."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mooring.db import SQLiteConnectionPool, sqlite
from mooring.errors import PoolUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


def test_the_constructor_makes_no_file(path: Path) -> None:
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool:
        assert not path.exists()
        pool.create_connections()
        assert path.exists()


def test_a_connection_syncs_fully_in_wal_mode_and_checks_foreign_keys(path: Path) -> None:
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool, pool.connection() as lease:
        settings = [lease.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        assert settings == ["wal", 2]
        assert lease.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert lease.execute("PRAGMA busy_timeout").fetchone() == (5000,)


def test_a_relative_path_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pool = SQLiteConnectionPool("sqlite:///relative.db")
    monkeypatch.chdir("/")  # later changes do not matter
    with pool, pool.connection():
        assert (tmp_path / "relative.db").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        SQLiteConnectionPool(f"sqlite:///{tmp_path}/no/such/x.db") as pool,
        pytest.raises(
            PoolUnavailable, match=f"the folder {tmp_path}/no/such does not exist; create it first"
        ) as caught,
    ):
        pool.get_connection()
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with (
        SQLiteConnectionPool(f"sqlite:///{tmp_path}") as pool,
        pytest.raises(PoolUnavailable, match="is a folder; name a file in it"),
    ):
        pool.get_connection()


def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_bytes(b"holiday photos" * 100)
    with (
        SQLiteConnectionPool(f"sqlite:///{path}") as pool,
        pytest.raises(PoolUnavailable, match="file is not a database"),
    ):
        pool.get_connection()
    assert path.read_bytes() == b"holiday photos" * 100


def test_a_database_in_memory_has_one_connection_and_keeps_it() -> None:
    with SQLiteConnectionPool("sqlite:///:memory:", max_lifetime=0.001, max_size=5) as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER)")
        pool.resize(5, 5)
        with pytest.raises(KeyboardInterrupt), pool.transaction() as lease:
            lease.execute("INSERT INTO t VALUES (1)")
            raise KeyboardInterrupt
        with pool.connection() as lease:
            assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
        assert pool.stats().max_size == 1


def test_two_databases_in_memory_are_two() -> None:
    with SQLiteConnectionPool("sqlite://") as one, SQLiteConnectionPool("sqlite://") as other:
        with one.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER)")
        with pytest.raises(sqlite3.OperationalError, match="no such table"), other.connection() as lease:
            lease.execute("SELECT * FROM t")


def test_a_full_disk_is_the_drivers_error_and_the_connection_stays_usable(path: Path) -> None:
    with SQLiteConnectionPool(f"sqlite:///{path}", min_size=1, max_size=1) as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (v TEXT)")
            lease.execute("PRAGMA max_page_count = 10")
        with pytest.raises(sqlite3.OperationalError, match="full") as caught, pool.transaction() as lease:
            lease.execute("INSERT INTO t VALUES ('small')")
            lease.execute("INSERT INTO t VALUES (%s)", ("x" * 100_000,))
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
        with pool.connection() as lease:
            lease.execute("INSERT INTO t VALUES ('small')")
            assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (1,)
        assert pool.stats().closed == 0


def test_a_lock_of_another_process_is_the_drivers_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER)")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pool.connection() as lease:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                lease.execute("INSERT INTO t VALUES (1)")
            assert lease.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)  # readers are not locked out
            other.execute("ROLLBACK")
            lease.execute("INSERT INTO t VALUES (1)")
        other.close()


def test_a_read_only_database_is_the_drivers_error(path: Path) -> None:
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool, pool.connection() as lease:
        lease.execute("CREATE TABLE t (id INTEGER)")
        lease.execute("PRAGMA query_only = ON")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            lease.execute("INSERT INTO t VALUES (1)")
        lease.execute("PRAGMA query_only = OFF")
        lease.execute("INSERT INTO t VALUES (1)")


def test_writers_take_turns_so_that_none_starves(path: Path) -> None:
    """SQLite lets writers poll: some wait for seconds while others write thousands of rows."""
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool, ThreadPoolExecutor(8) as executor:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, worker INTEGER)")

        def write(worker: int) -> None:
            with pool.connection(30) as lease:
                for _ in range(100):
                    lease.execute("INSERT INTO t (worker) VALUES (%s)", (worker,))

        for future in [executor.submit(write, worker) for worker in range(8)]:
            future.result(60)
        with pool.connection() as lease:
            workers = [row[0] for row in lease.execute("SELECT worker FROM t ORDER BY id")]
    # While all of them write, nobody is more than a round or two ahead.
    middle = workers[300:500]
    assert max(middle.count(worker) for worker in range(8)) <= 60


def test_a_transaction_keeps_its_turn_and_an_interrupted_one_gives_it_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER)")
        with pytest.raises(KeyboardInterrupt), pool.transaction() as lease:
            with (
                pool.connection() as other,
                pytest.raises(sqlite3.OperationalError, match="database is locked") as caught,
            ):
                other.execute("INSERT INTO t VALUES (1)")
            assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY
            raise KeyboardInterrupt
        with pool.connection() as lease:
            lease.execute("INSERT INTO t VALUES (1)")


def test_a_transaction_begun_as_a_reader_gives_its_turn_back(path: Path) -> None:
    with SQLiteConnectionPool(f"sqlite:///{path}") as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER)")
            lease.execute("BEGIN")
            lease.execute("INSERT INTO t VALUES (1)")
            lease.execute("COMMIT")
        for _ in range(2):
            with pool.transaction() as lease:
                lease.execute("INSERT INTO t VALUES (2)")


def test_sqlite_has_no_password() -> None:
    with pytest.raises(ValueError, match="no passwords"):
        SQLiteConnectionPool("sqlite://", password="x")  # type: ignore[arg-type]
