"""Values of options: what the commands take, checked where the user sees which option was wrong."""

from __future__ import annotations

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
