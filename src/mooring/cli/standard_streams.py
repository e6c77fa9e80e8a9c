"""A process that was started with stdin, stdout or stderr closed: the numbers 0 to 2 must not go to something else."""

from __future__ import annotations

import os
import sys


def fill_standard_streams() -> None:
    """Open /dev/null in the place of each that is closed: else a socket gets its number, and what is written there."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
