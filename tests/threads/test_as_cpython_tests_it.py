"""CPython's own executor tests pass; see ``cpython_tests.py`` for what cannot apply, and why."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("cpython_tests.py")
PARTS = 5
"""Most of these tests sleep most of the time: all parts run beside each other."""


@pytest.fixture(scope="module")
def outputs() -> list[str]:
    return [finish(process) for process in [start(str(part), str(PARTS)) for part in range(PARTS)]]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=80)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    return output


def test_cpythons_own_executor_tests_pass(outputs: list[str]) -> None:
    passed = sum(len(re.findall(r"\bok$", output, re.MULTILINE)) for output in outputs)
    if passed < 35:
        pytest.fail(f"only {passed} tests ran:\n" + "\n".join(outputs))


def test_what_is_left_out_is_there(outputs: list[str]) -> None:
    for output in outputs:
        assert output.count("left out: ") == 3
