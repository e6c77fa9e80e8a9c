"""The judgement of deadlines, with a clock that is a number."""

from __future__ import annotations

import math
import socket
import time
from typing import Any

import pytest

from mooring.net.connection.connection import Connection
from mooring.net.connection.life import CLOSED, DRAINING, ENDING, LINGERING, CloseReason, Ending
from mooring.net.connection.output import Stall
from mooring.net.connection.partial import Partial
from mooring.net.deadlines.timeouts import LINGER_TIMEOUT, Timeouts, judge

NONE = Timeouts(first_message=None, idle=None, heartbeat=None, frame=None, write=30.0, close=5.0)


@pytest.fixture
def connection(pairs: Any) -> Connection:
    """Made at 1000.0, and it has spoken."""
    connection: Connection
    connection, _ = pairs.make(now=1000.0)
    connection._messages = 1
    return connection


def passed(connection: Connection, timeouts: Timeouts, now: float) -> tuple[CloseReason, str, bool] | None:
    """What has passed, as (reason, detail, abort)."""
    deadline, _ = judge(connection, timeouts, now)
    return None if deadline is None else (deadline.reason, deadline.detail, deadline.abort)


def test_without_deadlines_there_is_nothing_to_look_at(connection: Connection) -> None:
    assert judge(connection, NONE, 1e9) == (None, math.inf)


@pytest.mark.parametrize(
    ("timeouts", "reason", "detail", "abort"),
    [
        (Timeouts(heartbeat=90.0), CloseReason.HEARTBEAT, "nothing received for 90 s (heartbeat.timeout)", True),
        (Timeouts(idle=90.0), CloseReason.IDLE, "nothing received for 90 s (idle_timeout)", False),
    ],
)
def test_silence_closes_when_its_time_has_passed_and_not_before(
    connection: Connection, timeouts: Timeouts, reason: CloseReason, detail: str, abort: bool
) -> None:
    connection._last_received = 1010.0
    assert judge(connection, timeouts, 1099.99) == (None, 1100.0)
    assert passed(connection, timeouts, 1100.0) == (reason, detail, abort)
    connection._last_received = 1099.0
    assert judge(connection, timeouts, 1100.0) == (None, 1189.0)


def test_the_first_message_is_due_from_the_connect_whatever_bytes_come(connection: Connection) -> None:
    timeouts = Timeouts(first_message=60.0)
    connection._messages = 0
    connection._last_received = 1059.0
    assert passed(connection, timeouts, 1059.9) is None
    detail = "no message within 60 s (first_message_timeout)"
    assert passed(connection, timeouts, 1060.0) == (CloseReason.FIRST_MESSAGE, detail, False)
    connection._messages = 1
    assert passed(connection, timeouts, 1060.0) is None


def test_a_message_that_has_begun_must_be_complete_in_time_though_bytes_trickle(connection: Connection) -> None:
    connection._partial = Partial(1000.0)
    connection._last_received = 1029.0
    detail = "a message was begun and not complete within 30 s (frame_timeout)"
    assert passed(connection, Timeouts(), 1029.9) is None
    assert passed(connection, Timeouts(), 1030.0) == (CloseReason.FRAME, detail, False)


def test_while_we_do_not_read_silence_kills_nobody(connection: Connection) -> None:
    connection._reading = False
    connection._partial = Partial(1000.0)
    connection._messages = 0
    assert judge(connection, Timeouts(heartbeat=90.0), 1e6) == (None, math.inf)


def test_a_peer_that_takes_nothing_is_reset_also_while_we_do_not_read(connection: Connection) -> None:
    connection._reading = False
    connection._armed = True
    connection._stall = Stall(1000.0)
    assert judge(connection, NONE, 1029.9) == (None, 1030.0)
    detail = "the peer took nothing for 30 s (write_timeout)"
    assert passed(connection, NONE, 1030.0) == (CloseReason.STALLED, detail, True)


def test_slow_is_not_stalled(connection: Connection) -> None:
    connection._armed = True
    for moment in range(1000, 2000, 29):
        connection._stall = Stall(float(moment))  # the loop stores it whenever the peer took a byte
        assert passed(connection, NONE, moment + 29.9) is None


def test_a_writer_that_has_just_met_a_full_kernel_is_not_stalled_before_the_loop_looks(pairs: Any) -> None:
    connection: Connection
    connection, _ = pairs.make(now=time.monotonic())
    connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection.send_joined(b"x" * 1_000_000)
    assert connection._armed
    assert passed(connection, NONE, time.monotonic()) is None


def test_a_close_that_does_not_end_is_ended(connection: Connection) -> None:
    connection._phase, connection._close_reason, connection._ending = DRAINING, CloseReason.LOCAL, Ending(1000.0)
    assert judge(connection, NONE, 1004.9) == (None, 1005.0)
    assert passed(connection, NONE, 1005.0) == (CloseReason.LOCAL, "not closed within 5 s (close_timeout)", True)


def test_replies_owed_to_a_peer_that_has_finished_may_take_longer_than_a_close(connection: Connection) -> None:
    connection._phase, connection._close_reason, connection._ending = DRAINING, CloseReason.PEER, Ending(1000.0)
    assert passed(connection, Timeouts(idle=600.0), 1599.9) is None
    detail = "replies were not ready within 600 s (idle_timeout)"
    assert passed(connection, Timeouts(idle=600.0), 1600.0) == (CloseReason.IDLE, detail, True)


def test_the_drain_of_a_stop_has_only_the_deadline_of_the_stop(connection: Connection) -> None:
    connection._phase, connection._close_reason, connection._ending = DRAINING, CloseReason.STOP, Ending(1000.0)
    assert judge(connection, Timeouts(heartbeat=90.0), 1e6) == (None, math.inf)


def test_lingering_ends_after_a_second_in_order(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.net.deadlines.timeouts.LINGER_TIMEOUT", LINGER_TIMEOUT)
    connection._phase, connection._close_reason, connection._ending = LINGERING, CloseReason.LOCAL, Ending(1000.0)
    assert judge(connection, NONE, 1000.9) == (None, 1000.0 + LINGER_TIMEOUT)
    assert passed(connection, NONE, 1001.0) == (CloseReason.LOCAL, "", False)


@pytest.mark.parametrize("phase", [ENDING, CLOSED])
def test_a_connection_that_has_ended_has_no_deadlines(connection: Connection, phase: Any) -> None:
    connection._phase = phase
    assert judge(connection, Timeouts(heartbeat=90.0), 1e6) == (None, math.inf)


def test_the_next_look_is_at_the_nearest_deadline(connection: Connection) -> None:
    connection._messages = 0
    connection._last_received = 1005.0
    timeouts = Timeouts(first_message=60.0, idle=600.0, heartbeat=40.0)
    assert judge(connection, timeouts, 1006.0) == (None, 1045.0)
