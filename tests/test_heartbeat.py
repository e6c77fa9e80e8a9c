"""The heartbeat: its arguments, when a beat is due, and what it does on real connections."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from serving import READERS, Connect, Serve, ended
from waiting import wait_until

from mooring import CloseReason, ConnectionClosed, Heartbeat
from mooring.net.connection.connection import Connection


@pytest.fixture(params=READERS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Arguments and times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"timeout": 0}, "timeout is 0; it must be more than 0 seconds"),
        ({"timeout": -1.0}, "timeout is -1.0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"interval": 0, "message": b"x"}, "interval is 0"),
        ({"interval": -5, "message": b"x"}, "interval is -5"),
        ({"interval": 30.0}, "say what is sent every interval with `message`"),
        ({"message": b"x"}, "a message is sent every `interval` seconds; set it"),
        ({"always": True}, "a message is sent every `interval` seconds; set it"),
        ({"timeout": 30, "interval": 30, "message": b"x"}, "must be below timeout"),
    ],
)
def test_a_heartbeat_that_makes_no_sense_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        Heartbeat(**options)
    assert complaint in str(caught.value)


def quiet_connection(number: int) -> Any:
    """What a heartbeat looks at: connected at 1000, silent since 1010, never asked."""
    return SimpleNamespace(id=number, _connected=1000.0, _last_received=1010.0, _beat_at=0.0)


def test_the_beats_of_many_connections_are_spread_by_ten_percent() -> None:
    heartbeat = Heartbeat(90.0, interval=30.0, message=b"x")
    due = sorted(heartbeat.next_beat(quiet_connection(number)) - 1010.0 for number in range(1000))
    assert 27.0 <= due[0] < 27.1
    assert 32.9 < due[-1] <= 33.0
    assert max(later - earlier for earlier, later in itertools.pairwise(due)) < 0.02  # evenly


def test_a_beat_is_due_an_interval_after_the_last_byte_or_the_last_beat() -> None:
    heartbeat = Heartbeat(90.0, interval=30.0, message=b"x")
    connection = quiet_connection(1)
    first = heartbeat.next_beat(connection)
    connection._beat_at = first
    assert heartbeat.next_beat(connection) == pytest.approx(first + (first - 1010.0))
    connection._last_received = 2000.0
    assert heartbeat.next_beat(connection) == pytest.approx(2000.0 + (first - 1010.0))


def test_with_always_what_the_device_says_does_not_matter() -> None:
    heartbeat = Heartbeat(90.0, interval=30.0, message=b"x", always=True)
    connection = quiet_connection(1)
    first = heartbeat.next_beat(connection)
    assert 1027.0 <= first <= 1033.0  # from the connect
    connection._last_received = 1020.0
    assert heartbeat.next_beat(connection) == first
    connection._beat_at = 1030.0
    assert heartbeat.next_beat(connection) == pytest.approx(1030.0 + first - 1000.0)


# On real connections --------------------------------------------------------------------------------------------------


def test_a_silent_device_is_asked_and_lives_as_long_as_it_answers(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(lambda c, m: None, model=model, heartbeat=Heartbeat(5.0, interval=0.1, message=b"alive?"))
    client = connect(server)
    for _ in range(6):
        assert client.recv() == b"alive?"
        client.send(b"yes")
    assert server.stats().closed == {}
    wait_until(lambda: server.stats().heartbeats >= 6)


def test_a_device_that_does_not_answer_is_given_up(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(model=model, heartbeat=Heartbeat(0.5, interval=0.1, message=b"alive?"))
    client = connect(server)
    with pytest.raises((ConnectionClosed, ConnectionResetError)):
        while True:
            assert client.recv() == b"alive?"
    wait_until(lambda: server.stats().closed == {CloseReason.HEARTBEAT: 1})


def test_a_device_that_talks_is_not_asked(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(model=model, heartbeat=Heartbeat(10.0, interval=0.8, message=b"alive?"))
    client = connect(server)
    for _ in range(20):
        client.send(b"x")
        assert client.recv() == b"x"
        time.sleep(0.05)
    assert server.stats().heartbeats == 0


def test_always_means_also_while_it_talks(serve: Serve, connect: Connect, model: str) -> None:
    server = serve(model=model, heartbeat=Heartbeat(10.0, interval=0.1, message=b"tick", always=True))
    client = connect(server)
    ticks = 0
    while ticks < 4:
        client.send(b"x")
        while (message := client.recv()) == b"tick":
            ticks += 1
        assert message == b"x"
        time.sleep(0.01)


def test_the_message_may_be_made_for_each_connection_or_left_out(serve: Serve, connect: Connect) -> None:
    asked: list[int] = []

    def message(connection: Connection) -> bytes | None:
        asked.append(connection.id)
        return b"beat for %d" % connection.id if len(asked) > 2 else None

    server = serve(heartbeat=Heartbeat(10.0, interval=0.06, message=message))
    client = connect(server)
    number = client.recv().rpartition(b" ")[2]
    assert int(number) == asked[0]
    wait_until(lambda: server.stats().heartbeats >= 1)


def test_heartbeats_do_not_wait_behind_pending_replies(serve: Serve, connect: Connect, model: str) -> None:
    pending: list[Future[bytes]] = []

    def handler(connection: Connection, message: bytes) -> Future[bytes]:
        pending.append(Future())
        return pending[-1]

    server = serve(handler, model=model, heartbeat=Heartbeat(10.0, interval=0.1, message=b"tick"))
    client = connect(server)
    client.send(b"x")
    assert client.recv() == b"tick"
    pending[0].set_result(b"late")
    while (message := client.recv()) == b"tick":
        pass
    assert message == b"late"


def test_heartbeats_go_on_while_the_pool_is_paused(serve: Serve, connect: Connect) -> None:
    server = serve(heartbeat=Heartbeat(10.0, interval=0.1, message=b"tick"))
    server.threads.pause()
    assert connect(server).recv() == b"tick"
    server.threads.resume()


@pytest.mark.parametrize("exception", [ZeroDivisionError, SystemExit])
def test_a_heartbeat_message_that_raises_ends_one_connection(
    serve: Serve, connect: Connect, exception: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    first: list[int] = []

    def message(connection: Connection) -> bytes:
        first.append(connection.id)
        if connection.id == first[0]:
            raise exception("on purpose")
        return b"tick"

    server = serve(heartbeat=Heartbeat(10.0, interval=0.1, message=message))
    assert ended(connect(server))
    assert "the heartbeat's message raised" in caplog.text
    assert f"{exception.__name__}: on purpose" in caplog.text
    assert connect(server).recv() == b"tick"
    wait_until(lambda: server.stats().closed == {CloseReason.HANDLER: 1})


def test_a_beat_for_a_connection_that_is_just_closing_is_no_error(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def message(connection: Connection) -> bytes:
        connection.close()  # as any thread may, at any time
        return b"tick"

    server = serve(heartbeat=Heartbeat(10.0, interval=0.1, message=message))
    assert ended(connect(server))
    wait_until(lambda: server.stats().closed == {CloseReason.LOCAL: 1})
    assert "raised" not in caplog.text
