"""The figures of a run: kept by what was measured, with median and spread, and written as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from .courses import Course

FORMAT: Final = 1


@dataclass(frozen=True)
class Key:
    """What a figure is of.

    Args:
        benchmark: "peers", "mixed" and so on.
        case: the load, for example "depth 16".
        contender: the server.
        measure: for example "CPU per request".
        unit: of the values; empty for plain numbers.
    """

    benchmark: str
    case: str
    contender: str
    measure: str
    unit: str = ""


@dataclass(frozen=True)
class Figure:
    """One value of each round."""

    key: Key
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest."""
        return min(self.values), max(self.values)


class Results:
    """The figures of one run or of several put together.

    Attributes:
        about: machine, versions and settings, for the head of the report.
        left_out: what could not be measured -> why, or what to install.
        courses: what happened over time, by benchmark and case.
    """

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str, str, str], Figure] = {}
        self.about: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.courses: dict[tuple[str, str], Course] = {}

    def add(self, key: Key, value: float) -> None:
        """Note the value of one more round."""
        figure = self._figures.setdefault(_identity(key), Figure(key))
        figure.values.append(value)

    def find(self, benchmark: str, case: str, contender: str, measure: str) -> Figure | None:
        """One figure, if it was measured."""
        return self._figures.get((benchmark, case, contender, measure))

    def figures(self) -> list[Figure]:
        """All, in the order in which they were first measured."""
        return list(self._figures.values())

    def take(self, other: Results) -> None:
        """Add another run's figures; of those that both have, the other's stand."""
        self._figures.update(other._figures)
        self.about.update(other.about)
        self.left_out.update(other.left_out)
        self.courses.update(other.courses)

    def to_json(self) -> str:
        """All of it as text; ``from_json`` reads it."""
        figures = [
            {**asdict(one.key), "median": one.median, "spread": one.spread, "values": one.values}
            for one in self.figures()
        ]
        courses = [asdict(course) for course in self.courses.values()]
        document = {"format": FORMAT, "about": self.about, "left_out": self.left_out, "figures": figures}
        return json.dumps({**document, "courses": courses}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Results:
        """What ``to_json`` wrote.

        Raises:
            ValueError: it did not write that.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}, expected {FORMAT}")
            return cls._read(document)
        except (TypeError, KeyError, AttributeError) as exc:
            raise ValueError(f"no results of mooring bench: {exc!r}") from exc

    @classmethod
    def _read(cls, document: dict[str, Any]) -> Results:
        results = cls()
        results.about = {str(name): str(value) for name, value in document["about"].items()}
        results.left_out = {str(name): str(value) for name, value in document["left_out"].items()}
        for one in document["figures"]:
            key = Key(*(str(one[name]) for name in ("benchmark", "case", "contender", "measure", "unit")))
            for value in one["values"]:
                results.add(key, float(value))
        for course in map(Course.from_json, document.get("courses", ())):
            results.courses[course.benchmark, course.case] = course
        return results


def read(paths: Iterable[Path]) -> Results:
    """The results in some files, put together; later files win.

    Raises:
        ValueError: one is none of ours; the text names it.
    """
    results = Results()
    for path in paths:
        try:
            results.take(Results.from_json(path.read_text()))
        except ValueError as exc:
            raise ValueError(f"{path}: {exc}") from exc
    return results


def _identity(key: Key) -> tuple[str, str, str, str]:
    return key.benchmark, key.case, key.contender, key.measure
