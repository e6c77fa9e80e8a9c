"""``mooring config``: what the settings are and where they come from, and a file to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from ..settings import rendering
from .exits import BadSettings, Failed
from .settings import load_settings, settings_options


@click.group
def config() -> None:
    """Show the settings, or begin a file of them."""


@config.command
@click.option("--origin", is_flag=True, help="Say of each where it comes from.")
@settings_options
def show(origin: bool, **options: object) -> None:
    """Print the settings that hold, as TOML; secrets are hidden.

    What is a comment is not set: then the server's own code decides, or the default behind it holds.
    """
    loaded = load_settings(options)
    if loaded.file is not None:
        click.echo(f"# read from {loaded.file}")
    click.echo(rendering.shown(loaded, origin=origin), nl=False)
    if loaded.problems:
        raise BadSettings(loaded.problems)


@config.command
def table() -> None:
    """Print all settings as a table in Markdown, as it stands in the docs."""
    click.echo(rendering.table(), nl=False)


@config.command
@click.argument("file", default="mooring.toml")
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def init(file: str, force: bool) -> None:
    """Write a settings' file in which everything is a comment; `-` prints it."""
    if file == "-":
        click.echo(rendering.template(), nl=False)
        return
    try:
        with Path(file).open("w" if force else "x") as opened:
            opened.write(rendering.template())
    except FileExistsError:
        raise Failed(f"{file} is there already; --force overwrites it") from None
    except OSError as exc:
        raise Failed(f"{file} cannot be written: {exc.strerror}") from exc
    click.echo(f"wrote {file}; `mooring config show --origin` tells what holds")
