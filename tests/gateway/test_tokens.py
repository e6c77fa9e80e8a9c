"""Who is let in: tokens, and what an answer tells to those who have none."""

from __future__ import annotations

import time
from typing import Any

import pytest
from devices import Connect, Device, MakeGateway

from mooring import CloseReason, ConnectionClosed, Limits
from mooring.db import ConnectionPool, Lease, open_pool
from mooring.gateway import Gateway, server
from mooring.gateway.store import Store, Unauthorized
from mooring.gateway.tables.devices import DeviceExists
from mooring.gateway.tokens import hash_of, make_token

NOW = 1763880000.125


def let_in(gateway: Gateway, name: str) -> str:
    token = make_token()
    gateway.store.devices.add(name, hash_of(token), time.time())
    return token


def test_only_a_device_with_its_token_is_let_in(make_gateway: MakeGateway, connect: Connect, database_url: str) -> None:
    gateway = make_gateway(database_url, auth="token")
    token = let_in(gateway, "meter-7")
    let_in(gateway, "meter-8")
    device = connect(gateway)
    assert device.ask(op="hello", device="meter-7", token=token)["op"] == "welcome"
    assert device.ask(op="push", seq=1, data=1) == {"op": "ack", "seq": 1}
    for wrong in ({}, {"token": ""}, {"token": token + "x"}, {"token": "\u00e9"}):
        other = connect(gateway)
        assert other.ask(op="hello", device="meter-7", **wrong)["code"] == "unauthorized"
        assert list(other) == []
    assert connect(gateway).ask(op="hello", device="meter-8", token=token)["code"] == "unauthorized"
    assert device.ask(op="push", seq=2, data=1) == {"op": "ack", "seq": 2}  # nobody has thrown it out


def test_wrong_tokens_shut_the_door_to_their_address_and_leave_those_who_are_in(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url, auth="token", limits=Limits(strikes=2))
    token = let_in(gateway, "meter-7")
    device = connect(gateway)
    assert device.ask(op="hello", device="meter-7", token=token)["op"] == "welcome"
    for _ in range(2):
        assert connect(gateway).ask(op="hello", device="meter-7", token="guess")["code"] == "unauthorized"
    assert list(connect(gateway)) == []
    assert gateway.stats().offences == {"login": 2}
    assert gateway.stats().refusals == {"strikes": 1}
    assert device.ask(op="push", seq=1, data=1) == {"op": "ack", "seq": 1}


def test_an_unknown_device_and_a_wrong_token_get_the_same_answer(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url, auth="token")
    let_in(gateway, "known")
    gateway.store.devices.log_in("without", NOW)
    answers = [
        connect(gateway).ask(op="hello", device=name, token=make_token()) for name in ("known", "unknown", "without")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] | {"detail": ""} == {
        "op": "error",
        "of": "hello",
        "code": "unauthorized",
        "retry": False,
        "detail": "",
    }


def test_an_unknown_device_and_a_wrong_token_cost_the_same_statements(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.devices.add("known", hash_of(make_token()), NOW)
    executed: list[str] = []
    execute = Lease.execute

    def note(self: Lease, sql: str, params: Any = ()) -> Any:
        executed.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(Lease, "execute", note)
    seen = []
    for name in ("known", "unknown"):
        executed.clear()
        with pytest.raises(Unauthorized):
            store.devices.authenticate(name, make_token())
        seen.append(list(executed))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1


def test_a_token_is_not_kept_and_not_guessed(store: Store, pool: ConnectionPool) -> None:
    token = make_token()
    assert len(token) == 43
    assert token != make_token()
    store.devices.add("a", hash_of(token), NOW)
    with pool.connection() as lease:
        kept = bytes(lease.execute("SELECT token_hash FROM devices").fetchone()[0])
    assert kept == hash_of(token)
    assert token.encode() not in kept


def test_a_device_gets_a_token_once_until_it_is_taken_away(store: Store) -> None:
    store.devices.log_in("a", NOW)  # known without one
    store.devices.add("a", hash_of("one"), NOW)
    with pytest.raises(DeviceExists):
        store.devices.add("a", hash_of("two"), NOW)
    assert store.devices.authenticate("a", "one").device.name == "a"
    assert store.devices.take_token("a")
    assert not store.devices.take_token("a")
    with pytest.raises(Unauthorized):
        store.devices.authenticate("a", "one")
    store.devices.add("a", hash_of("two"), NOW)
    assert store.devices.authenticate("a", "two").device.name == "a"


def test_a_device_whose_token_is_taken_away_is_sent_away(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mooring.gateway.rounds.FULL_INTERVAL", 0.0)
    monkeypatch.setattr("mooring.gateway.services.ROUNDS_INTERVAL", 0.05)
    gateway = make_gateway(sqlite_url, auth="token")
    device, other = connect(gateway), connect(gateway)
    device.ask(op="hello", device="a", token=let_in(gateway, "a"))
    other.ask(op="hello", device="b", token=let_in(gateway, "b"))
    gateway.store.devices.take_token("a")
    bye = device.hear()
    assert (bye["op"], bye["reason"]) == ("bye", "removed")
    assert bye["retry_after"] >= 60
    assert list(device) == []
    assert other.ask(op="ping") == {"op": "pong"}
    assert gateway.counters["removed"] == 1


@pytest.mark.parametrize(
    ("bind", "auth", "expected"),
    [
        ("tcp://127.0.0.1:0", None, "none"),
        ("unix:/tmp/never-made", None, "none"),
        ("tcp://0.0.0.0:0", None, "token"),
        (["tcp://127.0.0.1:0", "tcp://[::]:0"], None, "token"),
        ("tcp://0.0.0.0:0", "none", "none"),
        ("tcp://127.0.0.1:0", "token", "token"),
    ],
)
def test_any_name_may_log_in_only_while_nobody_else_can_reach_it_unless_that_is_said(
    bind: Any, auth: str | None, expected: str
) -> None:
    assert server(database="sqlite:///:memory:", bind=bind, auth=auth).auth == expected


def test_the_banner_says_how_to_let_devices_in_and_warns_of_the_network(sqlite_url: str) -> None:
    with server(database=sqlite_url, bind="tcp://0.0.0.0:0") as gateway:
        facts = {word: value for word, value, _ in gateway.facts()}
        assert "--auth token" in facts["devices"]
        assert f"devices add NAME --database {sqlite_url}" in facts["devices"]
        assert "nothing is encrypted" in facts["warning"]
        with Device(f"tcp://127.0.0.1:{gateway.port}") as device:
            assert device.ask(op="hello", device="a")["code"] == "unauthorized"


def test_an_auth_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of none, token"):
        server(database="sqlite:///:memory:", auth="password")


def test_the_tables_are_the_same_for_a_pool_of_the_users_own(sqlite_url: str) -> None:
    with open_pool(sqlite_url) as pool, server(database=pool, bind="tcp://127.0.0.1:0") as gateway:
        assert gateway.database is pool


def test_a_connection_that_does_not_log_in_ends_however_much_it_pings(
    make_gateway: MakeGateway, connect: Connect, sqlite_url: str
) -> None:
    gateway = make_gateway(sqlite_url, first_message_timeout=0.3)
    device = connect(gateway)
    device.log_in("a")
    other = connect(gateway)
    other.ask(op="ping")
    connection = next(one for one in gateway.connections if one.name is None)
    with pytest.raises(ConnectionClosed):
        while True:
            other.ask(op="ping")
    assert connection.close_reason is CloseReason.FIRST_MESSAGE
    assert connection._close_detail == "no hello within 0.3 s (first_message_timeout)"
    assert device.ask(op="ping") == {"op": "pong"}
