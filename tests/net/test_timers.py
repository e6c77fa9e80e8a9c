"""What the loop is to call at some time: in order, on time, and nothing is lost when a call fails."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mooring.net.loop.timers import Timers


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """Timers whose clock stands at 100 s."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    state: Any = SimpleNamespace(leader=None)
    return Timers(state)


def test_what_is_due_is_called_by_time_and_then_by_the_order_in_which_it_was_asked_for(timers: Timers) -> None:
    called: list[str] = []
    for name, delay in (("third", 3.0), ("first", 1.0), ("second", 2.0), ("second, too", 2.0), ("later", 3.5)):
        timers.call_later(delay, lambda name=name: called.append(name))  # type: ignore[misc]
    timers.run(103.0)
    assert called == ["first", "second", "second, too", "third"]
    assert timers.next_due == 103.5


def test_without_any_there_is_no_next_one(timers: Timers) -> None:
    assert timers.next_due == math.inf
    timers.call_later(1.0, lambda: None)
    assert timers.next_due == 101.0
    timers.run(101.0)
    assert timers.next_due == math.inf


def test_a_call_may_ask_for_another_one(timers: Timers) -> None:
    timers.call_later(1.0, lambda: timers.call_later(5.0, lambda: None))
    timers.run(101.0)
    assert timers.next_due == 105.0


def test_a_call_that_fails_takes_no_other_with_it(timers: Timers) -> None:
    called: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    timers.call_later(1.0, fail)
    timers.call_later(2.0, lambda: called.append("next"))
    with pytest.raises(ZeroDivisionError):
        timers.run(110.0)
    assert timers.next_due == 102.0
    timers.run(110.0)
    assert called == ["next"]
