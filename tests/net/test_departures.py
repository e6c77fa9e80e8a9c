"""Replies leave together, at the end of the turn in which they were made."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from clock import Clock

from mooring.net.loop import departures as module
from mooring.net.loop.departures import LONGEST, MOST, Departures


class Role:
    """Stands for the loop's state, in a turn that has just begun."""

    leader = threading.get_ident()

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now


@pytest.fixture
def departures(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Departures:
    monkeypatch.setattr(module, "monotonic", clock)
    return Departures(Role(clock))  # type: ignore[arg-type]


def has_come(peer: socket.socket) -> bytes:
    """What is there now."""
    peer.setblocking(False)
    try:
        return peer.recv(65536)
    except BlockingIOError:
        return b""


def test_nothing_leaves_before_the_end_of_the_turn_and_then_everything_does(pairs: Any, departures: Departures) -> None:
    (first, its_peer), (second, other_peer) = pairs.make(), pairs.make()
    departures.add(first, b"1\n")
    departures.add(second, b"2\n")
    assert (has_come(its_peer), has_come(other_peer)) == (b"", b"")
    departures.leave()
    assert (has_come(its_peer), has_come(other_peer)) == (b"1\n", b"2\n")
    assert (len(departures.waiting), first._writing, second._writing) == (0, False, False)


def test_what_comes_behind_a_reply_that_has_not_left_stays_behind_it(pairs: Any, departures: Departures) -> None:
    connection, peer = pairs.make()
    departures.add(connection, b"1\n")
    connection.send(b"2")
    departures.add(connection, b"3\n")
    connection.reply(b"4\n")
    assert has_come(peer) == b""
    departures.leave()
    assert has_come(peer) == b"1\n2\n3\n4\n"
    assert connection._outbox_size == 0


def test_a_place_that_is_kept_before_a_reply_keeps_it_from_leaving(pairs: Any, departures: Departures) -> None:
    connection, peer = pairs.make()
    place = connection.expect_reply()
    departures.add(connection, b"2\n")
    departures.leave()
    assert has_come(peer) == b""
    connection.settle(place, b"1\n")
    assert has_come(peer) == b"1\n2\n"


def test_replies_wait_for_a_limited_time(pairs: Any, departures: Departures, clock: Clock) -> None:
    made = [pairs.make() for _ in range(3)]
    for connection, _ in made[:2]:
        departures.add(connection, b"reply\n")
    assert len(departures.waiting) == 2
    clock.advance(LONGEST * 1.01)
    departures.add(made[2][0], b"reply\n")
    assert [has_come(peer) for _, peer in made] == [b"reply\n"] * 3
    departures.add(made[0][0], b"the time counts from here\n")
    assert len(departures.waiting) == 1


def test_the_reply_of_a_handler_that_takes_its_time_leaves_at_once(
    pairs: Any, departures: Departures, clock: Clock
) -> None:
    connection, peer = pairs.make()
    for reply in (b"1\n", b"2\n"):
        clock.advance(0.005)
        departures.add(connection, reply)
        assert has_come(peer) == reply


def test_a_new_turn_has_its_own_time(pairs: Any, departures: Departures, clock: Clock) -> None:
    connection, peer = pairs.make()
    clock.advance(60.0)
    departures.state.now = clock.now
    departures.add(connection, b"1\n")
    assert has_come(peer) == b""


def test_only_so_many_replies_wait(pairs: Any, departures: Departures) -> None:
    made = [pairs.make() for _ in range(MOST)]
    for connection, _ in made[:-1]:
        departures.add(connection, b"reply\n")
    assert len(departures.waiting) == MOST - 1
    departures.add(made[-1][0], b"reply\n")
    assert [has_come(peer) for _, peer in made] == [b"reply\n"] * MOST


def test_a_connection_that_is_closed_before_its_reply_has_left_still_sends_it(
    pairs: Any, departures: Departures, engine: Any
) -> None:
    connection, peer = pairs.make()
    departures.add(connection, b"goodbye\n")
    connection.close()
    connection._watched = True  # as the loop marks it, which waits for the writer
    engine.attended.clear()
    departures.leave()
    assert has_come(peer) == b"goodbye\n"
    assert engine.attended == [connection]


def test_a_peer_that_is_gone_ends_its_connection_and_no_other(pairs: Any, departures: Departures) -> None:
    (gone, its_peer), (other, other_peer) = pairs.make(), pairs.make()
    departures.add(gone, b"1\n")
    departures.add(other, b"2\n")
    its_peer.close()
    departures.leave()
    assert gone.close_reason == "reset"
    assert has_come(other_peer) == b"2\n"
