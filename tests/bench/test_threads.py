"""The thread pool's measurements, in an instant: they run and leave the figures that the goals want; the charts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mooring.bench.courses import Course, Line, course_chart, round_step
from mooring.bench.goals import evaluate
from mooring.bench.measurements import threads
from mooring.bench.plot import write_plots
from mooring.bench.pool_load import Course as Seen
from mooring.bench.results import Results
from mooring.bench.session import Session

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def small(session: Session) -> Session:
    session.settings = replace(session.settings, window=0.05, pool_tasks=2000, pool_seconds=0.3, pool_burst=100)
    return session


def test_the_pool_is_measured_beside_the_standard_one(small: Session, folder: Path) -> None:
    threads.measure(small)
    outcomes = {outcome.goal.title: outcome for outcome in evaluate(small.results, threads.GOALS)}
    assert [title for title, outcome in outcomes.items() if outcome.value is None] == []
    assert all(outcome.reached for title, outcome in outcomes.items() if title.startswith("random"))
    assert outcomes["burst: tasks not done"].reached
    cases = [threads.WAITING_CASE, threads.COMPUTING_CASE, threads.BURST_CASE]
    assert [case for _, case in small.results.courses] == cases
    drawn = [path.name for path in write_plots(small.results, folder) if path.name.endswith("over-time.svg")]
    assert len(drawn) == 3


def test_one_part_can_be_measured_alone(small: Session) -> None:
    threads.measure(small, ["burst"])
    assert {figure.key.case for figure in small.results.figures()} == {threads.BURST_CASE}


def test_courses_survive_the_file() -> None:
    results = Results()
    course = Course("threads", "load", [Line("size", [(0.0, 2.0), (1.5, 13.0)], steps=True), Line("wait", [])])
    results.courses["threads", "load"] = course
    assert Results.from_json(results.to_json()).courses == {("threads", "load"): course}
    with pytest.raises(ValueError, match="no results of mooring bench"):
        Results.from_json(results.to_json().replace('"steps"', '"stairs"'))


def test_a_course_is_drawn_with_a_panel_for_each_line_and_steps_as_steps() -> None:
    lines = [
        Line("threads <allowed>", [(0.0, 2.0), (1.0, 4.0)], steps=True),
        Line("wait, ms", [(0.5, 1.0), (2.0, 3.0)]),
    ]
    root = ElementTree.fromstring(course_chart(Course("threads", "load", lines)))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"threads: load", "threads <allowed>", "wait, ms", "seconds since the load began"} <= set(texts)
    steps, joined = (element.attrib["points"].split() for element in root.iter(f"{SVG}polyline"))
    assert len(joined) == 2
    corners = [tuple(map(float, point.split(","))) for point in steps]
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners))
    assert corners[-1][0] == float(joined[-1].split(",")[0]), "held to the end of the chart"


@pytest.mark.parametrize(("highest", "step"), [(64, 20), (1.0, 0.2), (0.037, 0.01), (90, 20)])
def test_axes_have_round_numbers(highest: float, step: float) -> None:
    assert round_step(highest, 5) == pytest.approx(step)


def test_an_empty_course_can_be_drawn() -> None:
    ElementTree.fromstring(course_chart(Course("threads", "load", [Line("size", [])])))


def test_what_was_seen_is_told_by_time() -> None:
    seen = Seen(
        sizes=[(0.5, 2), (1.5, 8), (2.5, 13)],
        changes=[1.4, 2.4],
        waits=[(index / 100, index / 1000) for index in range(100)],
    )
    assert seen.sizes_between(1.0, 3.0) == [8, 13]
    assert seen.changes_between(2.0, 3.0) == 1
    assert seen.wait_quantile(0.5, 0.0, 1.0) == pytest.approx(0.05)
    assert seen.wait_quantile(0.99, 5.0, 6.0) == 0.0
    assert seen.wait_line(0.5) == [
        (0.0, pytest.approx(0.045)),
        (0.5, pytest.approx(0.090)),
        (1.0, pytest.approx(0.099)),
    ]
