"""What happened over time, as SVG: panels above each other, with the seconds below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH: Final = 860
LEFT: Final = 90
RIGHT: Final = 24
TOP: Final = 54
PANEL: Final = 150
GAP: Final = 48
BOTTOM: Final = 50
COLOUR: Final = "#1f6fb2"
DARK: Final = "#22303c"
FEW: Final = 10
"""Points below which each is marked."""


@dataclass(frozen=True)
class Line:
    """Values over time.

    Args:
        name: of the vertical axis, with its unit.
        points: (seconds, value), in the order of time.
        steps: whether a value holds until the next; otherwise points are joined.
    """

    name: str
    points: list[tuple[float, float]]
    steps: bool = False


@dataclass(frozen=True)
class Course:
    """The lines of one load.

    Args:
        benchmark: as in the results.
        case: the load.
        lines: a panel each.
    """

    benchmark: str
    case: str
    lines: list[Line]

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Course:
        """What ``dataclasses.asdict`` made of one.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        lines = [
            Line(str(one["name"]), [(float(x), float(y)) for x, y in one["points"]], bool(one["steps"]))
            for one in document["lines"]
        ]
        return cls(str(document["benchmark"]), str(document["case"]), lines)


def course_chart(course: Course) -> str:
    """One chart as SVG text."""
    height = TOP + (PANEL + GAP) * len(course.lines) - GAP + BOTTOM
    end = max((x for line in course.lines for x, _ in line.points), default=1.0) or 1.0
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13" fill="{DARK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(16, 24, f"{course.benchmark}: {course.case}", weight="bold"),
    ]
    for index, line in enumerate(course.lines):
        parts += _panel(line, TOP + (PANEL + GAP) * index, end)
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, height - 12, "seconds since the load began", anchor="middle"), "</svg>"]
    return "\n".join(parts) + "\n"


def round_step(highest: float, most: int) -> float:
    """The distance of round numbers of which there are at most so many up to ``highest``."""
    step = 1e-9
    while highest / step > most:
        for factor in (2.0, 2.5, 2.0):
            step *= factor
            if highest / step <= most:
                break
    return step


def _panel(line: Line, top: float, end: float) -> Iterator[str]:
    highest = max((y for _, y in line.points), default=0.0) * 1.05 or 1.0
    bottom = top + PANEL

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x / end * (WIDTH - LEFT - RIGHT), bottom - y / highest * PANEL

    for value in _ticks(highest, 5):
        _, y = place(0.0, value)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dde3e8"/>'
        yield _text(LEFT - 8, y + 4, f"{value:g}", anchor="end")
    for value in _ticks(end, 10):
        x, _ = place(value, 0.0)
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="{DARK}"/>'
        yield _text(x, bottom + 18, f"{value:g}", anchor="middle")
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="{DARK}"/>'
    yield _text(LEFT, top - 8, line.name)
    corners = [place(x, y) for x, y in _corners(line, end)]
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    yield f'<polyline points="{places}" fill="none" stroke="{COLOUR}" stroke-width="1.5"/>'
    if not line.steps and len(line.points) < FEW:  # a line of one point is not to be seen
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOUR}"/>' for x, y in corners)


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
