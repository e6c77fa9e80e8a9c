"""The command behind ``script/fuzz``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from fuzz.engines import WORK, has_atheris, run_atheris, run_hypothesis
from fuzz.targets import NAMES, open_target

MARGIN = 60
"""Seconds that a target may take longer than it was given."""


def main() -> int:
    """Run the targets one after the other, each in a process of its own; 1 if one of them found something."""
    options = _parser().parse_args()
    if options.input:
        return _try_inputs(options.targets, options.input)
    engine = options.engine or ("atheris" if has_atheris() else "hypothesis")
    if options.alone:
        return _run_here(options.targets[0], engine, options.seconds)
    failed = [name for name in options.targets or NAMES if not _run(name, engine, options.seconds)]
    if failed:
        print(f"found something: {', '.join(failed)}; the inputs are in {WORK}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/fuzz",
        description="Throws inputs at the parsers that meet the network.",
        epilog=f"{', '.join(NAMES)}",
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[*NAMES, []], help="all of them by default")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each target; 60 by default")
    parser.add_argument("--engine", choices=["atheris", "hypothesis"], help="atheris where it is installed by default")
    parser.add_argument("--input", action="append", metavar="FILE", help="try this input and no other; may be repeated")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser


def _try_inputs(targets: list[str], paths: list[str]) -> int:
    for name in targets:
        with open_target(name) as check:
            for path in paths:
                with open(path, "rb") as file:
                    check(file.read())
                print(f"{name}: {path} breaks no promise")
    return 0


def _run(name: str, engine: str, seconds: int) -> bool:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "fuzz",
        name,
        "--alone",
        "--engine",
        engine,
        "--seconds",
        str(seconds),
    ]
    begun = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + MARGIN, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name}: does not end")
        return False
    took = time.monotonic() - begun
    if done.returncode:
        said = "".join(line for line in (done.stdout + done.stderr).splitlines(True) if "INFO: Instr" not in line)
        print(f"{name}: failed after {took:.0f} s\n{said[-6000:]}")
        return False
    print(
        f"{name}: {_executions(done.stdout + done.stderr)} inputs in {took:.0f} s by {engine}, no promise broken",
        flush=True,
    )
    return True


def _executions(text: str) -> str:
    for line in text.splitlines():
        word, _, count = line.rpartition(":")
        if word in ("stat::number_of_executed_units", "inputs"):
            return count.strip()
    return "?"


def _run_here(name: str, engine: str, seconds: int) -> int:
    if engine == "atheris":
        run_atheris(name, seconds)
    else:
        print(f"inputs: {run_hypothesis(name, seconds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
