"""docs/topics/security.md names the test that proves each of its lines: they are there, and each line has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "topics" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(\w+)`", TEXT)
LINES = [line for line in TEXT.splitlines() if line.startswith("| ") and "| proved by |" not in line]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_the_tests_that_the_threat_model_names_are_there(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    named = {name for where, name in NAMED if where == file}
    assert named <= there, f"{file} has no {', '.join(sorted(named - there))}"


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip()[:50])
def test_each_line_of_the_threat_model_names_a_test(line: str) -> None:
    assert "`tests/" in line.split("|")[2]


def test_the_threat_model_is_read() -> None:
    assert len(LINES) > 30
    assert len(NAMED) > len(LINES)
