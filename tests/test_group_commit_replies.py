"""A handler that returns what a group commit promises: nothing is answered before it is stored, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, Connection, Pending, Server
from mooring.db import ConnectionPool, GroupCommit, open_pool
from mooring.errors import ConnectionClosed


@pytest.fixture(params=["sqlite", "mariadb"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConnectionPool]:
    url = f"sqlite:///{tmp_path / 'test.db'}" if request.param == "sqlite" else request.getfixturevalue("mariadb_url")
    with open_pool(url) as pool:
        with pool.connection() as lease:
            lease.execute("CREATE TABLE pushes (id INTEGER PRIMARY KEY, data VARCHAR(10) NOT NULL)")
        yield pool


@pytest.fixture
def group(pool: ConnectionPool) -> GroupCommit:
    return pool.group_commit("pushes", ("id", "data"), key=("id",), on_duplicate="repeat")


def row_of(message: bytes) -> tuple[int, Any]:
    number, data = message.split()
    return int(number), None if data == b"null" else data.decode()


def serving(group: GroupCommit, *, with_error: bool = True, **options: Any) -> Server:
    def push(connection: Connection, message: bytes) -> Pending[bytes]:
        pending = group.add(row_of(message))
        number = message.split()[0]
        if with_error:
            return pending.then(lambda _: b"OK " + number, error=lambda exc: b"AGAIN " + number)
        return pending.then(lambda _: b"OK " + number)

    return Server(push, bind="tcp://127.0.0.1:0", **options)


def stored(pool: ConnectionPool) -> int:
    with pool.connection() as lease:
        return int(lease.execute("SELECT COUNT(*) FROM pushes").fetchone()[0])


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_pipelined_pushes_are_answered_in_order_when_they_are_stored(
    pool: ConnectionPool, group: GroupCommit, model: str
) -> None:
    with serving(group, model=model) as server, Client(f"tcp://127.0.0.1:{server.port}") as client:
        for number in range(300):
            client.send(b"%d %s" % (number, b"null" if number == 77 else b"data"))
        answers = [client.recv() for _ in range(300)]
        assert answers == [b"%s %d" % (b"AGAIN" if number == 77 else b"OK", number) for number in range(300)]
        assert stored(pool) == 299


def test_a_failure_without_an_answer_of_its_own_closes_the_connection(pool: ConnectionPool, group: GroupCommit) -> None:
    with serving(group, with_error=False) as server, Client(f"tcp://127.0.0.1:{server.port}") as client:
        client.send(b"1 data")
        assert client.recv() == b"OK 1"
        client.send(b"2 null")
        with pytest.raises(ConnectionClosed):
            client.recv()
    assert stored(pool) == 1


def test_nothing_is_answered_before_the_commit_and_meanwhile_no_thread_waits(
    pool: ConnectionPool, group: GroupCommit
) -> None:
    with serving(group) as server, Client(f"tcp://127.0.0.1:{server.port}") as client:
        pool.pause()
        for number in range(100):
            client.send(b"%d data" % number)
        wait_until(lambda: group.stats().rows == 100)
        wait_until(lambda: server.stats().threads.busy == 0)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)
        pool.resume()
        assert [client.recv() for _ in range(100)] == [b"OK %d" % number for number in range(100)]


def test_a_stop_waits_for_what_is_being_stored(pool: ConnectionPool, group: GroupCommit) -> None:
    server = serving(group, database=pool)
    server.start()
    with Client(f"tcp://127.0.0.1:{server.port}") as client:
        for number in range(200):
            client.send(b"%d data" % number)
        assert client.recv() == b"OK 0"
        server.stop()
        answers = list(client)
    assert answers == [b"OK %d" % number for number in range(1, 1 + len(answers))]
    with open_pool(pool.url) as second:
        assert stored(second) >= 1 + len(answers)


def test_waiting_for_the_result_in_a_handler_counts_as_waiting(pool: ConnectionPool, group: GroupCommit) -> None:
    def push(connection: Connection, message: bytes) -> bytes:
        group.add(row_of(message)).result(20)
        return b"OK"

    with Server(push, bind="tcp://127.0.0.1:0") as server, Client(f"tcp://127.0.0.1:{server.port}") as client:
        for number in range(20):
            client.send(b"%d data" % number)
        assert [client.recv() for _ in range(20)] == [b"OK"] * 20
    assert stored(pool) == 20
