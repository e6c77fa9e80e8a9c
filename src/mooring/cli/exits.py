"""How commands end: one line on stderr that says what was wrong, and an exit code that says of which kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

from ..settings import Problem

FAILED: Final = 1
USAGE: Final = 2
NOT_STARTED: Final = 3
NO_TARGET: Final = 4
BAD_SETTINGS: Final = 78
"""EX_CONFIG of sysexits.h: systemd and others know not to try again."""


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


class BadSettings(NotStarted):
    """Settings are wrong; all problems are shown, a line each. Exit code 2 if all are of the command line's."""

    exit_code = BAD_SETTINGS

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))
        if all(problem.origin.kind == "command line" for problem in self.problems):
            self.exit_code = USAGE  # type: ignore[misc]  # click reads it from the object

    def show(self, file: Any = None) -> None:
        """See click.ClickException."""
        for problem in self.problems:
            click.echo(f"mooring: {problem}", file=file, err=True)
