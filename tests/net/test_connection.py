"""A connection by itself: why it ended, and what handlers see of it."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from mooring.net.connection.life import CloseReason

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
