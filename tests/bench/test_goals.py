"""What is judged, and how."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mooring.bench.goals import GOALS, Goal, Outcome, evaluate, table
from mooring.bench.results import Key, Results


def measured(value: Callable[[Goal], float]) -> Results:
    """Results in which each goal has just this value: all references are 1."""
    results = Results()
    for goal in GOALS:
        if goal.reference is not None and results.find(*goal.reference) is None:
            results.add(Key(*goal.reference), 1.0)
    for goal in GOALS:
        # Figures that several goals judge get the value of the strictest.
        if results.find(*goal.figure) is None:
            rivals = [value(other) for other in GOALS if other.figure == goal.figure]
            results.add(Key(*goal.figure), max(rivals) if goal.at_least else min(rivals))
    return results


def named(outcomes: list[Outcome], part: str) -> Outcome:
    return next(outcome for outcome in outcomes if part in outcome.goal.title)


def test_a_run_that_is_just_at_every_limit_reaches_all() -> None:
    outcomes = evaluate(measured(lambda goal: goal.limit))
    assert all(outcome.reached for outcome in outcomes)
    assert f"{len(GOALS)} of {len(GOALS)} goals reached" in table(outcomes)


@pytest.mark.parametrize("number", range(len(GOALS)), ids=lambda number: GOALS[number].title)
def test_each_goal_can_be_missed(number: int) -> None:
    goal = GOALS[number]
    results = measured(lambda other: other.limit)
    worse = Results()
    worse.add(Key(*goal.figure), goal.limit * (0.9 if goal.at_least else 1.1))
    results.take(worse)
    outcome = evaluate(results)[number]
    assert outcome.value is not None
    assert not outcome.reached
    assert "MISSED" in table([outcome])


def test_a_goal_is_a_ratio_of_medians() -> None:
    results = Results()
    for value in (10.0, 13.0, 99.0):
        results.add(Key("peers", "depth 1", "Mooring", "CPU per request", "us"), value)
    for value in (1.0, 10.0, 11.0):
        results.add(Key("peers", "depth 1", "redis-server", "CPU per request", "us"), value)
    outcome = named(evaluate(results), "depth 1, to redis-server")
    assert outcome.value == pytest.approx(1.3)
    assert outcome.note == "13 us to 10 us"


def test_what_was_not_measured_is_not_reached_and_says_what_is_missing() -> None:
    outcome = named(evaluate(Results()), "depth 1, to redis-server")
    assert not outcome.reached
    assert outcome.note == "there is no CPU per request of Mooring (peers, depth 1)"
    half = Results()
    half.add(Key("peers", "depth 1", "Mooring", "CPU per request", "us"), 10.0)
    assert "redis-server" in named(evaluate(half), "depth 1, to redis-server").note


def test_what_was_not_measured_is_told_apart_from_what_was_missed() -> None:
    results = Results()
    results.add(Key("peers", "depth 1", "Mooring", "CPU per request", "us"), 99.0)
    results.add(Key("peers", "depth 1", "redis-server", "CPU per request", "us"), 1.0)
    text = table(evaluate(results))
    lines = text.splitlines()
    assert [line for line in lines if "MISSED" in line] == [line for line in lines if "depth 1, to redis" in line]
    assert sum("not measured" in line for line in lines[:-1]) == len(GOALS) - 1
    assert lines[-1] == f"0 of 1 goals reached, {len(GOALS) - 1} not measured"


def test_a_reference_of_zero_is_no_figure() -> None:
    results = Results()
    results.add(Key("peers", "depth 1", "Mooring", "CPU per request", "us"), 10.0)
    results.add(Key("peers", "depth 1", "redis-server", "CPU per request", "us"), 0.0)
    outcome = named(evaluate(results), "depth 1, to redis-server")
    assert outcome.value is None
    assert not outcome.reached


def test_every_way_to_wait_in_every_shape_has_its_goals() -> None:
    for shape in ("function", "Router"):
        for way in ("announced", "lease", "unannounced"):
            titles = [goal.title for goal in GOALS if goal.title.startswith(f"Mooring, {shape}, {way}:")]
            assert len(titles) == 3
