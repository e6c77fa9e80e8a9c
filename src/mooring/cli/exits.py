"""How commands end: one line on stderr that says what was wrong, and an exit code that says of which kind."""

from __future__ import annotations

from typing import Any, Final

import click

FAILED: Final = 1
USAGE: Final = 2
NOT_STARTED: Final = 3
NO_TARGET: Final = 4


class NotStarted(click.ClickException):
    """The command could not begin its work: an address in use, a database that refuses."""

    exit_code = NOT_STARTED

    def show(self, file: Any = None) -> None:
        """See click.ClickException; in the form of all our messages."""
        click.echo(f"mooring: {self.format_message()}", file=file, err=True)


class NoTarget(NotStarted):
    """What was to be served cannot be loaded."""

    exit_code = NO_TARGET


class Failed(NotStarted):
    """It failed while it ran."""

    exit_code = FAILED
