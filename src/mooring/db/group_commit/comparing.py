"""Whether a stored row is the one that was to be stored: compared as values, after a difference of type alone.

A database gives back what it was given, but not always in the same type: text of a time comes back as a datetime,
text of a VARBINARY as bytes, a number of a DECIMAL column as a Decimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ..driver import Row

Compare = Callable[[Row, Row], bool]


def like(offered: Any, stored: Any) -> Any:
    """``offered`` in the type of ``stored``, or as it is if it cannot be put so."""
    if stored is None or type(offered) is type(stored):
        return offered
    try:
        return _converted(offered, stored)
    except (ValueError, TypeError, ArithmeticError):
        return offered


def _converted(offered: Any, stored: Any) -> Any:
    match stored:
        case str():
            return _text(offered)
        case bytes():
            return offered.encode() if isinstance(offered, str) else bytes(memoryview(offered))
        case datetime():
            return datetime.fromisoformat(offered) if isinstance(offered, str) else offered
        case date():
            return date.fromisoformat(offered) if isinstance(offered, str) else offered
        case Decimal():
            return Decimal(str(offered))
        case int() | float():
            return type(stored)(offered) if isinstance(offered, str) else offered
    return offered


def _text(offered: Any) -> str:
    if isinstance(offered, bytes | bytearray | memoryview):
        return bytes(offered).decode()
    if isinstance(offered, datetime):
        return offered.isoformat(" ")
    return str(offered)


def same(stored: Any, offered: Any) -> bool:
    """Whether two values are equal, but for their type."""
    if isinstance(stored, timedelta) and isinstance(offered, str):
        return _clock_time(stored) == offered
    return bool(stored == like(offered, stored))


def _clock_time(value: timedelta) -> str:
    """A TIME column as text; hours may be more than 23."""
    total = abs(value)
    seconds = total.days * 86400 + total.seconds
    sign = "-" if value < timedelta(0) else ""
    fraction = f".{total.microseconds:06d}" if total.microseconds else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def compare_columns(places: Sequence[int]) -> Compare:
    """Compare by the values at these places."""

    def compare(stored: Row, offered: Row) -> bool:
        return all(same(stored[place], offered[place]) for place in places)

    return compare


class Stored:
    """The stored rows of some keys, to be found by the keys as they were offered.

    Args:
        rows: as they were read.
        places: where in a row the values of the key are.
    """

    def __init__(self, rows: Iterable[Row], places: Sequence[int]) -> None:
        self._rows = {tuple(row[place] for place in places): row for row in rows}
        self._sample = next(iter(self._rows), None)
        self._places = places

    def find(self, offered: Row) -> Row | None:
        """The stored row with the key of this one."""
        if self._sample is None:
            return None
        key = tuple(like(offered[place], value) for place, value in zip(self._places, self._sample, strict=True))
        return self._rows.get(key)
