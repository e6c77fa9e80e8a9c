"""Group commit: the bounds of its queue, its delay, its threads, forks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from database_faults import Faults
from fake_driver import Denied, FakeDriver, make_fake_pool
from forks import in_child
from waiting import wait_until

from mooring.db import ConnectionPool, open_pool
from mooring.errors import PoolBusy, PoolClosed, PoolUnavailable
from mooring.threads.pending import Pending


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ConnectionPool]:
    with open_pool(f"sqlite:///{tmp_path / 'test.db'}") as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)")
        yield pool


def error_of(pending: Pending[Any]) -> BaseException | None:
    try:
        pending.result(20)
    except BaseException as exc:
        return exc
    return None


def ids(pool: ConnectionPool) -> list[int]:
    with pool.connection() as lease:
        return [row[0] for row in lease.execute("SELECT id FROM t ORDER BY id")]


def test_more_rows_than_the_queue_limit_are_refused_at_once(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",), queue_limit=10)
    pool.pause()
    pendings = [group.add((n,)) for n in range(10)]
    refused = group.add((10,))
    assert refused.done()
    assert isinstance(error_of(refused), PoolBusy)
    assert "10 rows" in str(error_of(refused))
    assert isinstance(error_of(group.add_many([(n,) for n in range(11)])), ValueError)
    assert (group.stats().rows, group.stats().refused) == (10, 1)
    pool.resume()
    assert [error_of(pending) for pending in pendings] == [None] * 10
    assert error_of(group.add((10,))) is None
    assert ids(pool) == list(range(11))


def test_more_bytes_than_the_queue_takes_are_refused_at_once(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id", "data"), queue_bytes=10_000)
    pool.pause()
    kept, refused = group.add((1, "x" * 4000)), group.add((2, "x" * 4000))
    assert isinstance(error_of(refused), PoolBusy)
    pool.resume()
    assert error_of(kept) is None
    assert error_of(group.add((3, "x" * 4000))) is None


def test_rows_that_wait_too_long_fail_as_unavailable(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",), queue_timeout=0.05, writers=1)
    pool.pause()
    errors = [error_of(group.add((n,))) for n in range(3)]
    assert all(isinstance(error, PoolUnavailable) for error in errors)
    assert group.stats().expired == 3
    assert group.stats().rows == 0
    pool.resume()
    assert error_of(pool.group_commit("t", ("id",)).add((9,))) is None
    assert ids(pool) == [9]


def test_rows_fail_in_time_even_while_every_writer_is_in_a_statement(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(pool, monkeypatch)
    faults.hold = threading.Event()
    group = pool.group_commit("t", ("id",), queue_timeout=0.1, writers=1)
    first = group.add((1,))
    assert faults.held.wait(20)
    second = group.add((2,))
    assert isinstance(error_of(second), PoolUnavailable)
    assert not first.done()
    faults.hold.set()
    assert error_of(first) is None
    assert ids(pool) == [1]


def test_the_error_says_why_the_database_is_not_available() -> None:
    driver = FakeDriver(inline=False)
    driver.down = Denied("wrong password")
    with make_fake_pool(driver) as pool:
        group = pool.group_commit("t", ("id",), queue_timeout=0.1)
        error = error_of(group.add((1,)))
    assert isinstance(error, PoolUnavailable)
    assert "wrong password" in str(error)
    assert error.__cause__ is not None


def test_a_batch_may_wait_to_become_larger(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",), max_delay=30.0, max_rows=5, writers=1)
    pendings = [group.add((n,)) for n in range(5)]
    assert [error_of(pending) for pending in pendings] == [None] * 5
    assert group.stats().commits == 1
    late = group.add((5,))
    assert group.flush(20)
    assert late.done()


def test_a_closing_group_commit_does_not_wait_for_more_rows(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",), max_delay=30.0)
    pending = group.add((1,))
    group.close(20)
    assert error_of(pending) is None


def test_what_is_not_stored_when_the_time_to_close_is_over_fails(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",), max_rows=1)
    pool.pause()
    pendings = [group.add((n,)) for n in range(5)]
    group.close(0.05)
    pool.resume()
    assert all(isinstance(error_of(pending), PoolClosed) for pending in pendings)
    assert ids(pool) == []


def test_threads_begin_with_the_first_row_and_end_with_the_close(pool: ConnectionPool) -> None:
    def names() -> list[str]:
        return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("group-commit"))

    group = pool.group_commit("t", ("id",), writers=2)
    assert names() == []
    group.add((1,)).result(20)
    assert names() == ["group-commit-t-1", "group-commit-t-2", "group-commit-t-time"]
    group.close()
    wait_until(lambda: names() == [])


def test_all_results_of_a_batch_are_set_before_anybody_hears_of_one(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",), writers=1)
    pool.pause()
    first, pendings, seen = group.add((0,)), [], []
    wait_until(lambda: not group._queue.lines[0].entries)
    pendings += [group.add((n if n != 3 else 0,)) for n in range(1, 6)]
    pool.resume()
    for pending in pendings:
        pending.add_done_callback(lambda _: seen.append([one.done() for one in pendings]))
    assert error_of(first) is None
    assert group.flush(20)
    assert len(seen) == 5


def test_a_listener_may_add_and_close(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",))
    later: list[Pending[None]] = []

    def go_on(_: object) -> None:
        later.append(group.add((2,)))
        group.close(1.0)

    group.add((1,)).then(go_on).result(20)
    assert error_of(later[0]) is None
    assert ids(pool) == [1, 2]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_has_an_empty_queue_and_writers_of_its_own(pool: ConnectionPool) -> None:
    group = pool.group_commit("t", ("id",))
    group.add((1,)).result(20)
    pool.pause()
    pending = group.add((2,))

    def work() -> None:
        pool.resume()
        assert group.stats().rows == 0
        group.add((3,)).result(20)
        pool.close()

    in_child(work)
    pool.resume()
    assert error_of(pending) is None
    assert ids(pool) == [1, 2, 3]


@pytest.mark.parametrize(
    ("columns", "options", "text"),
    [
        ((), {}, "columns"),
        (("a", "a"), {}, "different"),
        (("a b",), {}, "'a b'"),
        (("a",), {"key": ("b",)}, "'b'"),
        (("a",), {"order_by": "b"}, "'b'"),
        (("a",), {"on_duplicate": "repeat"}, "key"),
        (("a",), {"on_duplicate": "ignore"}, "ignore"),
        (("a",), {"key": ("a",), "on_duplicate": "repeat", "compare": ("b",)}, "'b'"),
        (("a",), {"writers": 0}, "writers"),
        (("a",), {"max_rows": True}, "max_rows"),
        (("a",), {"max_delay": -1.0}, "max_delay"),
        (("a",), {"queue_timeout": 0}, "queue_timeout"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    pool: ConnectionPool, columns: tuple[str, ...], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        pool.group_commit("t", columns, **options)
