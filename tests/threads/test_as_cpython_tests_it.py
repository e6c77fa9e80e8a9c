"""CPython's own executor tests pass; see ``cpython_tests.py`` for what cannot apply, and why."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("cpython_tests.py")
PARTS = {"ThreadPoolWaitTests": 3, "ThreadPoolWaitTest": 3, "ThreadPoolExecutorTest": 2}
"""Classes that sleep for long are split; all parts run beside each other."""


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


def test_cpythons_own_executor_tests_pass() -> None:
    classes = finish(start()).split()
    assert len(classes) == 6, classes
    parts = [(name, str(part), str(PARTS.get(name, 1))) for name in classes for part in range(PARTS.get(name, 1))]
    outputs = [finish(process) for process in [start(*part) for part in parts]]
    passed = sum(len(re.findall(r"\bok$", output, re.MULTILINE)) for output in outputs)
    if passed < 35:
        pytest.fail(f"only {passed} tests ran:\n" + "\n".join(outputs))


def test_what_is_left_out_is_there() -> None:
    code = (
        "import cpython_tests as tests\n"
        "cases = tests.load()\n"
        "for name, reason in tests.CANNOT_APPLY.items():\n"
        "    case, method = name.split('.')\n"
        "    assert reason and hasattr(cases[case], method), name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROGRAM.parent, check=True, timeout=60)
