"""The small commands, and the command as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import run_command
from processes import PythonProcess

import mooring
from mooring.cli import COMMANDS, group


def test_version_says_which_mooring_and_which_python() -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    assert run_command("version") == f"mooring {mooring.__version__}, Python {python}\n"


def test_the_installed_command_is_the_same() -> None:
    command = Path(sys.executable).parent / "mooring"
    shown = subprocess.run([str(command), "version"], capture_output=True, text=True, check=True).stdout
    assert shown == run_command("version")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_is_listed_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(group, [command, "--help"], prog_name="mooring")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: mooring {command}")


def test_help_lists_the_commands_without_loading_them() -> None:
    code = "import sys; from mooring.cli import group; group(['--help'], standalone_mode=False)\n"
    code += "assert 'mooring.cli.simulate' not in sys.modules and 'asyncio' not in sys.modules"
    with PythonProcess("-c", code) as process:
        assert process.wait() == 0, process.output
        assert all(f"  {command} " in process.output for command in COMMANDS)


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(group, ["sreve"]).exit_code == 2


def test_migrations_are_applied_once_and_shown(folder: Path) -> None:
    assert run_command("database", "status", cwd=folder).startswith("pending  1 devices_and_pushes")
    assert run_command("database", "migrate", cwd=folder).startswith("applied 1 devices_and_pushes, 20")
    assert "nothing to do" in run_command("database", "migrate", cwd=folder)
    assert run_command("database", "status", cwd=folder).startswith("applied  1 devices_and_pushes, 20")


def test_a_database_that_cannot_be_opened_is_one_line_and_3(folder: Path) -> None:
    shown = run_command("database", "migrate", "--database", "sqlite:////no/such/folder/x.db", returncode=3)
    assert shown.count("\n") == 1
    assert "create it first" in shown
