"""One name at several servers of one database."""

from __future__ import annotations

import pytest
from clock import Clock
from devices import Connect, Device, MakeGateway
from waiting import wait_until

from mooring import CloseReason
from mooring.gateway import Gateway, roll_call, rounds
from mooring.gateway.rounds import Rounds
from mooring.gateway.tables.database import Unavailable


@pytest.fixture
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round every moment, none of everything; and a login is found by it however long the process stood still."""
    monkeypatch.setattr("mooring.gateway.services.ROUNDS_INTERVAL", 0.02)
    monkeypatch.setattr(rounds, "FULL_INTERVAL", 3600.0)
    monkeypatch.setattr(roll_call, "LOOK_BACK", 60.0)


def log_in(gateway: Gateway, device: Device, name: str) -> None:
    """Returns when the login is written."""

    def connected_at() -> str | None:
        return next((row.connected_at for row in gateway.store.devices.rows() if row.name == name), None)

    before = connected_at()
    device.log_in(name)
    wait_until(lambda: connected_at() != before)


def test_a_login_at_another_server_closes_the_older_connection_without_a_look_at_everybody(
    make_gateway: MakeGateway, connect: Connect, database_url: str, quick_rounds: None
) -> None:
    here, there = make_gateway(database_url), make_gateway(database_url)
    device, other, newer = connect(here), connect(here), connect(there)
    other.log_in("b")
    log_in(here, device, "a")
    log_in(there, newer, "a")
    bye = device.hear()
    assert (bye["op"], bye["reason"], bye["retry_after"]) == ("bye", "replaced", 60.0)
    assert list(device) == []
    assert newer.ask(op="push", seq=1, data=1) == {"op": "ack", "seq": 1}
    assert other.ask(op="ping") == {"op": "pong"}


def test_two_devices_with_one_name_at_two_servers_are_warned_of_counted_and_slowed_down(
    make_gateway: MakeGateway,
    connect: Connect,
    sqlite_url: str,
    quick_rounds: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, there = make_gateway(sqlite_url), make_gateway(sqlite_url)
    for _ in range(4):
        device, twin = connect(here), connect(there)
        log_in(here, device, "twin")
        log_in(there, twin, "twin")
        assert device.hear()["reason"] == "replaced"
    assert (here.counters["replaced"], here.counters["takeover"]) == (4, 0)
    wait_until(lambda: here.stats().closed.get(CloseReason.REPLACED) == 4)
    answer = connect(here).ask(op="hello", device="twin")
    assert (answer["code"], answer["of"], answer["retry"]) == ("busy", "hello", True)
    assert twin.ask(op="ping") == {"op": "pong"}
    lines = [record.getMessage() for record in caplog.records if "again and again" in record.getMessage()]
    assert len(lines) == 1
    assert all(part in lines[0] for part in ("'twin'", str(device.socket.getsockname()[1]), "another server"))


class Done:
    """Presence and roll call that keep what they were told to do."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.is_away = False

    def _do(self, part: str) -> None:
        self.parts.append(part)
        if self.is_away:
            raise Unavailable("away")

    def write(self) -> None:
        self._do("write")

    def write_logins(self) -> None:
        self._do("write logins")

    def call(self) -> None:
        self._do("call")

    def look(self) -> None:
        self._do("look")


def make_rounds(done: Done, clock: Clock) -> Rounds:
    return Rounds(done, done, clock)  # type: ignore[arg-type]


def test_most_rounds_are_of_logins_and_one_in_ten_seconds_is_of_all() -> None:
    done, clock = Done(), Clock()
    round_ = make_rounds(done, clock)
    round_.make()
    clock.advance(rounds.FULL_INTERVAL)
    round_.make()
    round_.make()
    round_.end()
    assert done.parts == ["write logins", "look", "write", "call", "write logins", "look", "write"]


def test_looks_that_take_long_are_rare_and_logins_are_written_all_the_same() -> None:
    clock, seconds = Clock(), {"look": 0.02}

    class Slow(Done):
        def look(self) -> None:
            super().look()
            clock.advance(seconds["look"])

    done = Slow()
    round_ = make_rounds(done, clock)
    for _ in range(3):
        round_.make()
    clock.advance(0.02 / rounds.LOOK_SHARE)
    seconds["look"] = rounds.LONGEST_REST
    for _ in range(2):  # the next one need not wait, though this one took so long
        round_.make()
    assert done.parts == ["write logins", "look", "write logins", "write logins"] + ["write logins", "look"] * 2


def test_a_database_that_is_away_is_told_of_once_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    done = Done()
    round_ = make_rounds(done, Clock())
    for done.is_away in (True, True, True, False, True):
        round_.make()
    assert len(caplog.records) == 2
