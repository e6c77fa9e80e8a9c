"""Group commit: the contract, the same on SQLite, MariaDB and MySQL 9."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mooring.db import ConnectionPool, GroupCommit, open_pool
from mooring.errors import PoolClosed
from mooring.threads.pending import Pending

COLUMNS = ("device", "seq", "data")
MakeGroup = Callable[..., GroupCommit]


@pytest.fixture(params=["sqlite", "mariadb", "mysqldb", "mysql9"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    value: str = request.getfixturevalue("mysql9_url" if request.param == "mysql9" else "mariadb_url")
    if request.param == "mysqldb":
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed: pip install 'mooring[mysqlclient]'")
        return value.replace("mysql://", "mysql+mysqldb://")
    return value


@pytest.fixture
def pool(url: str) -> Iterator[ConnectionPool]:
    """A pool with the table ``pushes``, keyed by device and seq, whose data are unique and at most 20 characters."""
    with open_pool(url) as pool:
        with pool.connection() as lease:
            lease.execute(
                "CREATE TABLE pushes (device INTEGER NOT NULL, seq BIGINT NOT NULL, data VARCHAR(20) "
                "CHECK (length(data) <= 20), n INTEGER UNIQUE, at VARCHAR(30), PRIMARY KEY (device, seq))"
            )
        yield pool


@pytest.fixture
def make(pool: ConnectionPool) -> MakeGroup:
    """A function that makes group commits into ``pushes``."""

    def make(
        columns: tuple[str, ...] = COLUMNS, key: tuple[str, ...] = ("device", "seq"), **options: Any
    ) -> GroupCommit:
        return pool.group_commit("pushes", columns, key=key, **options)

    return make


def rows(pool: ConnectionPool, columns: str = "device, seq, data") -> list[tuple[Any, ...]]:
    with pool.connection() as lease:
        return list(lease.execute(f"SELECT {columns} FROM pushes ORDER BY device, seq").fetchall())


def error_of(pending: Pending[Any]) -> BaseException | None:
    try:
        pending.result(20)
    except BaseException as exc:
        return exc
    return None


class Held:
    """Holds a batch back until many rows have been added: its writers wait for connections that the test has."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        self._pool.pause()

    def __exit__(self, *exc: object) -> None:
        self._pool.resume()


def test_a_row_is_committed_when_its_pending_completes(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make()
    group.add((7, 1, "one")).result(20)
    assert rows(pool) == [(7, 1, "one")]


def test_rows_of_many_threads_are_stored_by_few_commits(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(order_by="device")
    pendings: list[Pending[None]] = []

    def push(device: int) -> None:
        pendings.extend([group.add((device, seq, f"{device}-{seq}")) for seq in range(100)])

    with Held(pool):
        threads = [threading.Thread(target=push, args=(device,)) for device in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for pending in pendings:
        pending.result(20)
    assert rows(pool) == [(device, seq, f"{device}-{seq}") for device in range(10) for seq in range(100)]
    stats = group.stats()
    assert stats.committed == 1000
    assert stats.commits <= 10
    assert sum(stats.batch_rows) == stats.commits == stats.commit.total
    assert stats.rows == stats.bytes == 0


def test_a_duplicate_fails_alone(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="fail")
    group.add((1, 50, "old")).result(20)
    with Held(pool):
        pendings = [group.add((1, seq, f"{seq}")) for seq in range(100)]
    errors = [error_of(pending) for pending in pendings]
    assert isinstance(errors.pop(50), pool.IntegrityError)
    assert errors == [None] * 99
    assert [row for row in rows(pool) if row[1] == 50] == [(1, 50, "old")]
    assert group.stats().failed == 1
    assert group.stats().bisected


def test_a_repetition_counts_as_stored_and_a_different_row_fails_alone(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="repeat", order_by="device")
    group.add_many([(1, seq, "old") for seq in range(50)]).result(20)
    with Held(pool):
        pendings = [group.add((1, seq, "new" if seq == 20 else "old")) for seq in range(100)]
    errors = [error_of(pending) for pending in pendings]
    error = errors.pop(20)
    assert isinstance(error, pool.IntegrityError)
    assert "device=1, seq=20" in str(error)
    assert errors == [None] * 99
    assert rows(pool) == [(1, seq, "old") for seq in range(100)]
    assert group.stats().bisected == 0


def test_what_is_stored_is_not_overwritten_by_a_repetition(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make((*COLUMNS, "at"), on_duplicate="repeat", compare=("data",))
    group.add((1, 1, "same", "monday")).result(20)
    group.add((1, 1, "same", "tuesday")).result(20)
    assert isinstance(error_of(group.add((1, 1, "else", "monday"))), pool.IntegrityError)
    assert rows(pool, "data, at") == [("same", "monday")]


def test_a_function_decides_what_a_repetition_is(pool: ConnectionPool, make: MakeGroup) -> None:
    seen = []

    def compare(stored: tuple[Any, ...], offered: tuple[Any, ...]) -> bool:
        seen.append((stored, offered))
        return bool(stored[2].lower() == offered[2].lower())

    group = make(on_duplicate="repeat", compare=compare)
    group.add((1, 1, "Data")).result(20)
    assert not seen
    group.add((1, 1, "data")).result(20)
    assert seen == [((1, 1, "Data"), (1, 1, "data"))]
    assert isinstance(error_of(group.add((1, 1, "date"))), pool.IntegrityError)


def test_two_different_rows_of_one_key_in_one_batch_keep_the_first(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="repeat", order_by="device")
    with Held(pool):
        first, second, third = (group.add((1, 1, data)) for data in ("first", "second", "first"))
    assert [type(error_of(pending)) for pending in (first, second, third)] == [
        type(None),
        pool.IntegrityError,
        type(None),
    ]
    assert rows(pool) == [(1, 1, "first")]


def test_an_update_replaces_what_is_there_and_the_last_one_wins(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="update", order_by="device")
    group.add((1, 1, "old")).result(20)
    with Held(pool):
        pendings = [group.add((1, seq % 2, f"{seq}")) for seq in range(100)]
    assert [error_of(pending) for pending in pendings] == [None] * 100
    assert rows(pool) == [(1, 0, "98"), (1, 1, "99")]


def test_a_row_that_the_database_refuses_fails_alone(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="repeat")
    with Held(pool):
        pendings = [group.add((1, seq, "x" * (21 if seq == 33 else 20))) for seq in range(64)]
    errors = [error_of(pending) for pending in pendings]
    assert isinstance(errors.pop(33), pool.Error)
    assert errors == [None] * 63
    assert len(rows(pool)) == 63


@pytest.mark.parametrize("bad", [[1, 2], object(), "\ud800"])
def test_a_value_that_no_driver_takes_fails_alone(pool: ConnectionPool, make: MakeGroup, bad: Any) -> None:
    group = make(on_duplicate="repeat")
    with Held(pool):
        pendings = [group.add((1, seq, bad if seq == 3 else "good")) for seq in range(8)]
    errors = [error_of(pending) for pending in pendings]
    assert isinstance(errors.pop(3), Exception)
    assert errors == [None] * 7


def test_a_row_that_collides_with_another_unique_index_fails_alone(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(("device", "seq", "n"), on_duplicate="repeat")
    group.add((1, 1, 100)).result(20)
    with Held(pool):
        pendings = [group.add((2, seq, 100 if seq == 5 else seq)) for seq in range(10)]
    errors = [error_of(pending) for pending in pendings]
    assert isinstance(errors.pop(5), pool.IntegrityError)
    assert errors == [None] * 9
    assert rows(pool, "device, seq, n") == [(1, 1, 100)] + [(2, seq, seq) for seq in range(10) if seq != 5]


@pytest.mark.parametrize("mode", ["fail", "repeat"])
def test_many_rows_are_stored_all_or_none(pool: ConnectionPool, make: MakeGroup, mode: str) -> None:
    group = make(on_duplicate=mode, order_by="device")
    group.add((1, 5, "there")).result(20)
    with Held(pool):
        before = group.add((1, 1, "before"))
        torn = group.add_many([(1, seq, "torn") for seq in range(4, 7)])
        whole = group.add_many([(1, seq, "whole") for seq in range(7, 10)])
        again = group.add((1, 5, "there"))
    assert error_of(before) is None
    assert isinstance(error_of(torn), pool.IntegrityError)
    assert error_of(whole) is None
    assert (error_of(again) is None) == (mode == "repeat")
    assert rows(pool) == [(1, 1, "before"), (1, 5, "there"), *((1, seq, "whole") for seq in (7, 8, 9))]


def test_rows_that_differ_only_from_what_was_taken_back_are_stored(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="repeat", order_by="device")
    group.add((1, 5, "there")).result(20)
    with Held(pool):
        torn = group.add_many([(1, seq, "torn") for seq in (3, 4, 5)])
        also_torn = group.add_many([(1, seq, "also torn") for seq in (4, 5)])
        alone = group.add((1, 3, "alone"))
        two = group.add_many([(1, seq, "two") for seq in (4, 6)])
        different = group.add((1, 6, "different"))
    assert isinstance(error_of(torn), pool.IntegrityError)
    assert isinstance(error_of(also_torn), pool.IntegrityError)
    assert error_of(alone) is None
    assert error_of(two) is None
    assert isinstance(error_of(different), pool.IntegrityError)
    assert rows(pool) == [(1, 3, "alone"), (1, 4, "two"), (1, 5, "there"), (1, 6, "two")]


def test_many_rows_may_be_more_than_a_batch(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="repeat", max_rows=10)
    group.add_many([(1, seq, "data") for seq in range(95)]).result(20)
    group.add_many([(1, seq, "data") for seq in range(95)]).result(20)
    assert len(rows(pool)) == 95


def test_no_rows_are_stored_at_once(make: MakeGroup) -> None:
    assert make().add_many([]).done()


def test_many_rows_with_different_values_of_order_by_are_refused(make: MakeGroup) -> None:
    assert isinstance(error_of(make(order_by="device").add_many([(1, 1, "a"), (2, 1, "b")])), ValueError)


def test_a_row_of_the_wrong_width_fails(make: MakeGroup) -> None:
    error = error_of(make().add((1, 2)))  # type: ignore[arg-type]
    assert isinstance(error, ValueError)
    assert "device, seq, data" in str(error)


def test_a_table_that_does_not_exist_is_said_to_every_row(pool: ConnectionPool) -> None:
    group = pool.group_commit("nowhere", COLUMNS)
    with Held(pool):
        pendings = [group.add((1, seq, "data")) for seq in range(5)]
    assert all("nowhere" in str(error_of(pending)) for pending in pendings)


def test_rows_without_a_key_are_stored_as_well(pool: ConnectionPool) -> None:
    group = pool.group_commit("pushes", COLUMNS)
    group.add((1, 1, "data")).result(20)
    assert isinstance(error_of(group.add((1, 1, "data"))), pool.IntegrityError)


def test_percent_signs_quotes_and_all_of_unicode_come_through(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make(on_duplicate="repeat")
    data = "%s '\"\\\n\0\x1a ü€😀"
    for _ in range(2):
        group.add((1, 1, data)).result(20)
    assert rows(pool) == [(1, 1, data)]


@pytest.fixture
def small_packets(url: str) -> Iterator[None]:
    """The server takes packets of at most 4 MiB from connections that are opened now."""
    if url.startswith("sqlite"):
        yield
        return
    with open_pool(url) as pool, pool.connection() as lease:
        before = lease.execute("SELECT @@global.max_allowed_packet").fetchone()[0]
        lease.execute(f"SET GLOBAL max_allowed_packet = {4 << 20}")
        yield
        lease.execute(f"SET GLOBAL max_allowed_packet = {before}")


def test_rows_fill_packets_up_to_the_limit_of_the_server(small_packets: None, pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE large (id INTEGER PRIMARY KEY, data LONGTEXT)")
    group = pool.group_commit("large", ("id", "data"), key=("id",), on_duplicate="repeat", queue_bytes=1 << 30)
    with Held(pool):
        pendings = [group.add((n, f"{n}" * 750_000)) for n in range(10)]
        together = group.add_many([(n, "x" * 750_000) for n in range(10, 17)])
    assert [error_of(pending) for pending in (*pendings, together)] == [None] * 11
    with pool.connection() as lease:
        assert lease.execute("SELECT COUNT(*), SUM(length(data)) FROM large").fetchone() == (17, 12_750_000)
    if pool.dialect == "mysql":
        too_large, small = group.add((100, "x" * (5 << 20))), group.add((101, "x"))
        error = error_of(too_large)
        assert isinstance(error, pool.DataError)
        assert "max_allowed_packet" in str(error)
        assert error_of(small) is None


def test_flush_waits_for_what_was_added_before(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make()
    assert group.flush(0)
    with Held(pool):
        pending = group.add((1, 1, "data"))
        assert not group.flush(0.05)
    assert group.flush(20)
    assert pending.done()


def test_close_stores_what_waits_and_takes_no_more(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make()
    with Held(pool):
        pendings = [group.add((1, seq, "data")) for seq in range(1000)]
    group.close()
    assert all(pending.done() for pending in pendings)
    assert len(rows(pool)) == 1000
    assert isinstance(error_of(group.add((2, 1, "late"))), PoolClosed)
    assert group.flush(0)
    group.close()


def test_the_pool_closes_its_group_commits(url: str, pool: ConnectionPool) -> None:
    with open_pool(url) as second:
        group = second.group_commit("pushes", COLUMNS)
        pendings = [group.add((1, seq, "data")) for seq in range(1000)]
    assert all(pending.done() for pending in pendings)
    assert len(rows(pool)) == 1000
    assert isinstance(error_of(group.add((2, 1, "late"))), PoolClosed)
    with pytest.raises(PoolClosed):
        second.group_commit("pushes", COLUMNS)


def test_writers_hold_no_connection_while_they_idle(pool: ConnectionPool, make: MakeGroup) -> None:
    group = make()
    group.add((1, 1, "data")).result(20)
    assert group.flush(20)
    assert pool.stats().active == 0


def test_a_number_that_is_none_fails_alone(pool: ConnectionPool) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, value DOUBLE NOT NULL)")
    group = pool.group_commit("numbers", ("n", "value"), key=("n",), writers=1)
    pool.pause()
    pendings = [group.add((n, math.nan if n == 3 else n / 2)) for n in range(6)]
    pool.resume()
    errors = []
    for pending in pendings:
        try:
            pending.result(30)
        except pool.Error:
            errors.append(pending)
    assert errors == [pendings[3]]
    with pool.connection() as lease:
        assert lease.execute("SELECT COUNT(*) FROM numbers").fetchone()[0] == 5


@pytest.mark.parametrize("text", ["plain", "it's", "a\\b", "\\'", "%s", "a\nb", "\u00fc\U0001f50c", "", "NULL"])
def test_texts_and_numbers_are_stored_as_they_are(pool: ConnectionPool, text: str) -> None:
    with pool.connection() as lease:
        lease.execute("CREATE TABLE texts (n BIGINT PRIMARY KEY, value VARCHAR(20))")
    group = pool.group_commit("texts", ("n", "value"), key=("n",), writers=1)
    pool.pause()
    rows: list[tuple[int, str | None]] = [(-1, text), (2**62, "x"), (0, text)]
    pendings = [group.add(row) for row in rows]
    pool.resume()
    for pending in pendings:
        pending.result(30)
    group.add((5, None)).result(30)
    with pool.connection() as lease:
        found = sorted(tuple(row) for row in lease.execute("SELECT n, value FROM texts WHERE n <> 5").fetchall())
    assert found == sorted(rows)
