"""Times as the tables keep them: UTC to the millisecond, ``YYYY-MM-DD HH:MM:SS.mmm`` on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_text(seconds: float) -> str:
    """The text of a Unix time; both databases take it for a time.

    Args:
        seconds: 0 up to the end of the year 9999.
    """
    # By whole milliseconds: a float of seconds would round .9995 up to a thousand of them.
    return format_datetime(_EPOCH + timedelta(milliseconds=round(seconds * 1000)))


def format_datetime(moment: datetime) -> str:
    """The same of a datetime in UTC, as MySQL's driver gives it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def from_column(value: str | datetime) -> str:
    """The text of what a column held: a datetime from MySQL, text from SQLite."""
    return format_datetime(value) if isinstance(value, datetime) else value
