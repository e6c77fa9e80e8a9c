"""``mooring version``."""

from __future__ import annotations

import platform

import click

from .. import __version__


@click.command
def version() -> None:
    """Print the version of Mooring and of the Python that runs it."""
    click.echo(f"mooring {__version__}, Python {platform.python_version()}")
