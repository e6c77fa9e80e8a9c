"""The connections of a server, by name and all together."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mooring import ConnectionClosed
from mooring.net.connection.connection import Connection
from mooring.net.connection.life import ENDING, CloseReason


def test_identify_enters_the_name_and_closes_the_older_one(pairs: Any, engine: Any) -> None:
    first, second = pairs.make(1)[0], pairs.make(2)[0]
    assert first.identify("meter-7") is None
    assert first.name == "meter-7"
    assert second.identify("meter-7") is first
    assert engine.connections["meter-7"] is second
    assert first.close_reason is CloseReason.REPLACED
    assert first._close_detail == "another connection is 'meter-7' now"
    assert second.close_reason is None


def test_identify_again_by_the_same_name_replaces_nobody(pairs: Any) -> None:
    connection, _ = pairs.make()
    connection.identify("meter-7")
    assert connection.identify("meter-7") is None
    assert connection.close_reason is None


def test_a_connection_that_is_renamed_leaves_its_old_name(pairs: Any, engine: Any) -> None:
    connection, _ = pairs.make()
    connection.identify("old")
    connection.identify("new")
    assert "old" not in engine.connections
    assert engine.connections.get("new") is connection


def test_an_entry_goes_only_with_its_own_connection(pairs: Any, engine: Any) -> None:
    first, second = pairs.make(1)[0], pairs.make(2)[0]
    first.identify("meter-7")
    second.identify("meter-7")
    engine.connections.discard(first)
    assert engine.connections["meter-7"] is second
    engine.connections.discard(second)
    assert "meter-7" not in engine.connections
    assert engine.connections.get("meter-7") is None
    with pytest.raises(KeyError):
        engine.connections["meter-7"]


def test_a_connection_that_has_ended_cannot_be_identified(pairs: Any, engine: Any) -> None:
    connection, _ = pairs.make()
    connection._phase = ENDING
    with pytest.raises(ConnectionClosed):
        connection.identify("meter-7")
    assert "meter-7" not in engine.connections


def test_of_threads_that_identify_at_once_exactly_one_stays(pairs: Any, engine: Any) -> None:
    for round_number in range(30):
        name = f"meter-{round_number}"
        rivals = [pairs.make(number)[0] for number in range(8)]
        start = threading.Barrier(len(rivals))
        replaced: list[Connection | None] = []

        def identify(rival: Connection, name: str = name, start: threading.Barrier = start) -> None:
            start.wait()
            replaced.append(rival.identify(name))  # noqa: B023

        threads = [threading.Thread(target=identify, args=(rival,)) for rival in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        open_ones = [rival for rival in rivals if rival.close_reason is None]
        assert open_ones == [engine.connections[name]]
        # Each of the others is the older one exactly once.
        assert replaced.count(None) == 1
        assert {id(older) for older in replaced if older} == {id(r) for r in rivals if r is not open_ones[0]}


def test_a_name_does_not_survive_a_race_of_identify_with_the_end(pairs: Any, engine: Any) -> None:
    for _ in range(200):
        connection, _peer = pairs.make()
        engine.connections.add(connection)

        def end(connection: Connection = connection) -> None:
            with connection._lock:
                connection._phase = ENDING
            engine.connections.discard(connection)

        thread = threading.Thread(target=end)
        thread.start()
        try:
            connection.identify("meter-7")
        except ConnectionClosed:
            pass
        thread.join()
        assert "meter-7" not in engine.connections
    assert len(engine.connections) == 0


def test_broadcast_joins_once_and_skips_the_closed(pairs: Any, engine: Any) -> None:
    joined: list[bytes] = []
    join = engine.join
    engine.join = lambda message: joined.append(message) or join(message)
    made = [pairs.make(number) for number in range(3)]
    engine.connections.snapshot = lambda: [connection for connection, _ in made]
    made[1][0].close()
    assert engine.connections.broadcast(b"news") == 2
    assert joined == [b"news"]
    assert made[0][1].recv(100) == made[2][1].recv(100) == b"news\n"


def test_connections_may_come_and_go_while_they_are_iterated_over(pairs: Any, engine: Any) -> None:
    table = [pairs.make(number)[0] for number in range(3)]
    engine.connections.snapshot = table.copy
    seen = []
    for connection in engine.connections:
        seen.append(connection.id)
        table.remove(connection)
        table.append(pairs.make(connection.id + 10)[0])
    assert seen == [0, 1, 2]


def test_a_connection_that_has_ended_is_not_among_the_open_ones(pairs: Any, engine: Any) -> None:
    first, second = pairs.make(1)[0], pairs.make(2)[0]
    engine.connections.snapshot = lambda: [first, second]
    first._phase = ENDING
    assert list(engine.connections) == [second]
