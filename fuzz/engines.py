"""The two ways to run a target for long: atheris, which looks for inputs that reach new code, and Hypothesis."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

from fuzz.inputs import inputs
from fuzz.targets import CORPUS, open_target, seeds

WORK = Path(__file__).parent / "work"
"""What atheris has found to reach new code, and inputs that broke a promise. Not kept in the repository."""

LARGEST_INPUT = 70_000
SLOWEST = 20
"""Seconds for one input."""
MOST_MEMORY = 2048
"""MiB for the whole process."""


def has_atheris() -> bool:
    """Whether it can be used here."""
    return importlib.util.find_spec("atheris") is not None


def run_atheris(name: str, seconds: int) -> None:
    """Fuzz a target by coverage; ends the process, with 0 if nothing was found."""
    import atheris

    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    # Before any module of ours is loaded, or its branches are not seen.
    with atheris.instrument_imports(include=["mooring", "fuzz.targets", "fuzz_example_gt06"]):
        target = open_target(name)
        check = target.__enter__()  # as long as the process lives, which atheris ends
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST_INPUT}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MOST_MEMORY}",
        f"-artifact_prefix={WORK}/{name}-",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(CORPUS / name)], check)
    atheris.Fuzz()


def run_hypothesis(name: str, seconds: int) -> int:
    """Fuzz a target by changes to its corpus, blindly.

    Returns:
        How many inputs were tried.

    Raises:
        Whatever the target raised; the smallest input that does it lies in the folder ``work``.
    """
    from hypothesis import HealthCheck, given, settings

    count = 0
    last = b""
    ends = time.monotonic() + seconds
    with open_target(name) as check:

        @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(inputs(seeds(name), LARGEST_INPUT))
        def attempt(data: bytes) -> None:
            nonlocal count, last
            count += 1
            last = data
            check(data)

        try:
            while time.monotonic() < ends:
                attempt()
        except BaseException:
            WORK.mkdir(exist_ok=True)
            (WORK / f"{name}-crash-{os.getpid()}").write_bytes(last)
            raise
    return count
