"""Values of options: what the commands take, checked where the user sees which option was wrong."""

from __future__ import annotations

import re

import click

from ..db.url import parse_url
from ..net.address import parse_address


def address(text: str) -> str:
    """``tcp://HOST:PORT`` or ``unix:PATH``."""
    try:
        parse_address(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    return text


def database_url(text: str) -> str:
    """A database's URL."""
    try:
        parse_url(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    return text


def thread_counts(text: str) -> tuple[int, int]:
    """``MIN:MAX`` or ``N``: two numbers."""
    match = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    if match is None:
        raise click.BadParameter(f"{text!r}: write MIN:MAX, for example 2:64")
    smallest, largest = int(match[1]), int(match[2] or match[1])
    if not 1 <= smallest <= largest:
        raise click.BadParameter(f"{text!r}: MIN is at least 1, and MAX at least MIN")
    return smallest, largest


def heartbeat_times(text: str) -> tuple[float, float]:
    """``INTERVAL[:TIMEOUT]`` in seconds; the time-out is three intervals if it is left out."""
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    match = re.fullmatch(rf"{number}(?::{number})?", text)
    if match is None:
        raise click.BadParameter(f"{text!r}: write INTERVAL or INTERVAL:TIMEOUT in seconds, for example 30:90")
    interval = float(match[1])
    timeout = float(match[2]) if match[2] else 3 * interval
    if not 0 < interval < timeout:
        raise click.BadParameter(f"{text!r}: the interval is more than 0 and less than the time-out")
    return interval, timeout


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(text: str) -> float:
    """A number and its unit, ``ms``, ``s``, ``m``, ``h`` or ``d``: seconds."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", text)
    if match is None:
        raise click.BadParameter(f"{text!r}: write a number and its unit, such as 10s, 1h or 30d")
    return float(match[1]) * _UNITS[match[2]]
