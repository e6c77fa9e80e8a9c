"""Log lines that a peer can cause are few, and none is lost without a word."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from clock import Clock

from mooring.net.rare import RareLog


@pytest.fixture
def rare(clock: Clock, caplog: pytest.LogCaptureFixture) -> RareLog:
    caplog.set_level(logging.DEBUG)
    return RareLog(logging.getLogger("mooring.test"), burst=3, window=60.0, clock=clock)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_first_lines_of_a_kind_pass_and_the_last_of_them_says_that_more_are_left_out(
    rare: RareLog, lines: Callable[[], list[str]]
) -> None:
    for number in range(10):
        rare.log(logging.INFO, "kind", "line %d", number)
    assert lines() == ["line 0", "line 1", "line 2", "kind: further lines are left out for up to 60 s"]


def test_the_next_window_says_how_many_were_left_out(
    rare: RareLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    for number in range(10):
        rare.log(logging.INFO, "kind", "line %d", number)
    clock.now += 59.9
    rare.log(logging.INFO, "kind", "still left out")
    clock.now += 0.1
    rare.log(logging.INFO, "kind", "again")
    assert lines()[4:] == ["kind: 8 more lines were left out", "again"]


def test_one_kind_does_not_silence_another(rare: RareLog, lines: Callable[[], list[str]]) -> None:
    for _ in range(10):
        rare.log(logging.INFO, "noisy", "noise")
    rare.log(logging.ERROR, "quiet", "heard")
    assert lines()[-1] == "heard"


def test_nothing_is_said_of_left_out_lines_when_there_were_none(
    rare: RareLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    rare.log(logging.INFO, "kind", "one")
    clock.now += 1000
    rare.log(logging.INFO, "kind", "two")
    assert lines() == ["one", "two"]


def test_the_traceback_goes_with_the_line(rare: RareLog, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ZeroDivisionError("on purpose")
    except ZeroDivisionError:
        rare.log(logging.ERROR, "kind", "failed", exc_info=True)
    assert "ZeroDivisionError: on purpose" in caplog.text
