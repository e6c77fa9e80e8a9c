"""Figures, their file, their table and their charts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mooring.bench.plot import Scale, bar_chart, write_plots
from mooring.bench.report import number, tables
from mooring.bench.results import Key, Results, read


def results(**contenders: list[float]) -> Results:
    made = Results()
    for name, values in contenders.items():
        for value in values:
            made.add(Key("peers", "depth 1", name, "CPU per request", "us"), value)
    return made


def test_a_figure_is_the_median_with_its_spread() -> None:
    figure = results(one=[3.0, 1.0, 2.5]).find("peers", "depth 1", "one", "CPU per request")
    assert figure is not None
    assert figure.median == 2.5
    assert figure.spread == (1.0, 3.0)


def test_what_is_written_is_read_again() -> None:
    before = results(one=[3.0, 1.0], two=[7.5])
    before.about["Python"] = "3.11"
    before.left_out["gevent"] = "not installed: pip install gevent"
    after = Results.from_json(before.to_json())
    assert after.figures() == before.figures()
    assert (after.about, after.left_out) == (before.about, before.left_out)


def test_of_several_files_the_later_ones_win(folder: Path) -> None:
    (folder / "first").write_text(results(one=[1.0], two=[2.0]).to_json())
    (folder / "second").write_text(results(two=[9.0]).to_json())
    medians = {one.key.contender: one.median for one in read([folder / "first", folder / "second"]).figures()}
    assert medians == {"one": 1.0, "two": 9.0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "about": {}, "left_out": {}}'])
def test_a_file_that_is_none_of_ours_is_named(folder: Path, text: str) -> None:
    (folder / "wrong").write_text(text)
    with pytest.raises(ValueError, match="wrong: "):
        read([folder / "wrong"])


def test_a_table_shows_median_and_spread_of_each_and_what_is_missing() -> None:
    run = results(one=[3.0, 1.0, 2.5], two=[1234.5])
    run.left_out["gevent"] = "not installed: pip install gevent"
    text = tables(run)
    assert "CPU per request, us" in text
    assert "2.50 (1 to 3)" in text
    assert "1,234" in text
    assert "gevent  not installed: pip install gevent" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.004321, "0.0043"), (0.25, "0.25"), (9.876, "9.88"), (12.34, "12.3"), (1e6, "1,000,000")],
)
def test_numbers_have_the_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_chart_names_its_axes_and_has_a_bar_for_each_server() -> None:
    run = results(**{"Mooring": [1.0, 2.0], "a < b": [4.0]})
    drawn = ET.fromstring(bar_chart("peers, depth 1", "CPU per request, us", run.figures()))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"CPU per request, us", "server", "peers, depth 1", "Mooring", "a < b", "1.50"} <= set(texts)
    bars = [float(one.get("width", "")) for one in drawn.iter("{http://www.w3.org/2000/svg}rect") if one.get("x")]
    assert bars[1] / bars[0] == pytest.approx(4.0 / 1.5, rel=0.01)


def test_values_that_differ_much_get_a_logarithmic_axis_that_says_so() -> None:
    run = results(one=[0.5], two=[50.0])
    assert "us (logarithmic)" in bar_chart("", "CPU per request, us", run.figures())
    scale = Scale.over([0.5, 50.0])
    assert scale.place(5.0) - scale.place(0.5) == pytest.approx(scale.place(50.0) - scale.place(5.0))
    assert scale.ticks() == [0.1, 1.0, 10.0]


@pytest.mark.parametrize("values", [[0.0], [0.0, 3.0], [7.0], [0.001], [1e9, 3.0]])
def test_ticks_lie_on_the_axis(values: list[float]) -> None:
    scale = Scale.over(values)
    assert 1 <= len(scale.ticks()) <= 11
    assert all(scale.place(scale.lowest) <= scale.place(tick) <= scale.place(scale.highest) for tick in scale.ticks())


def test_charts_are_written_for_what_several_servers_have(folder: Path) -> None:
    run = results(one=[1.0], two=[2.0])
    run.add(Key("idle", "nobody connected", "one", "CPU", "%"), 0.1)
    assert [path.name for path in write_plots(run, folder / "new")] == ["peers-depth-1-cpu-per-request.svg"]


def test_the_file_has_the_medians_for_other_programs() -> None:
    assert json.loads(results(one=[3.0, 1.0, 2.5]).to_json())["figures"][0]["median"] == 2.5
