"""Group commit where things go wrong: at every statement, in every way; nothing is acknowledged that is not stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import database_faults as faulty
import pymysql
import pytest
from database_faults import Exit, Faults
from mariadb import MariaDB
from waiting import wait_until

from mooring.db import ConnectionPool, GroupCommit, open_pool
from mooring.errors import CommitUnknown, PoolError
from mooring.threads.pending import Pending

COLUMNS = ("device", "seq", "data")


@pytest.fixture(params=["sqlite", "mariadb", "mysql9"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    value: str = request.getfixturevalue(f"{request.param}_url")
    return value


@pytest.fixture
def pool(url: str) -> Iterator[ConnectionPool]:
    with open_pool(url) as pool:
        make_tables(pool)
        yield pool


def make_tables(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute(
            "CREATE TABLE pushes (device INTEGER NOT NULL, seq BIGINT NOT NULL, data VARCHAR(20) NOT NULL, "
            "PRIMARY KEY (device, seq))"
        )
        number = "INTEGER PRIMARY KEY" if pool.dialect == "sqlite" else "INTEGER PRIMARY KEY AUTO_INCREMENT"
        lease.execute(f"CREATE TABLE journal (id {number}, device INTEGER NOT NULL, n INTEGER NOT NULL)")


def make_group(pool: ConnectionPool, **options: Any) -> GroupCommit:
    return pool.group_commit("pushes", COLUMNS, key=("device", "seq"), order_by="device", **options)


def rows(pool: ConnectionPool, table: str = "pushes", columns: str = "device, seq, data") -> list[tuple[Any, ...]]:
    with pool.connection() as lease:
        return list(lease.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall())


def error_of(pending: Pending[Any]) -> BaseException | None:
    try:
        pending.result(30)
    except BaseException as exc:
        return exc
    return None


OVER_A_NETWORK = ["mariadb", "mysql9"]
"""SQLite has no connection to lose."""

KINDS: list[tuple[Callable[[Any], BaseException], bool]] = [
    (faulty.deadlock, False),
    (faulty.lock_wait, False),
    (faulty.disk_full, False),
    (faulty.out_of_memory, False),
    (faulty.system_exit, False),
    (faulty.system_exit, True),
]


@pytest.mark.parametrize("shape", ["single", "mixed"])
@pytest.mark.parametrize(("make", "is_after"), KINDS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_whatever_fails_at_any_statement_no_result_is_wrong_or_missing(
    pool: ConnectionPool,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Any], BaseException],
    is_after: bool,
    shape: str,
) -> None:
    fail_at_every_statement(pool, monkeypatch, make, is_after, shape)


@pytest.mark.parametrize("url", OVER_A_NETWORK, indirect=True)
@pytest.mark.parametrize("shape", ["single", "mixed"])
@pytest.mark.parametrize("is_after", [False, True])
def test_wherever_the_connection_is_lost_no_result_is_wrong_or_missing(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, is_after: bool, shape: str
) -> None:
    fail_at_every_statement(pool, monkeypatch, faulty.lost, is_after, shape)


def fail_at_every_statement(
    pool: ConnectionPool,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Any], BaseException],
    is_after: bool,
    shape: str,
) -> None:
    faults = Faults(pool, monkeypatch)
    faults.make, faults.is_after = make, is_after
    group = make_group(pool, on_duplicate="repeat", writers=1)
    group.add((0, 0, "warm up")).result(30)
    for step in range(100):
        device = step + 1
        before = put_before(pool, device)
        pool.pause()
        faults.steps.clear()
        faults.at = step
        offered = [(device, seq, "new") for seq in range(6)]
        # The first row is a batch of its own: the writer has it in its hands while the pool is paused.
        pendings = [(group.add(row), [row]) for row in offered]
        if shape == "mixed":
            pendings.append((group.add((device, 100, "stored")), [(device, 100, "stored")]))
            pendings.append((group.add((device, 101, "differs")), [(device, 101, "differs")]))
            many = [(device, seq, "many") for seq in (10, 11)]
            pendings.append((group.add_many(many), many))
            torn = [(device, seq, "torn") for seq in (102, 103)]
            pendings.append((group.add_many(torn), torn))
        pool.resume()
        errors = [(error_of(pending), offered) for pending, offered in pendings]
        faults.at = -1
        stored = {row for row in rows(pool) if row[0] == device}
        for error, offered in errors:
            if error is None:
                assert stored >= set(offered), (step, error)
            elif not isinstance(error, CommitUnknown):
                assert not stored & set(offered) - before, (step, error)
            assert not isinstance(error, Exit)
        assert (device, 101, "differs") not in stored
        assert len(stored & {(device, 102, "torn"), (device, 103, "torn")}) == 0
        assert group.stats().rows == 0
        group.add((device, 1000, "the thread lives")).result(30)
        if len(faults.steps) <= step:
            return
    raise AssertionError("there is no end of steps")


def put_before(pool: ConnectionPool, device: int) -> set[tuple[int, int, str]]:
    """Store the seqs 100 to 102 by hand."""
    before = [(device, seq, "stored") for seq in (100, 101, 102)]
    with pool.transaction() as lease:
        for row in before:
            lease.execute("INSERT INTO pushes (device, seq, data) VALUES (%s, %s, %s)", row)
    return set(before)


@pytest.mark.parametrize("make", [faulty.deadlock, faulty.lock_wait])
def test_a_deadlock_is_repeated_and_counted(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, make: Callable[[Any], BaseException]
) -> None:
    faults = Faults(pool, monkeypatch)
    faults.at, faults.make = 1, make
    group = make_group(pool)
    group.add((1, 1, "data")).result(30)
    group.add((1, 2, "data")).result(30)
    assert group.stats().retries == 1
    assert len(rows(pool)) == 2


@pytest.mark.parametrize("url", OVER_A_NETWORK, indirect=True)
def test_rows_with_a_key_are_sent_again_when_the_connection_is_lost_after_the_statement(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(pool, monkeypatch)
    group = make_group(pool, on_duplicate="fail")
    group.add((1, 1, "data")).result(30)
    faults.steps.clear()
    faults.at, faults.make, faults.is_after = 0, faulty.lost, True
    assert error_of(group.add((1, 2, "data"))) is None
    assert rows(pool) == [(1, 1, "data"), (1, 2, "data")]
    assert group.stats().losses == 1
    assert isinstance(error_of(group.add((1, 2, "data"))), pool.IntegrityError)


@pytest.mark.parametrize("url", OVER_A_NETWORK, indirect=True)
def test_rows_without_a_key_fail_as_unknown_when_the_connection_is_lost_after_the_statement(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(pool, monkeypatch)
    group = pool.group_commit("journal", ("device", "n"))
    group.add((1, 1)).result(30)
    faults.steps.clear()
    faults.at, faults.make, faults.is_after = 0, faulty.lost, True
    error = error_of(group.add((1, 2)))
    assert isinstance(error, CommitUnknown)
    assert isinstance(error.__cause__, pymysql.OperationalError)
    assert rows(pool, "journal", "device, n") == [(1, 1), (1, 2)]
    assert group.stats().unknown == 1
    group.add((1, 3)).result(30)


def test_a_connection_killed_in_the_middle_of_a_statement_costs_nothing(mariadb_url: str, mariadb: MariaDB) -> None:
    with open_pool(mariadb_url) as pool, open_pool(mariadb_url) as other:
        make_tables(pool)
        group = make_group(pool, on_duplicate="repeat", writers=1)
        group.add((1, 1, "data")).result(30)
        with other.transaction() as lease:
            lease.execute("INSERT INTO pushes VALUES (1, 2, 'data')")
            pending = group.add((1, 2, "data"))
            process = wait_until(lambda: waiting_insert(mariadb), what="the INSERT waits for the lock")
            mariadb.query(f"KILL {process}")
        assert error_of(pending) is None
        assert group.stats().losses == 1
        assert rows(pool) == [(1, 1, "data"), (1, 2, "data")]


def waiting_insert(mariadb: MariaDB) -> int | None:
    found = mariadb.query("SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT%DUPLICATE KEY%'")
    return found[0][0] if found else None


@pytest.mark.parametrize("url", OVER_A_NETWORK, indirect=True)
def test_a_row_that_kills_every_connection_fails_alone(pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = pool._driver.cursor

    def cursor(connection: Any) -> Any:
        made = insert(connection)
        execute = made.execute

        def poisoned(sql: str, params: Any = ()) -> Any:
            if "poison" in sql:
                raise faulty.lost(connection)
            return execute(sql, params)

        made.execute = poisoned
        return made

    monkeypatch.setattr(pool._driver, "cursor", cursor)
    group = make_group(pool, on_duplicate="repeat", writers=1)
    pool.pause()
    pendings = [group.add((1, seq, "poison" if seq == 11 else "data")) for seq in range(20)]
    pool.resume()
    errors = [error_of(pending) for pending in pendings]
    assert isinstance(errors.pop(11), PoolError)
    assert errors == [None] * 19


def test_rows_wait_while_the_database_is_down(own_mariadb: MariaDB) -> None:
    with open_pool(own_mariadb.url(), timeout=0.2) as pool:
        make_tables(pool)
        group = make_group(pool, on_duplicate="repeat")
        group.add((1, 0, "data")).result(30)
        own_mariadb.kill()
        pendings = [group.add((seq % 5, seq, "data")) for seq in range(1, 100)]
        wait_until(lambda: group.stats().waits or group.stats().losses)
        assert not any(pending.done() for pending in pendings)
        own_mariadb.start()
        assert [error_of(pending) for pending in pendings] == [None] * 99
        assert len(rows(pool)) == 100


@pytest.mark.parametrize("writers", [1, 4])
def test_rows_of_one_device_are_committed_in_order_whatever_happens(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, writers: int
) -> None:
    make_cursor, count, lock = pool._driver.cursor, [0], threading.Lock()

    def cursor(connection: Any) -> Any:
        with lock:
            count[0] += 1
        if count[0] % 9 == 0:
            raise faulty.deadlock(connection)
        return make_cursor(connection)

    group = pool.group_commit("journal", ("device", "n"), order_by="device", writers=writers, max_rows=20)
    group.add((0, -1)).result(30)
    monkeypatch.setattr(pool._driver, "cursor", cursor)
    pendings = [group.add((seq % 7, None if seq % 50 == 49 else seq)) for seq in range(700)]
    errors = [error_of(pending) for pending in pendings]
    monkeypatch.undo()
    assert sum(1 for error in errors if error is not None) == 14
    found = rows(pool, "journal", "id, device, n")
    for device in range(1, 7):
        numbers = [n for _, where, n in found if where == device]
        assert numbers == [seq for seq in range(700) if seq % 7 == device and seq % 50 != 49]
