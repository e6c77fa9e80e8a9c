"""The gateway over real sockets."""

from __future__ import annotations

import logging
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from devices import Connect, Device, MakeGateway
from mariadb import MariaDB
from waiting import wait_until

from mooring import CloseReason, ConnectionClosed, Heartbeat
from mooring.db import open_pool
from mooring.gateway import Gateway, server
from mooring.gateway.roll_call import RollCall
from mooring.server import banner


def rows(gateway: Gateway) -> list[tuple[object, ...]]:
    """(name, seq, data) of all that is stored."""
    assert gateway.database is not None
    with gateway.database.connection() as lease:
        return [
            (name if isinstance(name, str) else name.decode(), seq, data)
            for name, seq, data in lease.execute(
                "SELECT name, seq, data FROM pushes JOIN devices ON devices.id = device_id ORDER BY name, seq"
            )
        ]


def test_a_device_logs_in_pushes_and_finds_its_last_seq_again(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    gateway = make_gateway(database_url)
    with connect(gateway) as device:
        before = time.time()
        welcome = device.log_in("meter-7")
        assert before - 0.001 <= welcome.pop("time") <= time.time() + 0.001
        assert welcome == {
            "op": "welcome",
            "device": "meter-7",
            "v": 1,
            "heartbeat": 30,
            "timeout": 90,
            "last_seq": 0,
            "max_message": 65536,
        }
        assert device.ask(op="push", seq=42, at=1763879997.5, data={"v": 1}) == {"op": "ack", "seq": 42}
    assert rows(gateway) == [("meter-7", 42, '{"v": 1}')]
    assert connect(gateway).log_in("meter-7")["last_seq"] == 42


@pytest.mark.parametrize("model", ["hybrid", "epoll", "threads"])
def test_pipelined_pushes_are_acknowledged_in_order_and_after_a_half_close(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str, model: str
) -> None:
    gateway = make_gateway(sqlite_url, model=model)
    device = connect(gateway)
    device.socket.sendall(
        b'{"op":"hello","device":"a"}\n' + b"".join(b'{"op":"push","seq":%d,"data":{}}\n' % seq for seq in range(1, 65))
    )
    device.send_eof()
    answers = list(device)
    assert [b'"welcome"' in answers[0], *answers[1:]] == [True, *(b'{"op":"ack","seq":%d}' % n for n in range(1, 65))]
    assert len(rows(gateway)) == 64


def test_a_repeated_push_is_acknowledged_and_not_stored_again(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    gateway = make_gateway(database_url)
    device = connect(gateway)
    device.log_in("a")
    for _ in range(3):
        assert device.ask(op="push", seq=1, data=[1]) == {"op": "ack", "seq": 1}
    assert rows(gateway) == [("a", 1, "[1]")]
    assert (gateway.counters["new"], gateway.counters["repeated"]) == (1, 2)


def test_another_push_with_the_same_seq_is_a_conflict_that_is_logged_by_name_and_counted(
    make_gateway: MakeGateway, connect: Connect, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = make_gateway(database_url)
    device = connect(gateway)
    device.log_in("meter-7")
    device.ask(op="push", seq=1, data=1)
    for _ in range(3):
        answer = device.ask(op="push", seq=1, data=2)
        assert (answer["op"], answer["of"], answer["seq"]) == ("error", "push", 1)
        assert (answer["code"], answer["retry"]) == ("conflict", False)
    assert device.ask(op="push", seq=2, data=2) == {"op": "ack", "seq": 2}
    assert rows(gateway) == [("meter-7", 1, "1"), ("meter-7", 2, "2")]
    assert gateway.counters["conflict"] == 3
    lines = [record.getMessage() for record in caplog.records if "another push" in record.getMessage()]
    assert len(lines) == 1
    assert "'meter-7'" in lines[0]


def test_ping_pong_and_bye(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    assert device.ask(op="ping") == {"op": "pong"}
    device.say(op="pong")
    device.log_in("a")
    assert device.ask(op="ping") == {"op": "pong"}
    device.say(op="bye")
    assert list(device) == []


def test_a_silent_device_is_asked_and_then_given_up(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url, heartbeat=Heartbeat(timeout=0.6, interval=0.2, message=b'{"op":"ping"}'))
    device = connect(gateway)
    welcome = device.log_in("a")
    assert (welcome["heartbeat"], welcome["timeout"]) == (0.2, 0.6)
    beats = 0
    with pytest.raises((ConnectionClosed, ConnectionResetError)):
        while True:
            assert device.hear() == {"op": "ping"}
            beats += 1
    assert beats >= 1
    wait_until(lambda: gateway.stats().closed.get(CloseReason.HEARTBEAT) == 1)


def test_a_second_login_tells_the_older_connection_and_closes_it(gateway: Gateway, connect: Connect) -> None:
    older, newer, other = (connect(gateway) for _ in range(3))
    older.log_in("a")
    other.log_in("b")
    newer.log_in("a")
    assert older.hear() == {"op": "bye", "reason": "replaced", "retry_after": 60.0}
    assert list(older) == []
    assert newer.ask(op="push", seq=1, data=1) == {"op": "ack", "seq": 1}
    assert other.ask(op="ping") == {"op": "pong"}
    wait_until(lambda: gateway.stats().closed.get(CloseReason.REPLACED) == 1)
    assert gateway.counters["takeover"] == 1


def test_two_devices_with_one_name_are_warned_of_with_both_addresses_and_slowed_down(
    gateway: Gateway, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    devices = [connect(gateway) for _ in range(6)]
    for device in devices[:5]:
        device.log_in("twin")
    wait_until(lambda: gateway.counters["takeover"] == 4)
    answer = devices[5].ask(op="hello", device="twin")
    assert (answer["code"], answer["of"], answer["retry"]) == ("busy", "hello", True)
    assert devices[4].ask(op="ping") == {"op": "pong"}
    lines = [record.getMessage() for record in caplog.records if "again and again" in record.getMessage()]
    assert len(lines) == 1
    assert "'twin'" in lines[0]
    ports = [device.socket.getsockname()[1] for device in devices[3:5]]
    assert all(str(port) in lines[0] for port in ports)


def test_a_second_hello_on_one_connection_is_refused_and_the_connection_stays(
    gateway: Gateway, connect: Connect
) -> None:
    device = connect(gateway)
    device.log_in("a")
    assert device.ask(op="hello", device="b")["code"] == "already_hello"
    assert device.ask(op="push", seq=1, data=1)["op"] == "ack"
    assert "b" not in gateway.connections


def test_a_push_before_hello_is_refused_and_the_connection_stays(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    answer = device.ask(op="push", seq=1, data=1)
    assert (answer["code"], answer["of"], answer["seq"], answer["retry"]) == ("hello_first", "push", 1, False)
    device.log_in("a")
    assert device.ask(op="push", seq=1, data=1)["op"] == "ack"


def test_a_version_that_is_not_spoken_is_answered_with_those_that_are(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    answer = device.ask(op="hello", device="a", v=0)
    assert (answer["code"], answer["versions"]) == ("unsupported_version", [1])
    assert list(device) == []
    assert connect(gateway).ask(op="hello", device="a", v=7)["v"] == 1


def test_a_new_name_over_the_limit_is_not_let_in(make_gateway: MakeGateway, connect: Connect, sqlite_url: str) -> None:
    gateway = make_gateway(sqlite_url, most_devices=1)
    connect(gateway).log_in("a")
    device = connect(gateway)
    answer = device.ask(op="hello", device="b")
    assert (answer["code"], answer["retry"]) == ("unauthorized", False)
    assert list(device) == []
    connect(gateway).log_in("a")


def test_devices_are_told_to_come_back_when_the_gateway_stops(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url)
    devices = [connect(gateway) for _ in range(3)]
    for number, device in enumerate(devices):
        device.log_in(str(number))
    gateway.stop()
    for device in devices:
        bye = device.hear()
        assert (bye["op"], bye["reason"]) == ("bye", "restart")
        assert 1.0 <= bye["retry_after"] <= 2.0
        assert list(device) == []


def test_pushes_that_wait_are_bounded_in_bytes_and_those_beyond_are_asked_for_again(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.gateway.writers.QUEUE_BYTES", 1 << 20)
    gateway = make_gateway(sqlite_url)
    group = gateway.writer._group  # type: ignore[attr-defined]
    device = connect(gateway)
    device.log_in("a")
    data = "x" * 60_000
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing can be stored meanwhile
        for seq in range(1, 21):
            device.say(op="push", seq=seq, data=data)
        wait_until(lambda: gateway.counters["busy"] + group.stats().rows == 20)
        waiting = group.stats()
        assert 4 <= waiting.rows <= 10
        assert waiting.bytes <= 1 << 20
        assert group.stats().refused == 20 - waiting.rows
        other.execute("COMMIT")
    answers = [device.hear() for _ in range(20)]
    assert [answer["op"] for answer in answers] == ["ack"] * waiting.rows + ["error"] * (20 - waiting.rows)
    assert {(answer["code"], answer["retry"]) for answer in answers[waiting.rows :]} == {("busy", True)}
    for answer in answers[waiting.rows :]:
        assert device.ask(op="push", seq=answer["seq"], data=data) == {"op": "ack", "seq": answer["seq"]}
    assert [seq for _, seq, _ in rows(gateway)] == list(range(1, 21))


def test_a_statement_that_hangs_ends_by_the_read_timeout_and_nothing_is_lost(
    own_mariadb: MariaDB, make_gateway: MakeGateway, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.gateway.writers.QUEUE_TIMEOUT", 0.5)
    gateway = make_gateway(f"{own_mariadb.url()}?read_timeout=4")
    group = gateway.writer._group  # type: ignore[attr-defined]
    one, two = connect(gateway), connect(gateway)
    one.log_in("a")
    two.log_in("b")
    assert one.ask(op="push", seq=1, data="before") == {"op": "ack", "seq": 1}
    own_mariadb.signal(signal.SIGSTOP)
    one.say(op="push", seq=2, data="under way")
    wait_until(lambda: group.stats().rows == 1 and not any(line.rows for line in group._queue.lines))
    refused = two.ask(op="push", seq=1, data="waits")  # long before the statement of the other one ends
    assert (refused["code"], refused["retry"]) == ("unavailable", True)
    assert group.stats().rows == 1
    refused = one.hear()
    assert (refused["code"], refused["seq"], refused["retry"]) == ("unavailable", 2, True)
    assert group.stats().unknown == 1
    own_mariadb.signal(signal.SIGCONT)  # and what hung is carried out now

    def send(device: Device, seq: int, data: str) -> bool:
        answer = device.ask(op="push", seq=seq, data=data)
        return answer == {"op": "ack", "seq": seq} or answer["code"] != "unavailable"

    wait_until(lambda: send(one, 2, "under way"))
    wait_until(lambda: send(two, 1, "waits"))
    assert rows(gateway) == [("a", 1, '"before"'), ("a", 2, '"under way"'), ("b", 1, '"waits"')]


def test_a_device_that_logs_in_after_the_clock_was_put_back_is_not_sent_away_when_it_has_caught_up(
    make_gateway: MakeGateway, connect: Connect, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.gateway.services.ROUNDS_INTERVAL", 3600.0)  # it is written when the test says so
    first, second = make_gateway(database_url), make_gateway(database_url)
    now, clock = time.time(), {"jump": 0.0}
    monkeypatch.setattr(time, "time", lambda: now + clock["jump"])

    def call_all() -> None:
        for gateway in (first, second):
            gateway.presence.write()
        for gateway in (first, second):
            RollCall(gateway.store.devices, gateway.connections, gateway.note_sent_away).call()

    older = connect(first)
    older.log_in("a")
    call_all()
    clock["jump"] = -100.0
    newer = connect(second)
    newer.log_in("a")
    call_all()
    for clock["jump"] in (1.0, 100.0):
        call_all()
    assert older.hear() == {"op": "bye", "reason": "replaced", "retry_after": 60.0}
    assert newer.ask(op="ping") == {"op": "pong"}


def test_presence_is_there_after_a_stop(make_gateway: MakeGateway, connect: Connect, sqlite_url: str) -> None:
    gateway = make_gateway(sqlite_url)
    gone, here = connect(gateway), connect(gateway)
    gone.log_in("gone")
    gone.close()
    here.log_in("here")
    gateway.stop()
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        found = database.execute("SELECT name, connected_at, last_seen_at FROM devices ORDER BY name").fetchall()
    database.close()
    assert [row[0] for row in found] == ["gone", "here"]
    assert all(connected and seen and connected[:16] <= seen[:16] for _, connected, seen in found)


def test_a_gateway_goes_on_with_the_tables_that_are_there(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    first = make_gateway(database_url)
    with connect(first) as device:
        device.log_in("a")
    first.stop()
    second = make_gateway(database_url)
    assert connect(second).log_in("a")["last_seq"] == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes wait for the database for half a second only."""
    monkeypatch.setattr("mooring.gateway.writers.QUEUE_TIMEOUT", 0.5)


@pytest.mark.usefixtures("impatient")
def test_a_full_disk_is_unavailable_and_the_device_can_push_when_there_is_room_again(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str
) -> None:
    pool = open_pool(sqlite_url, min_size=1, max_size=1)
    gateway = make_gateway(pool)
    device = connect(gateway)
    device.log_in("a")
    # SQLite's own limit of pages gives the very error of a full disk (SQLITE_FULL).
    with pool.connection() as lease:
        pages = lease.execute("PRAGMA page_count").fetchone()[0]
        lease.execute(f"PRAGMA max_page_count = {pages}")
    data = "x" * 60_000
    for _ in range(2):
        answer = device.ask(op="push", seq=1, data=data)
        assert (answer["op"], answer["of"], answer["seq"]) == ("error", "push", 1)
        assert (answer["code"], answer["retry"]) == ("unavailable", True)
        assert "/" not in answer["detail"]  # no path of the database for the outside world
    assert rows(gateway) == []
    with pool.connection() as lease:
        lease.execute("PRAGMA max_page_count = 1000000")
    assert device.ask(op="push", seq=1, data=data) == {"op": "ack", "seq": 1}
    assert rows(gateway) == [("a", 1, f'"{data}"')]


@pytest.mark.usefixtures("impatient")
def test_a_locked_database_is_unavailable(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.db.sqlite.BUSY_TIMEOUT", 0.1)
    gateway = make_gateway(sqlite_url)
    device = connect(gateway)
    device.log_in("a")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        assert device.ask(op="push", seq=1, data=1)["code"] == "unavailable"
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert device.ask(op="push", seq=1, data=1) == {"op": "ack", "seq": 1}


@pytest.mark.usefixtures("impatient")
def test_a_dead_database_is_unavailable_and_the_same_connection_goes_on_when_it_is_back(
    own_mariadb: MariaDB, make_gateway: MakeGateway, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = make_gateway(open_pool(own_mariadb.url(), timeout=0.5))
    device = connect(gateway)
    device.log_in("a")
    assert device.ask(op="push", seq=1, data=1) == {"op": "ack", "seq": 1}
    own_mariadb.kill()
    answer = device.ask(op="push", seq=2, data=2)
    assert (answer["code"], answer["retry"], answer["seq"]) == ("unavailable", True, 2)
    newcomer = connect(gateway)
    answer = newcomer.ask(op="hello", device="b")
    assert (answer["code"], answer["of"], answer["retry"]) == ("unavailable", "hello", True)
    own_mariadb.start()
    wait_until(lambda: device.ask(op="push", seq=2, data=2) == {"op": "ack", "seq": 2})
    assert newcomer.log_in("b")["last_seq"] == 0
    assert rows(gateway) == [("a", 1, "1"), ("a", 2, "2")]
    assert any("'a'" in record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)


def test_the_banner_says_what_the_gateway_is(
    make_gateway: MakeGateway, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make_gateway(sqlite_url)
    lines = banner([gateway.introduction()]).splitlines()
    assert lines[0].endswith(", model hybrid, 2-64 threads, gateway (JSON lines)")
    assert lines[1].startswith(f"listening  tcp://127.0.0.1:{gateway.port} ")
    assert lines[2].startswith(f"storing    {sqlite_url} ")
    assert lines[2].endswith("   table pushes; kept when the server ends")
    hello_and_push = r"""printf '{"op":"hello","device":"a"}\n{"op":"push","seq":1,"data":{"v":1}}\n"""
    assert lines[3:] == [
        "devices    any name may log in (--auth none)",
        f"try        {hello_and_push}' | nc -N 127.0.0.1 {gateway.port}",
        "stop       Ctrl-C drains, a second one stops at once",
    ]


def test_the_banner_warns_where_the_network_can_reach_a_gateway_without_passwords(sqlite_url: str) -> None:
    gateway = server(database=sqlite_url, bind="tcp://0.0.0.0:0", auth="none")
    with gateway:
        warnings = [fact for fact in gateway.facts() if fact[0] == "warning"]
        assert len(warnings) == 1
        assert f"tcp://0.0.0.0:{gateway.port}" in warnings[0][1]
        assert gateway.facts()[-1][1].endswith(f"nc -N 127.0.0.1 {gateway.port}")


def test_a_unix_socket_and_a_database_in_memory_are_said_for_what_they_are(folder: Path) -> None:
    with server(database="sqlite:///:memory:", bind=f"unix:{folder}/s") as gateway:
        facts = {word: (value, remark) for word, value, remark in gateway.facts()}
        assert facts["storing"][1] == "table pushes; gone when the server ends"
        assert facts["try"][0].endswith(f"nc -N -U {folder}/s")


def test_more_pushes_at_once_than_the_pool_has_connections_wait_their_turn(
    make_gateway: MakeGateway, connect: Connect
) -> None:
    # One connection, a thread for each device, and a statement for each push.
    gateway = make_gateway("sqlite:///:memory:", model="threads", group_commit=False)
    pool = gateway.database
    assert pool is not None
    devices = [connect(gateway) for _ in range(120)]
    for number, device in enumerate(devices):
        device.log_in(str(number))
    with pool.connection():
        for device in devices:
            device.say(op="push", seq=1, data=1)
        wait_until(lambda: pool.stats().waiting >= len(devices))
    assert [device.hear() for device in devices] == [{"op": "ack", "seq": 1}] * len(devices)


def test_the_database_can_be_replaced_before_the_start_and_not_taken_away(folder: Path, sqlite_url: str) -> None:
    gateway = server(database=f"sqlite:///{folder}/unused.db", bind="tcp://127.0.0.1:0")
    gateway.database = sqlite_url
    with pytest.raises(ValueError, match="needs a database"):
        gateway.database = None
    with gateway:
        assert gateway.database is not None
        assert str(gateway.database.url) == sqlite_url
    assert not (folder / "unused.db").exists()


@pytest.mark.parametrize("name", ["handler", "framing", "lifespan"])
def test_what_is_the_gateways_own_cannot_be_given(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        server(**{name: None})


def test_a_batch_that_comes_again_leaves_nothing_behind_in_memory(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    device.log_in("a")
    batch = [{"at": 1763879997.5, "data": number} for number in range(20)]
    for _ in range(3):
        assert device.ask(op="push", seq=1, batch=batch) == {"op": "ack", "seq": 20}
    assert gateway.writer._repeated == set()  # type: ignore[attr-defined]
