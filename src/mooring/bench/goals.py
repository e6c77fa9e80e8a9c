"""``mooring bench goals``: the figures that Mooring is meant to reach, each beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .contenders import (
    ASYNCIO_PROTOCOL,
    ASYNCIO_TO_THREAD,
    COMPUTING,
    MOORING,
    REDIS,
    THREADING,
    UVLOOP_PROTOCOL,
    UVLOOP_TO_THREAD,
    WAITING,
    Contender,
)
from .measurements import idle, mixed, peers
from .report import align, number
from .results import Figure, Results
from .session import Session

Source = tuple[str, str, str, str]
"""Where a figure is found: benchmark, case, contender, measure."""


@dataclass(frozen=True)
class Goal:
    """A median, or the ratio of two, that is to stay below or above a limit.

    Args:
        title: for the table.
        figure: what is judged.
        reference: what it is divided by; None: the figure itself is judged, in its own unit.
        limit: the most, or the least.
        at_least: whether the limit is the least.
        hope: what would be better still.
    """

    title: str
    figure: Source
    reference: Source | None
    limit: float
    at_least: bool = False
    hope: float | None = None

    def reached(self, value: float) -> bool:
        """Whether a value is on the right side of the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Outcome:
    """What became of a goal.

    Attributes:
        goal: which one.
        value: the ratio or figure; None if something of it was not measured.
        unit: of the value; empty for a ratio.
        note: the two medians, or what is missing.
    """

    goal: Goal
    value: float | None
    unit: str
    note: str

    @property
    def reached(self) -> bool:
        """Whether it was measured and is on the right side."""
        return self.value is not None and self.goal.reached(self.value)

    @property
    def verdict(self) -> str:
        """In a word or two, for the table."""
        if self.value is None:
            return "not measured"
        return "reached" if self.reached else "MISSED"


def measure(session: Session, parts: Iterable[str] = ()) -> None:
    """Run what the goals need, and nothing else; all of ``PARTS``, or those named."""
    for part in tuple(parts) or PARTS:
        PARTS[part].measure(session)


def goals_of(parts: Iterable[str] = ()) -> tuple[Goal, ...]:
    """The goals of all parts, or of those named."""
    return tuple(goal for part in tuple(parts) or PARTS for goal in PARTS[part].goals)


def evaluate(results: Results, goals: Iterable[Goal] | None = None) -> list[Outcome]:
    """Each goal beside what was measured; ``GOALS`` if none are given."""
    return [_evaluate(goal, results) for goal in (GOALS if goals is None else goals)]


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as text, and how many were reached."""
    head = ["goal", "limit", "measured", "", "medians"]
    rows = [head, *(_row(outcome) for outcome in outcomes)]
    measured = [outcome for outcome in outcomes if outcome.value is not None]
    left_out = f", {len(outcomes) - len(measured)} not measured" if len(measured) < len(outcomes) else ""
    reached = sum(outcome.reached for outcome in measured)
    return f"{align(rows)}\n\n{reached} of {len(measured)} goals reached{left_out}"


def _evaluate(goal: Goal, results: Results) -> Outcome:
    figure = results.find(*goal.figure)
    reference = results.find(*goal.reference) if goal.reference is not None else None
    if figure is None:
        return Outcome(goal, None, "", f"there is no {_name(goal.figure)}")
    if goal.reference is None:
        return Outcome(goal, figure.median, figure.key.unit, "")
    if reference is None:
        return Outcome(goal, None, "", f"there is no {_name(goal.reference)}")
    if not reference.median:
        return Outcome(goal, None, "", f"{_name(goal.reference)} is 0")
    return Outcome(goal, figure.median / reference.median, "", f"{_median(figure)} to {_median(reference)}")


def _name(source: Source) -> str:
    benchmark, case, contender, measured = source
    return f"{measured} of {contender} ({benchmark}, {case})"


def _median(figure: Figure) -> str:
    return f"{number(figure.median)} {figure.key.unit}".strip()


def _row(outcome: Outcome) -> list[str]:
    goal = outcome.goal
    limit = f"{'>=' if goal.at_least else '<='} {goal.limit:g}" + (f" ({goal.hope:g})" if goal.hope else "")
    value = "-" if outcome.value is None else f"{number(outcome.value)} {outcome.unit or 'x'}"
    return [goal.title, limit, value, outcome.verdict, outcome.note]


# The goals ----------------------------------------------------------------------------------------------------------


def _cpu(contender: Contender, depth: int) -> Source:
    return peers.BENCHMARK, peers.case(depth), contender.name, peers.CPU


def _mixed(case: str, contender: Contender, measured: str) -> Source:
    return mixed.BENCHMARK, case, contender.name, measured


def _ping_goals() -> Iterator[Goal]:
    for depth, reference, limit, hope in (
        (1, REDIS, 1.3, 1.15),
        (1, ASYNCIO_PROTOCOL, 1.1, 1.0),
        (16, REDIS, 2.0, None),
        (16, UVLOOP_PROTOCOL, 0.3, None),
    ):
        title = f"CPU per PING, depth {depth}, to {reference.name}"
        yield Goal(title, _cpu(MOORING, depth), _cpu(reference, depth), limit, hope=hope)


def _waiting_goals() -> Iterator[Goal]:
    case = mixed.WAITING_CASE
    for ours in WAITING:
        p99 = _mixed(case, ours, mixed.P99)
        yield Goal(f"{ours.name}: fast p99 to its own alone", p99, _mixed(case, ours, mixed.P99_ALONE), 2.0)
        theirs = _mixed(case, UVLOOP_TO_THREAD, mixed.P99)
        yield Goal(f"{ours.name}: fast p99 to {UVLOOP_TO_THREAD.name}", p99, theirs, 0.7)
        slow, threads = (_mixed(case, one, mixed.SLOW_RATE) for one in (ours, THREADING))
        yield Goal(f"{ours.name}: slow calls to {THREADING.name}", slow, threads, 0.95, at_least=True)


def _computing_goals() -> Iterator[Goal]:
    case = mixed.COMPUTING_CASE
    for ours in COMPUTING:
        p99, theirs = (_mixed(case, one, mixed.P99) for one in (ours, ASYNCIO_TO_THREAD))
        yield Goal(f"{ours.name}: fast p99 beside computing to {ASYNCIO_TO_THREAD.name}", p99, theirs, 1.0)


def _surprise_goals() -> Iterator[Goal]:
    for ours in COMPUTING:
        longest = _mixed(mixed.SURPRISE_CASE, ours, mixed.LONGEST)
        yield Goal(f"{ours.name}: longest wait beside a surprise of 100 ms", longest, None, 10.0)


def _idle_goals() -> Iterator[Goal]:
    for title, case, measured, limit in (
        ("memory per idle connection", idle.MEMORY_CASE, idle.MEMORY, 600.0),
        ("CPU of 15,000 idle connections with heartbeats", idle.BEATING_CASE, idle.CPU, 2.0),
        ("CPU of a server with nobody connected", idle.NOBODY_CASE, idle.CPU, 0.2),
    ):
        yield Goal(title, (idle.BENCHMARK, case, idle.MOORING.name, measured), None, limit)


@dataclass(frozen=True)
class Part:
    """Goals whose figures are measured together.

    Args:
        measure: takes the figures.
        goals: what they are judged by.
    """

    measure: Callable[[Session], None]
    goals: tuple[Goal, ...]


PARTS: Final = {
    "ping": Part(
        lambda session: peers.measure(session, (REDIS, MOORING, ASYNCIO_PROTOCOL, UVLOOP_PROTOCOL)),
        tuple(_ping_goals()),
    ),
    "waiting": Part(
        lambda session: mixed.measure_waiting(session, (*WAITING, UVLOOP_TO_THREAD, THREADING)),
        tuple(_waiting_goals()),
    ),
    "computing": Part(
        lambda session: mixed.measure_computing(session, (*COMPUTING, ASYNCIO_TO_THREAD)),
        tuple(_computing_goals()),
    ),
    "surprise": Part(lambda session: mixed.measure_surprise(session, COMPUTING), tuple(_surprise_goals())),
    "idle": Part(lambda session: idle.measure(session, peers=False, many=False), tuple(_idle_goals())),
}
"""What ``mooring bench goals`` can measure by itself, by name."""

GOALS: Final = goals_of()
