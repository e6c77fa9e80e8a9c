"""What a connection sends: one writer, replies in order, and what happens when the peer takes nothing."""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Any

import pytest
from waiting import wait_until

from mooring import ConnectionClosed
from mooring.net.connection.connection import Connection
from mooring.net.connection.life import CloseReason
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
