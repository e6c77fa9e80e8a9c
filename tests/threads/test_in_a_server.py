"""The pool of a server: sized on demand, not while the database is down, and its reports name the route."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tcp_proxy import FaultProxy
from waiting import wait_until

from mooring import Client, Connection, Router, Server
from mooring.db import MySQLConnectionPool
from mooring.errors import PoolError
from mooring.threads import ThreadPool


class Handlers:
    """ "wait" begins, and ends when it is told to; "ask" asks the database."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()
        self.router = Router(lambda message: message)
        self.router.on(b"wait", blocking=True)(self.wait)
        self.router.on(b"ask", blocking=True)(self.ask)

    def wait(self, connection: Connection, message: bytes) -> bytes:
        self.begun.release()
        assert self.end.wait(30)
        return b"done"

    def ask(self, connection: Connection, message: bytes) -> bytes:
        database = connection.server.database
        assert database is not None
        try:
            with database.connection() as lease:
                lease.execute("SELECT 1").fetchall()
        except (PoolError, database.Error):
            return b"failed"
        return b"there"


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    handlers = Handlers()
    yield handlers
    handlers.end.set()


def wait_in(server: Server, handlers: Handlers, clients: int) -> list[Client]:
    """As many connections, each with a handler that begins or waits for a thread."""
    made = [Client(f"tcp://127.0.0.1:{server.port}") for _ in range(clients)]
    for client in made:
        client.send(b"wait")
    return made


def end(handlers: Handlers, clients: list[Client]) -> None:
    handlers.end.set()
    for client in clients:
        assert client.recv() == b"done"
        client.close()


def test_the_size_follows_the_load_when_asked(handlers: Handlers) -> None:
    with Server(handlers.router, bind="tcp://127.0.0.1:0", threads=(1, 6)) as server:
        assert server.adjust_thread_pool_size() == 1
        clients = wait_in(server, handlers, 6)
        assert handlers.begun.acquire(timeout=30)
        wait_until(lambda: server.adjust_thread_pool_size() == 6)
        for _ in range(5):
            assert handlers.begun.acquire(timeout=30)
        end(handlers, clients)


def test_equal_bounds_switch_sizing_off(handlers: Handlers) -> None:
    with Server(handlers.router, bind="tcp://127.0.0.1:0", threads=2) as server:
        clients = wait_in(server, handlers, 5)
        for _ in range(2):
            assert handlers.begun.acquire(timeout=30)
        wait_until(lambda: server.threads.stats().queued == 3)
        assert [server.adjust_thread_pool_size() for _ in range(5)] == [2] * 5
        end(handlers, clients)


def test_no_thread_is_added_while_the_database_is_down(handlers: Handlers, mariadb_url: str) -> None:
    url = urlsplit(mariadb_url)
    assert url.port
    with FaultProxy(url.port) as proxy:
        behind = url._replace(netloc=url.netloc.replace(str(url.port), str(proxy.port))).geturl()
        database = MySQLConnectionPool(behind, min_size=1, max_size=2, timeout=0.3)
        with Server(handlers.router, bind="tcp://127.0.0.1:0", threads=(1, 6), database=database) as server:
            with Client(f"tcp://127.0.0.1:{server.port}") as client:
                client.send(b"ask")
                assert client.recv() == b"there"
                proxy.refuse()
                client.send(b"ask")
                assert client.recv() == b"failed"
            wait_until(lambda: database.stats().down)
            clients = wait_in(server, handlers, 6)
            assert handlers.begun.acquire(timeout=30)
            wait_until(lambda: server.threads.stats().queued == 5)
            memory = server.threads._core.memory
            wait_until(lambda: server.threads._core.memory is not memory, what="the sampler looks")
            assert [server.adjust_thread_pool_size() for _ in range(20)] == [1] * 20
            proxy.accept()
            wait_until(lambda: not database.stats().down)
            wait_until(lambda: server.threads.stats().busy == 6, what="it grows again")
            end(handlers, clients)


def test_what_is_stuck_is_reported_by_its_route(handlers: Handlers, caplog: pytest.LogCaptureFixture) -> None:
    with ThreadPool(1, stuck_after=0.05) as pool:
        with Server(handlers.router, bind="tcp://127.0.0.1:0", threads=pool) as server:
            clients = wait_in(server, handlers, 1)
            wait_until(lambda: "runs for" in caplog.text)
            (info,) = [info for info in pool.dump() if info.task]
            assert info.stuck
            assert "Handlers.wait of <Connection" in str(info.task)
            end(handlers, clients)
        assert pool._advisers == (), "a pool that outlives its server asks it no more"
    assert "Handlers.wait of <Connection" in caplog.text
