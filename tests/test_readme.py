"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mooring import Client

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_opens_with_the_two_commands() -> None:
    commands = re.findall(r"^    (\S+)", README, re.MULTILINE)[:2]
    assert commands == ["script/server", "script/test"]
    assert README.splitlines()[2].startswith("    script/server")


def test_the_server_in_ten_lines_stores_and_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "readings"}
    exec(BLOCKS[0].replace('database="sqlite', 'bind="tcp://127.0.0.1:0", database="sqlite'), names)
    lines = [line for line in BLOCKS[0].splitlines() if line and not line.startswith("if ")]
    assert len(lines) - 1 <= 10 - 2  # with the two lines that run it: ten
    server = names["server"]
    server.initialize()
    with server.database.connection() as database:
        database.execute("CREATE TABLE readings (meter INTEGER, value TEXT)")
    with server, Client(server.addresses[0]) as client:
        client.send(b"42")
        assert client.recv() == b"stored"
        with server.database.connection() as database:
            assert [tuple(row) for row in database.execute("SELECT value FROM readings")] == [("42",)]


def test_the_test_of_a_handler_passes() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[1], names)
    names["test_shout"]()


def test_the_pool_is_made_as_shown() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[2].split("with ")[0], names)
    assert "secret" not in str(names["pool"].url)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
