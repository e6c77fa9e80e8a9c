"""Values of options: what the commands take, checked where the user sees which option was wrong."""

from __future__ import annotations

import re

import click

from ..db.url import parse_url
from ..net.address import parse_address
from ..settings import Duration


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


def connection_counts(text: str) -> tuple[int, int]:
    """``MIN:MAX`` or ``N``, as the pools of databases have them: MIN may be 0."""
    match = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    if match is None or not int(match[1]) <= int(match[2] or match[1]) or not int(match[2] or match[1]):
        raise click.BadParameter(f"{text!r}: write MIN:MAX, for example 2:10")
    return int(match[1]), int(match[2] or match[1])


def duration(text: str) -> float:
    """A time with its unit, such as ``10s``, ``1h`` or ``30d``: seconds."""
    try:
        seconds = float(Duration.parse(text))
    except ValueError:
        seconds = 0.0
    if not seconds or text[-1:].isdigit():
        raise click.BadParameter(f"{text!r}: write a number and its unit, such as 10s, 1h or 30d")
    return seconds


def time_of_a_drain(text: str) -> float:
    """A time such as ``60s``, or a number of seconds; may be 0: seconds."""
    try:
        return float(Duration.parse(text)) if text.strip("0.s") else 0.0
    except ValueError:
        raise click.BadParameter(f"{text!r}: write a time such as 30s or 5m, or 0") from None
