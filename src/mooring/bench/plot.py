"""Figures as SVG: one bar for each server, with a line for the spread and named axes. Nothing has to be installed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from .courses import course_chart
from .report import by_load, number
from .results import Figure, Results

WIDTH: Final = 860
LEFT: Final = 270
RIGHT: Final = 110
TOP: Final = 54
ROW: Final = 30
BOTTOM: Final = 58
OURS: Final = "#1f6fb2"
THEIRS: Final = "#9aa5b1"
DARK: Final = "#22303c"
LOGARITHMIC_FROM: Final = 20.0
"""A ratio between the longest and the shortest bar above which the axis is logarithmic."""


def write_plots(results: Results, folder: Path) -> list[Path]:
    """A file for each load and measure that several servers have, and for each course.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for (benchmark, case), figures in by_load(results.figures()).items():
        for measure, bars in _by_measure(figures).items():
            path = folder / f"{_file_name(benchmark, case, measure)}.svg"
            path.write_text(bar_chart(f"{benchmark}, {case}", _axis(bars[0]), bars))
            written.append(path)
    for course in results.courses.values():
        measure = "chart" if course.doubles else "over time"
        path = folder / f"{_file_name(course.benchmark, course.case, measure)}.svg"
        path.write_text(course_chart(course))
        written.append(path)
    return written


def bar_chart(title: str, axis: str, figures: list[Figure]) -> str:
    """One chart as SVG text.

    Args:
        title: stands above.
        axis: the name of the horizontal axis, with its unit.
        figures: a bar each, of the median; the line shows the spread.
    """
    scale = Scale.over([value for one in figures for value in (*one.spread, one.median)])
    height = TOP + ROW * len(figures) + BOTTOM
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13" fill="{DARK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(16, 26, title, weight="bold"),
        *_ticks(scale, height - BOTTOM),
        *(line for row, one in enumerate(figures) for line in _bar(scale, row, one)),
        _text((LEFT + WIDTH - RIGHT) / 2, height - 14, axis + scale.remark, anchor="middle"),
        _text(LEFT - 8, TOP - 8, "server", anchor="end"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Scale:
    """Values to places on the horizontal axis.

    Args:
        lowest: the value at its left end.
        highest: the one at its right end.
        logarithmic: whether equal steps are equal ratios.
    """

    lowest: float
    highest: float
    logarithmic: bool

    @classmethod
    def over(cls, values: list[float]) -> Scale:
        """A scale that holds all these values, from zero or, if they differ much, from a power of ten."""
        positive = [value for value in values if value > 0]
        highest = max(positive, default=1.0)
        if len(positive) == len(values) and highest / min(positive) >= LOGARITHMIC_FROM:
            return cls(10.0 ** math.floor(math.log10(min(positive))), highest * 1.1, logarithmic=True)
        return cls(0.0, highest * 1.05, logarithmic=False)

    @property
    def remark(self) -> str:
        """What a reader of the axis has to know."""
        return " (logarithmic)" if self.logarithmic else ""

    def place(self, value: float) -> float:
        """Where a value is, in pixels from the left."""
        if self.logarithmic:
            share = math.log(max(value, self.lowest) / self.lowest) / math.log(self.highest / self.lowest)
        else:
            share = value / self.highest
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        """Values that get a line and a number: round ones."""
        if self.logarithmic:
            first = round(math.log10(self.lowest))
            return [10.0**power for power in range(first, math.floor(math.log10(self.highest)) + 1)]
        step = 10.0 ** math.floor(math.log10(self.highest / 2))
        step *= next(factor for factor in (1, 2, 5) if self.highest / (step * factor) <= 8)
        return [step * index for index in range(int(self.highest / step) + 1)]


def _ticks(scale: Scale, bottom: float) -> Iterator[str]:
    for value in scale.ticks():
        x = scale.place(value)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#dde3e8"/>'
        yield _text(x, bottom + 18, number(value), anchor="middle")
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="{DARK}"/>'
    yield f'<line x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{bottom}" stroke="{DARK}"/>'


def _bar(scale: Scale, row: int, figure: Figure) -> Iterator[str]:
    name = figure.key.contender
    top = TOP + row * ROW + 5
    middle = top + (ROW - 10) / 2
    lowest, highest = (scale.place(value) for value in figure.spread)
    width = max(scale.place(figure.median) - LEFT, 1)
    colour = OURS if is_ours(name) else THEIRS
    yield _text(LEFT - 8, middle + 5, name, anchor="end")
    yield f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{ROW - 10}" fill="{colour}"/>'
    yield f'<line x1="{lowest:.1f}" y1="{middle}" x2="{highest:.1f}" y2="{middle}" stroke="{DARK}" stroke-width="2"/>'
    yield _text(max(highest, LEFT + width) + 6, middle + 5, number(figure.median))


def is_ours(contender: str) -> bool:
    """Whether a bar is one of ours: those have a colour of their own."""
    return contender.startswith("Mooring") or contender == "hybrid"


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _by_measure(figures: list[Figure]) -> dict[str, list[Figure]]:
    """The measures that more than one server has."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.key.measure, []).append(figure)
    return {measure: group for measure, group in groups.items() if len(group) > 1}


def _axis(figure: Figure) -> str:
    return f"{figure.key.measure}, {figure.key.unit}" if figure.key.unit else figure.key.measure


def _file_name(*words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")
