"""What happened over time, or over another number, as SVG: panels above each other, with its axis below."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH: Final = 860
LEFT: Final = 90
RIGHT: Final = 24
TOP: Final = 54
PANEL: Final = 150
GAP: Final = 48
LEGEND: Final = 22
BOTTOM: Final = 50
COLOURS: Final = ("#1f6fb2", "#c8642b", "#5d7a3a", "#8a5aa8")
DARK: Final = "#22303c"
FEW: Final = 10
"""Points below which each is marked."""


@dataclass(frozen=True)
class Line:
    """Values over time; lines that follow each other with one name share a panel.

    Args:
        name: of the vertical axis, with its unit.
        points: (seconds, value), in the order of time.
        steps: whether a value holds until the next; otherwise points are joined.
        label: whose it is, where several share a panel; the same in all panels, ours first.
    """

    name: str
    points: list[tuple[float, float]]
    steps: bool = False
    label: str = ""


@dataclass(frozen=True)
class Course:
    """The lines of one load.

    Args:
        benchmark: as in the results.
        case: the load.
        lines: a panel each, but for those that share one.
        axis: the name of the horizontal axis.
        doubles: each step to the right is a doubling.
    """

    benchmark: str
    case: str
    lines: list[Line]
    axis: str = "seconds since the load began"
    doubles: bool = False

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Course:
        """What ``dataclasses.asdict`` made of one.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        lines = [
            Line(
                str(one["name"]),
                [(float(x), float(y)) for x, y in one["points"]],
                bool(one["steps"]),
                str(one.get("label", "")),
            )
            for one in document["lines"]
        ]
        axis, doubles = document.get("axis", cls.axis), document.get("doubles", cls.doubles)
        return cls(str(document["benchmark"]), str(document["case"]), lines, str(axis), bool(doubles))


def course_chart(course: Course) -> str:
    """One chart as SVG text."""
    panels = [list(lines) for _, lines in groupby(course.lines, lambda line: line.name)]
    labels = [line.label for line in panels[0] if line.label] if panels else []
    top = TOP + (LEGEND if labels else 0)
    height = top + (PANEL + GAP) * len(panels) - GAP + BOTTOM
    axis = _Axis([x for line in course.lines for x, _ in line.points], course.doubles)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13" fill="{DARK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(16, 24, f"{course.benchmark}: {course.case}", weight="bold"),
        *_legend(labels),
    ]
    for index, lines in enumerate(panels):
        parts += _panel(lines, top + (PANEL + GAP) * index, axis)
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, height - 12, course.axis, anchor="middle"), "</svg>"]
    return "\n".join(parts) + "\n"


class _Axis:
    """Places on the horizontal axis, and its ticks."""

    def __init__(self, values: list[float], doubles: bool) -> None:
        self._doubles = doubles
        self.end = max(values, default=1.0) or 1.0
        self._begin = min(values, default=1.0) if doubles else 0.0
        self.ticks = sorted(set(values)) if doubles else _ticks(self.end, 10)

    def place(self, value: float) -> float:
        """Where on the paper."""
        if self._doubles:
            share = math.log(value / self._begin) / (math.log(self.end / self._begin) or 1.0)
        else:
            share = value / self.end
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def round_step(highest: float, most: int) -> float:
    """The distance of round numbers of which there are at most so many up to ``highest``."""
    step = 1e-9
    while highest / step > most:
        for factor in (2.0, 2.5, 2.0):
            step *= factor
            if highest / step <= most:
                break
    return step


def _panel(lines: list[Line], top: float, axis: _Axis) -> Iterator[str]:
    highest = max((y for line in lines for _, y in line.points), default=0.0) * 1.05 or 1.0
    bottom = top + PANEL

    def height(value: float) -> float:
        return bottom - value / highest * PANEL

    for value in _ticks(highest, 5):
        y = height(value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dde3e8"/>'
        yield _text(LEFT - 8, y + 4, f"{value:g}", anchor="end")
    for value in axis.ticks:
        x = axis.place(value)
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="{DARK}"/>'
        yield _text(x, bottom + 18, f"{value:g}", anchor="middle")
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="{DARK}"/>'
    yield _text(LEFT, top - 8, lines[0].name)
    for number, line in enumerate(lines):
        colour = _colour(number)
        corners = [(axis.place(x), height(y)) for x, y in _corners(line, axis.end)]
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if not line.steps and len(line.points) < FEW:  # a line of one point is not to be seen
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in corners)


def _legend(labels: list[str]) -> Iterator[str]:
    """Whose the lines are: one line of text below the title."""
    words = "".join(
        f'<tspan fill="{_colour(number)}" dx="14">{escape(text)}</tspan>' for number, text in enumerate(labels)
    )
    if words:
        yield f'<text x="{LEFT - 14}" y="{TOP - 8}">{words}</text>'


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _corners(line: Line, end: float) -> Iterator[tuple[float, float]]:
    last: float | None = None
    for x, y in line.points:
        if line.steps and last is not None and last != y:
            yield x, last
        if not line.steps or last != y:
            yield x, y
        last = y
    if line.steps and last is not None:
        yield end, last


def _ticks(highest: float, most: int) -> list[float]:
    step = round_step(highest, most)
    return [round(step * index, 9) for index in range(int(highest / step) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
