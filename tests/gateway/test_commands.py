"""Commands: at least once, in order, one at a time, not after their time, with an answer that is kept."""

from __future__ import annotations

import time

import pytest
from devices import Connect, MakeGateway
from waiting import wait_until

from mooring.gateway import Gateway
from mooring.gateway.store import Store
from mooring.gateway.tables.commands import CommandRow

NOW = 1763880000.125


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for commands follow each other quickly."""
    monkeypatch.setattr("mooring.gateway.services.DISPATCH_INTERVAL", 0.02)


def command(gateway: Gateway, name: str, data: str, expires: float | None = None) -> int:
    number = gateway.store.devices.find(name)
    assert number is not None
    now = time.time()
    return gateway.store.commands.add(number, data, now, now + expires if expires is not None else None)


def row(gateway: Gateway, number: int) -> CommandRow:
    found = gateway.store.commands.find(number)
    assert found is not None
    return found


def test_a_command_reaches_a_device_that_is_here_and_its_result_is_kept(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    gateway = make_gateway(database_url)
    device, other = connect(gateway), connect(gateway)
    device.log_in("a")
    other.log_in("b")
    began = time.monotonic()
    number = command(gateway, "a", '{"led" : "on"}')
    assert device.recv() == b'{"op":"command","id":%d,"data":{"led" : "on"}}' % number
    assert time.monotonic() - began < 5  # within a second on a machine that is not overloaded
    assert row(gateway, number).sent_at is not None
    assert device.ask(op="done", id=number, result={"is": "on"}) == {"op": "ack", "id": number}
    assert (row(gateway, number).result, row(gateway, number).error) == ('{"is": "on"}', None)
    assert row(gateway, number).done_at is not None
    assert other.ask(op="ping") == {"op": "pong"}


@pytest.mark.usefixtures("quick")
def test_commands_come_in_the_order_of_their_ids_and_one_at_a_time(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    device.log_in("a")
    numbers = [command(gateway, "a", str(n)) for n in range(5)]
    assert numbers == sorted(numbers)
    heard = [device.hear()]
    for n, number in enumerate(numbers):
        assert heard == [{"op": "command", "id": number, "data": n}]
        assert device.ask(op="ping") == {"op": "pong"}  # and no second command before it
        device.say(op="done", id=number)
        heard = [device.hear() for _ in range(2 if number != numbers[-1] else 1)]
        heard.remove({"op": "ack", "id": number})  # the next command may come before it
    assert [row(gateway, number).result for number in numbers] == ["null"] * 5


@pytest.mark.usefixtures("quick")
def test_a_command_for_a_device_that_is_away_waits_for_its_login_and_comes_again_until_it_is_answered(
    gateway: Gateway, connect: Connect
) -> None:
    connect(gateway).log_in("a")
    number = command(gateway, "a", "1")
    with connect(gateway) as first:
        first.log_in("a")
        assert first.hear() == {"op": "command", "id": number, "data": 1}
    second = connect(gateway)
    second.log_in("a")
    assert second.hear() == {"op": "command", "id": number, "data": 1}
    assert second.ask(op="done", id=number, error="no such lamp") == {"op": "ack", "id": number}
    assert (row(gateway, number).result, row(gateway, number).error) == (None, "no such lamp")
    third = connect(gateway)
    third.log_in("a")
    follower = command(gateway, "a", "2")
    assert third.hear()["id"] == follower  # not the one that was answered


@pytest.mark.usefixtures("quick")
def test_an_answer_that_comes_again_is_acknowledged_and_the_first_one_stays(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    device.log_in("a")
    number = command(gateway, "a", "1")
    device.hear()
    for result in (1, 2):
        assert device.ask(op="done", id=number, result=result) == {"op": "ack", "id": number}
    assert row(gateway, number).result == "1"
    assert gateway.store.commands.finish(number, 999, time.time(), "3", None) is False


@pytest.mark.usefixtures("quick")
def test_a_command_is_not_sent_after_its_time_and_the_next_one_is(gateway: Gateway, connect: Connect) -> None:
    connect(gateway).log_in("a")
    late = command(gateway, "a", "1", expires=-1)
    good = command(gateway, "a", "2", expires=60)
    device = connect(gateway)
    device.log_in("a")
    message = device.hear()
    assert (message["id"], message["data"]) == (good, 2)
    assert abs(message["expires"] - time.time() - 60) < 30
    wait_until(lambda: row(gateway, late).done_at)
    assert row(gateway, late).error == "expired"
    assert row(gateway, late).sent_at is None


@pytest.mark.usefixtures("quick")
def test_an_unanswered_command_blocks_the_next_one_only_until_it_expires(gateway: Gateway, connect: Connect) -> None:
    device = connect(gateway)
    device.log_in("a")
    first = command(gateway, "a", "1", expires=0.5)
    second = command(gateway, "a", "2")
    assert device.hear()["id"] == first
    assert device.hear()["id"] == second
    wait_until(lambda: row(gateway, first).error == "expired")
    # What was done all the same is told all the same.
    assert device.ask(op="done", id=first, result="late") == {"op": "ack", "id": first}
    assert (row(gateway, first).result, row(gateway, first).error) == ('"late"', None)


def test_an_answer_to_a_command_that_is_not_the_devices_is_an_error(gateway: Gateway, connect: Connect) -> None:
    device, other = connect(gateway), connect(gateway)
    device.log_in("a")
    other.log_in("b")
    number = command(gateway, "b", "1")
    for id in (number, number + 1000):
        answer = device.ask(op="done", id=id, result=1)
        assert (answer["of"], answer["id"], answer["code"], answer["retry"]) == ("done", id, "unknown_name", False)
    assert row(gateway, number).done_at is None


@pytest.mark.usefixtures("quick")
def test_two_servers_bring_a_command_to_the_device_that_only_one_of_them_has(
    make_gateway: MakeGateway, connect: Connect, database_url: str
) -> None:
    one, other = make_gateway(database_url), make_gateway(database_url)
    device = connect(other)
    device.log_in("a")
    number = command(one, "a", "1")
    assert device.hear() == {"op": "command", "id": number, "data": 1}
    assert device.ask(op="done", id=number) == {"op": "ack", "id": number}


def test_expired_commands_are_ended_in_portions(store: Store) -> None:
    device = store.devices.log_in("a", NOW).device
    numbers = [store.commands.add(device.id, "1", NOW, NOW + 1) for _ in range(3)]
    keeps = store.commands.add(device.id, "1", NOW, NOW + 100)
    assert store.commands.expire(NOW + 2) == 3
    assert store.commands.expire(NOW + 2) == 0
    assert [due.id for due in store.commands.next_for([device.id], NOW + 2)] == [keeps]
    assert [store.commands.find(number).error for number in numbers] == ["expired"] * 3  # type: ignore[union-attr]


def test_ids_are_never_used_twice(store: Store) -> None:
    device = store.devices.log_in("a", NOW).device
    number = store.commands.add(device.id, "1", NOW, None)
    with store.database.lease() as lease:
        lease.execute("DELETE FROM commands WHERE id = %s", (number,))
    assert store.commands.add(device.id, "1", NOW, None) > number


@pytest.mark.usefixtures("quick")
def test_an_answer_that_can_never_be_taken_ends_its_command_and_the_next_one_comes(
    gateway: Gateway, connect: Connect
) -> None:
    device = connect(gateway)
    device.log_in("a")
    first, second = command(gateway, "a", "1"), command(gateway, "a", "2")
    assert device.hear()["id"] == first
    device.send(b'{"op":"done","id":%d,"result":%b}' % (first, b"[" * 70 + b"]" * 70))
    heard = sorted((device.hear(), device.hear()), key=lambda said: said["op"])
    assert heard[0] == {"op": "command", "id": second, "data": 2}
    assert (heard[1]["code"], heard[1]["id"], heard[1]["retry"]) == ("bad_json", first, False)
    assert "the device's answer was refused" in (row(gateway, first).error or "")
