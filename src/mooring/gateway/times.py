"""Times as the tables keep them: UTC to the millisecond, ``YYYY-MM-DD HH:MM:SS.mmm`` on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS: Final = [f".{number:03d}" for number in range(1000)]


def to_text(seconds: float) -> str:
    """The text of a Unix time; both databases take it for a time.

    Args:
        seconds: 0 up to the end of the year 9999.
    """
    # By whole milliseconds: a float of seconds would round .9995 up to a thousand of them.
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return _to_the_second(whole) + _MILLISECONDS[milliseconds]


@lru_cache(maxsize=256)  # most of what comes in is of the last few seconds
def _to_the_second(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"


def format_datetime(moment: datetime) -> str:
    """The same of a datetime in UTC, as MySQL's driver gives it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def from_column(value: str | datetime) -> str:
    """The text of what a column held: a datetime from MySQL, text from SQLite."""
    return format_datetime(value) if isinstance(value, datetime) else value


def to_seconds(value: str | datetime) -> float:
    """The Unix time of what a column held."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC).timestamp()
