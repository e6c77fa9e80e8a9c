"""The command ``mooring``. Each command has a file of its own, which is imported when the command is asked for."""

from __future__ import annotations

import importlib
from typing import Final

import click

GROUPS: Final = {
    "Serving": {
        "serve": "Run the gateway, or servers of your own.",
        "check": "Say what is wrong before the server starts.",
        "config": "Show the settings, or begin a file of them.",
    },
    "A running server": {
        "connections": "List or close its connections.",
        "trace": "Follow a connection, byte by byte.",
        "listeners": "Suspend or resume accepting, by one listener or by all.",
        "threads": "Resize, pause or resume its thread pool.",
        "database": "Resize or evict its pool; make or inspect the gateway's tables.",
        "drain": "End it in order.",
    },
    "The gateway's devices": {
        "devices": "Let devices in by tokens, and list them.",
        "send": "Command a device to do something.",
        "tail": "Follow what devices push.",
        "uploads": "List what devices have sent in blocks, and save it.",
        "simulate": "Be many devices that push to a gateway.",
    },
    "Further": {
        "bench": "Measure servers, ours beside others.",
        "version": "Print the version.",
    },
}
"""The commands, in the order and under the headings of the help."""

COMMANDS: Final = {name: text for group in GROUPS.values() for name, text in group.items()}


class LazyGroup(click.Group):
    """Knows the commands' names and imports only the one that is run."""

    def list_commands(self, context: click.Context) -> list[str]:
        """See click.Group."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """See click.Group."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them, under headings, in one column."""
        width = max(map(len, COMMANDS))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Mooring: a TCP server for fleets of long-lived clients."""


def main() -> None:
    """The entry point of the command; ends the process.

    Exit codes: 0 clean, 1 failed while running, 2 usage, 3 could not start, 4 target cannot be loaded,
    78 settings are wrong.
    """
    group(prog_name="mooring")
