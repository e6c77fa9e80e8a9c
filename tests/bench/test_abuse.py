"""Abuse in small: that all kinds run, and leave the figures that the goals want."""

from __future__ import annotations

from dataclasses import replace

from mooring.bench.abuser import Manner
from mooring.bench.goals import evaluate
from mooring.bench.measurements import abuse
from mooring.bench.measurements.abuse import ABUSES, LIMITED, SERVER
from mooring.bench.session import Session


def test_healthy_devices_are_watched_beside_abusers(session: Session) -> None:
    words = ("nobody", "silent conn", "wrong authority")
    kinds = [one for one in abuse.smaller(ABUSES, 0.01) if any(word in one.name for word in words)]
    abuse.measure(session, kinds)
    assert session.results.left_out == {}
    outcomes = evaluate(session.results, abuse.goals(kinds))
    assert len(outcomes) == 2 * 3 * len(words)
    assert all(outcome.value is not None for outcome in outcomes)
    assert all(outcome.reached for outcome in outcomes if "lost" in outcome.goal.title)
    for kind in kinds:
        made = session.results.find(abuse.BENCHMARK, kind.name, SERVER.name, "abusive connections")
        assert made is not None
        assert made.median >= kind.manner.count
        assert session.results.find(abuse.BENCHMARK, kind.name, LIMITED.name, "abusive connections") is not None
    failed = session.results.find(abuse.BENCHMARK, kinds[-1].name, SERVER.name, "closed: tls_certificate")
    assert failed is not None
    assert failed.median > 0


def test_who_comes_and_goes_is_counted_by_the_reason_for_which_it_went(session: Session) -> None:
    greeting = b"PING\r\n"
    manner = Manner(5, rate=200, greeting=greeting, lifetime=0.01)
    abuse.measure(session, [replace(ABUSES[0], name="come and go", manner=manner)])
    closed = session.results.find(abuse.BENCHMARK, "come and go", SERVER.name, "closed: reset")
    assert closed is not None
    assert closed.median > 0


def test_a_manner_goes_to_the_program_and_back() -> None:
    for one in ABUSES:
        assert Manner.from_task(one.manner.to_task()) == one.manner
