"""A fleet whose gateway is killed comes back and settles what it has; in small, on SQLite."""

from __future__ import annotations

from pathlib import Path

from mooring.bench.goals import evaluate
from mooring.bench.measurements import relogin
from mooring.bench.pushing import SQLiteTables
from mooring.bench.session import Session


def test_devices_come_back_to_a_gateway_that_was_killed(session: Session, folder: Path) -> None:
    relogin.kill_and_start(session, SQLiteTables(folder, 20), 20)
    outcomes = evaluate(session.results, relogin.goals(20))
    assert [outcome.goal.title for outcome in outcomes if not outcome.reached] == []
