"""What handlers did is counted: every call, by route and place, whatever thread ran it and whether it still lives."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, Connection, Router, Server
from mooring.models.failures import MOST_GROUPS, Failures
from mooring.models.meter import Meter
from mooring.models.tally import QUICK, CallTallies
from mooring.threads import ThreadPool


def test_what_a_thread_counted_stays_when_it_ends() -> None:
    tallies = CallTallies()

    def work() -> None:
        meter = Meter()
        tally = meter.turn_to(tallies)
        tally.calls += 3
        tally.seconds += 1.5
        meter.route = None

    for _ in range(5):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    stats = tallies.stats()
    assert (stats.calls.count, stats.calls.seconds) == (15, 7.5)
    assert not tallies._live


def test_a_thread_that_ends_while_the_counts_are_added_up_is_counted_once() -> None:
    tallies, holders = CallTallies(), [Meter(), Meter()]

    class Routes(dict[Any, Any]):
        """Asked for in the middle of a sum: if the lock is free, both threads end now and somebody else buries them."""

        def copy(self) -> dict[Any, Any]:
            if not tallies._lock.locked():
                holders.clear()
                tallies.open(tallies, on_loop=False)
            return self

    for holder in holders:
        tally = holder.turn_to(tallies)
        tally.calls, tally.sent, tally.routes = 3, 2, Routes()
    del holder, tally
    for _ in range(2):
        stats = tallies.stats()
        assert (stats.calls.count, stats.sent) == (6, 4)
        holders.clear()


def test_a_pool_that_outlives_its_servers_keeps_nothing_of_them() -> None:
    class Handler:
        def __call__(self, connection: Connection, message: bytes) -> bytes:
            return message

    def serve(pool: ThreadPool) -> weakref.ref[Handler]:
        handler = Handler()
        with Server(handler, bind="tcp://127.0.0.1:0", threads=pool, blocking=True) as server:
            with Client(str(server.addresses[0])) as client:
                client.send(b"hello")
                assert client.recv() == b"hello"
        assert server.stats().calls.count == 1
        return weakref.ref(handler)

    with ThreadPool(1) as pool:
        gone = [serve(pool) for _ in range(3)]
        pool.submit(int).result()
        gc.collect()
        assert [ref() for ref in gone] == [None] * 3


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_calls_messages_and_bytes_are_counted_in_every_model(model: str) -> None:
    def handle(connection: Connection, message: bytes) -> bytes:
        if message == b"slow":
            time.sleep(0.002)
        return message

    with Server(handle, bind="tcp://127.0.0.1:0", model=model) as server, Client(str(server.addresses[0])) as client:
        for message in (b"quick", b"slow", b"quick"):
            client.send(message)
            assert client.recv() == message
        (connection,) = server.connections
        connection.send(b"hello")
        assert client.recv() == b"hello"
        wait_until(lambda: server.stats().calls.count == 3)
        stats = server.stats()
        assert (stats.messages, stats.bytes_received, stats.sent, stats.bytes_sent) == (3, 17, 4, 23)
        assert connection.messages_received == 3
        assert stats.calls.quantile(1.0) >= 0.002 > 0.001 > stats.calls.quantile(0.33)
        assert stats.calls.seconds >= 0.002


def test_each_route_is_counted_by_its_name_and_place() -> None:
    router = Router(lambda message: message.split()[0])

    @router.on(b"ping", blocking=False)
    def ping(connection: Connection, message: bytes) -> bytes:
        return b"pong"

    @router.on(b"read", b"write", blocking=True)
    def store(connection: Connection, message: bytes) -> bytes:
        time.sleep(2 * QUICK)
        return b"ok"

    with Server(router, bind="tcp://127.0.0.1:0") as server, Client(str(server.addresses[0])) as client:
        for message in (b"ping", b"read", b"ping", b"write", b"ping"):
            client.send(message)
            client.recv()
        serving = server._serving
        assert serving is not None
        wait_until(lambda: server.stats().calls.count == 5)
        routes = {name: serving.tallies.of_route(route, only=False) for name, route in serving.handling.routes()}
        assert list(routes) == ["b'ping'", "b'read', b'write'"]
        ping_stats, store_stats = routes.values()
        assert (ping_stats.calls.count, store_stats.on_loop, store_stats.elsewhere) == (3, 0, 2)
        assert store_stats.slow.count == 2
        assert store_stats.longest >= 2 * QUICK


def test_exceptions_of_one_place_are_one_group_with_a_sample() -> None:
    failures = Failures(clock=lambda: 5.0)

    def fail(text: str) -> None:
        try:
            raise ValueError(text)
        except ValueError as exc:
            failures.note(exc)

    for number in range(3):
        fail(f"number {number}")
    (group,) = failures.groups()
    assert (group.count, group.error, group.text, group.last_at) == (3, "ValueError", "number 0", 5.0)
    assert "raise ValueError" in group.sample


def test_groups_of_exceptions_are_bounded() -> None:
    failures = Failures()
    for number in range(MOST_GROUPS + 5):
        failures.note(type(f"Error{number}", (Exception,), {})())
    assert len(failures.groups()) == MOST_GROUPS
    assert failures.total == MOST_GROUPS + 5
