"""When a name that is taken over again and again is warned of."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from mooring.gateway import takeovers
from mooring.gateway.presence import Presence
from mooring.gateway.roll_call import RollCall
from mooring.gateway.takeovers import Takeovers
from mooring.gateway.times import to_text
from mooring.net.connection.connections import Connections


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_fourth_takeover_in_a_minute_is_warned_of_once() -> None:
    watch = Takeovers(Clock())
    assert [watch.note("a") for _ in range(8)] == [False, False, False, True, False, False, False, False]


def test_a_name_that_changes_hands_too_often_stays_with_whoever_has_it_for_a_while() -> None:
    clock = Clock()
    watch = Takeovers(clock)
    for _ in range(3):
        watch.note("a")
        assert watch.pause("a", is_here=True) == 0.0
    watch.note("a")
    assert watch.pause("a", is_here=True) == takeovers.PAUSE
    assert watch.pause("b", is_here=True) == 0.0
    clock.now += takeovers.PAUSE
    assert watch.pause("a", is_here=True) == 0.0
    watch.note("a")
    assert watch.pause("a", is_here=True) == takeovers.PAUSE
    clock.now += takeovers.WINDOW
    assert watch.pause("a", is_here=True) == 0.0


def test_a_name_that_went_to_another_server_too_often_is_kept_out_here() -> None:
    clock = Clock()
    watch = Takeovers(clock)
    for _ in range(4):
        watch.note("here")
        watch.note("there", elsewhere=True)
    assert watch.pause("here", is_here=False) == 0.0  # nobody has it any more
    assert watch.pause("there", is_here=False) == takeovers.PAUSE
    clock.now += takeovers.PAUSE
    assert watch.pause("there", is_here=False) == 0.0


def test_takeovers_that_are_far_apart_are_not() -> None:
    clock = Clock()
    watch = Takeovers(clock)
    for _ in range(10):
        assert not watch.note("a")
        clock.now += 20.1


def test_each_name_is_counted_by_itself() -> None:
    watch = Takeovers(Clock())
    assert not any(watch.note(name) for name in "abc" * 3)


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeovers, "MOST_NAMES", 100)
    watch = Takeovers(Clock())
    for number in range(1000):
        watch.note(str(number))
    assert len(watch._names) == 100


def test_a_login_in_the_future_was_written_by_a_wrong_clock_and_sends_nobody_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away: list[str] = []
    now = time.time()
    stored = {"value": to_text(now + 3600)}

    class Devices:
        def roll_call(self, numbers: list[int]) -> dict[int, tuple[None, str]]:
            return dict.fromkeys(numbers, (None, stored["value"]))

    visit: Any = SimpleNamespace(
        device=SimpleNamespace(id=1, token_hash=None),
        began=now - 10,
        is_written=False,
        connection=SimpleNamespace(close_reason=None),
        send_away=lambda reason, retry_after: None,
    )
    roll_call = RollCall(Devices(), Connections(), lambda visit, reason: away.append(reason))  # type: ignore[arg-type]
    roll_call._call([visit])
    assert away == []
    monkeypatch.setattr(time, "time", lambda: now + 3601)  # and it says no more when the time has come
    roll_call._call([visit])
    assert away == []
    stored["value"] = to_text(now + 3600.5)
    roll_call._call([visit])
    assert away == ["replaced"]


def test_a_login_counts_as_later_than_those_before_it_though_the_clock_was_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Names:
        def get(self, name: str) -> object:
            return visit.connection

    def log_in(before: float = 0.0) -> float:
        assert presence.connected(visit, before)
        began: float = visit.began
        return began

    device = SimpleNamespace(id=1, name="a", token_hash=None)
    visit: Any = SimpleNamespace(device=device, connection=object(), began=None)
    written: list[float | None] = []

    class Devices:
        def note_presence(self, rows: list[tuple[float | None, float, int]]) -> None:
            written.append(rows[0][0])
            written.append(log_in())  # in the very moment of the write

    presence = Presence(Devices(), Names())  # type: ignore[arg-type]
    presence._note_open = lambda: None  # type: ignore[method-assign]
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    first = log_in()
    monkeypatch.setattr(time, "time", lambda: 4000.0)
    second = log_in()
    presence.write()
    assert written[0] == second
    assert to_text(first) < to_text(second) < to_text(written[1] or 0.0)
    assert to_text(log_in(before=6000.0)) > to_text(6000.0)  # what another server has written
    monkeypatch.setattr(time, "time", lambda: 7000.0)
    assert log_in() == 7000.0


def test_of_two_logins_that_race_the_one_that_has_the_name_stays() -> None:
    class Names:
        def get(self, name: str) -> object:
            return second.connection

    def visit() -> Any:
        return SimpleNamespace(device=SimpleNamespace(id=1, name="a", token_hash=None), connection=object(), began=None)

    first, second = visit(), visit()
    presence = Presence(None, Names())  # type: ignore[arg-type]
    # The second took the name from the first, which comes to be noted only after that.
    assert presence.connected(second)
    assert not presence.connected(first)
    assert presence._noted == {1: (second.began, second.began)}
    assert first.began is None
