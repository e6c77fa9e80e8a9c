"""Results as tables of text: a table for each load, a line for each server, median and spread in each cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .results import Figure, Results


def tables(results: Results) -> str:
    """All figures, with what they depend on before them and what is missing after them."""
    parts = [_pairs(results.about)]
    for (benchmark, case), figures in by_load(results.figures()).items():
        parts.append(f"{benchmark}: {case}\n{_table(figures)}")
    parts.append("median (lowest to highest of the rounds)")
    if results.left_out:
        parts.append("left out\n" + _pairs(results.left_out))
    return "\n\n".join(parts)


def by_load(figures: Iterable[Figure]) -> dict[tuple[str, str], list[Figure]]:
    """The figures of each benchmark and case."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        groups.setdefault((figure.key.benchmark, figure.key.case), []).append(figure)
    return groups


def number(value: float) -> str:
    """Three digits that count, with commas for large numbers."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def cell(figure: Figure | None) -> str:
    """Median and spread of one figure; a dash if there is none."""
    if figure is None:
        return "-"
    lowest, highest = figure.spread
    if len(figure.values) == 1:
        return number(figure.median)
    return f"{number(figure.median)} ({number(lowest)} to {number(highest)})"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if index else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _table(figures: list[Figure]) -> str:
    measures = list(dict.fromkeys((one.key.measure, one.key.unit) for one in figures))
    contenders = list(dict.fromkeys(one.key.contender for one in figures))
    found = {(one.key.contender, one.key.measure): one for one in figures}
    head = ["", *(f"{measure}, {unit}" if unit else measure for measure, unit in measures)]
    rows = [[name, *(cell(found.get((name, measure))) for measure, _ in measures)] for name in contenders]
    return align([head, *rows])


def _pairs(pairs: dict[str, str]) -> str:
    width = max(map(len, pairs), default=0)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in pairs.items())
