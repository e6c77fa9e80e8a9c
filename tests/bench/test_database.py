"""The pool's own measurements, in an instant: that they run to their end and leave the figures that the goals want."""

from __future__ import annotations

import pytest

from mooring.bench.goals import evaluate
from mooring.bench.measurements import database, faults
from mooring.bench.session import Session


def test_the_pools_are_measured_beside_each_other(session: Session) -> None:
    database.measure(session)
    assert not session.results.left_out
    outcomes = evaluate(session.results, database.GOALS)
    assert [outcome.note for outcome in outcomes if outcome.value is None] == []


def test_the_faults_are_measured(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "SHORTEST_ABSENCE", 1.0)
    monkeypatch.setattr(faults, "BEFORE_ABSENCE", 0.2)
    faults.measure(session)
    assert not session.results.left_out
    outcomes = {outcome.goal.title: outcome for outcome in evaluate(session.results, faults.GOALS)}
    assert all(outcome.value is not None for outcome in outcomes.values())
    assert all(outcome.reached for title, outcome in outcomes.items() if title.startswith("soak"))


def test_a_caller_who_starves_counts_for_all_that_it_would_have_asked() -> None:
    assert database.as_asked([3, 10], 4) == [3, 10, 6]
    assert database.as_asked([4, 8, 9], 4) == [4, 8, 4, 9, 5]
    waits = [0] * 1000 + [6_000]  # one of eight never came to its turn: 0.1 % of the loans, and not of the callers
    assert sorted(database.as_asked(waits, 4))[-20] > 5_000
