"""A connection by itself: one writer, order, overflow, the first reason, and names."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from typing import Any

import pytest
from waiting import wait_until

from mooring import ConnectionClosed
from mooring.net.connection import Connection
from mooring.net.life import ENDING, CloseReason
from mooring.threads.pending import Pending, complete_together


def fill(connection: Connection) -> int:
    """Send until the kernel takes no more; returns how many bytes were sent in all."""
    total = 0
    while not connection._armed:
        connection.send_joined(b"f" * 65536)
        total += 65536
    return total


def drain(peer: socket.socket, size: int) -> bytes:
    """Read exactly so many bytes."""
    data = b""
    while len(data) < size:
        data += peer.recv(65536)
    return data


# Writing --------------------------------------------------------------------------------------------------------------


def test_what_the_kernel_takes_leaves_at_once_in_the_callers_thread(pairs: Any) -> None:
    connection, peer = pairs.make()
    connection.send(b"hello")
    assert peer.recv(100) == b"hello\n"
    assert not connection._writing
    assert connection._outbox is None
    assert connection._engine.attended == []  # an idle connection costs the loop nothing


def test_what_the_kernel_refuses_waits_in_order_and_the_loop_is_told_once(pairs: Any, engine: Any) -> None:
    connection, _ = pairs.make()
    total = fill(connection)
    assert connection._armed
    assert connection._writing  # from here on the loop is the writer
    assert engine.attended == [connection]
    waiting = connection._outbox_size
    assert 0 < waiting <= total
    connection.send(b"after")
    assert connection._outbox_size == waiting + 6
    assert connection._outbox[-1] == b"after\n"
    assert engine.attended == [connection]


def test_what_others_append_while_one_writes_leaves_with_the_writer(pairs: Any) -> None:
    connection, peer = pairs.make()
    connection._writing = True  # as a thread does that is about to send
    connection.send(b"second")
    connection.reply(b"third\n")
    connection._flush(b"first\n")
    assert drain(peer, 19) == b"first\nsecond\nthird\n"
    assert not connection._writing
    assert connection._outbox_size == 0


def test_replies_leave_in_the_order_of_their_places(pairs: Any) -> None:
    connection, peer = pairs.make()
    first, second = connection.expect_reply(), connection.expect_reply()
    connection.reply(b"third\n")
    connection.settle(second, b"second\n")
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    connection.send(b"overtakes")
    assert peer.recv(100) == b"overtakes\n"
    connection.settle(first, b"first\n")
    assert peer.recv(100) == b"first\nsecond\nthird\n"


def test_replies_that_become_ready_in_one_batch_leave_in_one_send(pairs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, peer = pairs.make()
    sent = []
    flush = connection._flush
    monkeypatch.setattr(type(connection), "_flush", lambda _, data: (sent.append(bytes(data)), flush(data)))
    pendings: list[Pending[bytes]] = [Pending() for _ in range(3)]
    for pending, place in [(pending, connection.expect_reply()) for pending in pendings]:
        pending.add_done_callback(lambda done, place=place: connection.settle(place, done.result()))
    complete_together(pendings, b"stored\n")
    assert sent == [b"stored\n" * 3]
    assert drain(peer, 21) == b"stored\n" * 3


def test_a_place_that_stays_empty_holds_up_nobody(pairs: Any) -> None:
    connection, peer = pairs.make()
    first = connection.expect_reply()
    connection.reply(b"second\n")
    connection.settle(first, None)
    assert peer.recv(100) == b"second\n"


def test_a_write_error_ends_the_connection_with_its_cause(pairs: Any) -> None:
    connection, peer = pairs.make()
    peer.close()
    connection.send(b"nobody hears")
    assert connection.close_reason is CloseReason.RESET
    assert connection._close_detail == "Broken pipe"
    with pytest.raises(ConnectionClosed, match="is closed \\(reset\\)"):
        connection.send(b"more")


def test_replies_for_a_connection_that_is_gone_are_dropped_and_counted(pairs: Any, engine: Any) -> None:
    connection, _ = pairs.make()
    place = connection.expect_reply()
    connection._output_over = True
    connection.settle(place, b"late\n")
    connection.reply(b"later\n")
    assert engine.dropped == 2


def test_after_close_nothing_more_can_be_sent_and_what_waited_in_the_inbox_is_dropped(pairs: Any) -> None:
    connection, peer = pairs.make()
    connection._inbox = deque([b"not started"])
    connection.close("enough")
    connection.close("again")
    assert not connection._inbox
    with pytest.raises(ConnectionClosed, match="is closed \\(local\\)"):
        connection.send(b"x")
    connection.reply(b"the running handler's reply\n")
    assert peer.recv(100) == b"the running handler's reply\n"


# Overflow -------------------------------------------------------------------------------------------------------------


def test_overflow_close_aborts_and_names_the_limit(pairs: Any, engine: Any) -> None:
    engine.outbox_limit = 100_000
    connection, _ = pairs.make()
    fill(connection)
    with pytest.raises(ConnectionClosed, match="more than 100000 bytes wait to be sent \\(outbox_limit\\)"):
        while True:
            connection.send_joined(b"z" * 10_000)
    assert connection.close_reason is CloseReason.OVERFLOW
    assert connection._aborted


def test_overflow_drop_loses_the_message_and_counts_it(pairs: Any, engine: Any) -> None:
    engine.outbox_limit, engine.overflow = 100_000, "drop"
    connection, _ = pairs.make()
    fill(connection)
    for _ in range(20):
        connection.send_joined(b"z" * 10_000)
    assert connection._outbox_size <= 100_000
    assert engine.dropped > 0
    assert connection.close_reason is None


def test_overflow_block_waits_for_room(pairs: Any, engine: Any) -> None:
    engine.outbox_limit, engine.overflow, engine.write_timeout = 1000, "block", 10.0
    connection, _ = pairs.make()
    fill(connection)
    sender = threading.Thread(target=connection.send_joined, args=(b"z" * 900,))
    sender.start()
    wait_until(lambda: connection._senders)
    with connection._lock:  # as the loop does when the outbox has left
        connection._outbox, connection._outbox_size = None, 0
        batons = connection.take_senders_locked()
    for baton in batons:
        baton.release()
    sender.join(10)
    assert connection._outbox_size == 900


def test_overflow_block_gives_up_after_write_timeout(pairs: Any, engine: Any) -> None:
    engine.outbox_limit, engine.overflow, engine.write_timeout = 1000, "block", 0.05
    connection, _ = pairs.make()
    fill(connection)
    with pytest.raises(ConnectionClosed, match="outbox_limit"):
        connection.send_joined(b"z" * 900)
    assert connection.close_reason is CloseReason.OVERFLOW


def test_overflow_block_never_waits_where_nobody_may_wait(pairs: Any, engine: Any) -> None:
    engine.outbox_limit, engine.overflow, engine.write_timeout = 1000, "block", 1000.0
    engine.may_wait = lambda: False
    connection, _ = pairs.make()
    fill(connection)
    with pytest.raises(ConnectionClosed, match="outbox_limit"):
        connection.send_joined(b"z" * 900)


def test_a_sender_that_waits_for_room_is_told_when_the_connection_breaks(pairs: Any, engine: Any) -> None:
    engine.outbox_limit, engine.overflow, engine.write_timeout = 1000, "block", 10.0
    connection, _ = pairs.make()
    fill(connection)
    errors: list[Exception] = []

    def send() -> None:
        try:
            connection.send_joined(b"z" * 900)
        except ConnectionClosed as exc:
            errors.append(exc)

    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: connection._senders)
    connection.write_failed(ConnectionResetError(104, "Connection reset by peer"))
    sender.join(5)
    assert not sender.is_alive()
    assert len(errors) == 1


# The end --------------------------------------------------------------------------------------------------------------


def test_the_first_reason_stands(pairs: Any) -> None:
    connection, _ = pairs.make()
    connection.end(CloseReason.IDLE, "nothing received")
    connection.end(CloseReason.LOCAL, "too late")
    assert connection.close_reason is CloseReason.IDLE
    assert connection._close_detail == "nothing received"


def test_what_forced_an_orderly_end_is_added_to_its_detail(pairs: Any) -> None:
    connection, _ = pairs.make()
    connection.close("session over")
    connection.end(CloseReason.LOCAL, "not closed within 5 s (close_timeout)", abort=True)
    connection.end(CloseReason.LOCAL, "once more", abort=True)
    assert connection._close_detail == "session over; not closed within 5 s (close_timeout)"


# What handlers see ----------------------------------------------------------------------------------------------------


def test_times_are_unix_times(pairs: Any, engine: Any) -> None:
    engine.unix_offset = time.time() - time.monotonic()
    connection, _ = pairs.make(now=time.monotonic())
    assert connection.connected_at == pytest.approx(time.time(), abs=5)
    assert connection.last_received_at == connection.connected_at


def test_the_log_names_connection_peer_and_name(pairs: Any, caplog: pytest.LogCaptureFixture) -> None:
    connection, _ = pairs.make(number=77)
    connection.log.warning("before")
    connection.identify("meter-7")
    connection.log.warning("after %d", 5)
    assert caplog.messages == ["[77 unix:] before", "[77 unix: 'meter-7'] after 5"]
    assert caplog.records[0].__dict__["connection"] == 77
    assert caplog.records[0].name == "mooring"
    assert caplog.records[0].levelno == logging.WARNING


def test_the_local_address_of_a_closed_connection_is_empty(pairs: Any) -> None:
    connection, _ = pairs.make()
    connection._socket.close()
    assert str(connection.local) == "unix:"
    assert repr(connection).startswith("<Connection 1 ")


# Names ----------------------------------------------------------------------------------------------------------------


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
