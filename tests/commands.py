"""Commands of ``mooring`` within this process: to start one of its own takes longer than most of them run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

from mooring.cli import group


def run_command(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None, returncode: int = 0
) -> str:
    """Run a command to its end; its output, stderr among stdout. AssertionError on another return code.

    Not for commands that wait for a signal or import modules of the user: those need ``PythonProcess``.
    """
    # pytest has switched on faulthandler, and what a command writes to here is no file that it could use.
    without_faulthandler = mock.patch("faulthandler.enable")
    with contextlib.chdir(cwd or "."), logging_as_before(), without_faulthandler:
        result = CliRunner().invoke(group, arguments, env=env, prog_name="mooring")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == returncode, f"return code {result.exit_code}, expected {returncode}: {result.output}"
    return result.output


@contextlib.contextmanager
def logging_as_before() -> Iterator[None]:
    """Undo ``set_up_logging``, which is made for the rest of a process."""
    root = logging.getLogger()
    level, handlers = root.level, set(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        logging.captureWarnings(False)
        for handler in set(root.handlers) - handlers:
            root.removeHandler(handler)
            handler.close()
