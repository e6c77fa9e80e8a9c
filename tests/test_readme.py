"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from processes import PythonProcess

from mooring import Client

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_opens_with_the_two_commands() -> None:
    commands = re.findall(r"^    (\S+)", README, re.MULTILINE)[:2]
    assert commands == ["script/server", "script/test"]
    assert README.splitlines()[2].startswith("    script/server")


def test_the_server_in_ten_lines_stores_and_answers_as_it_stands(folder: Path) -> None:
    (folder / "readings.py").write_text(BLOCKS[0])
    assert len([line for line in BLOCKS[0].splitlines() if line and not line.startswith("#")]) == 10
    arguments = ("-m", "mooring", "serve", "readings", "--bind", "tcp://127.0.0.1:0")
    with PythonProcess(*arguments, cwd=folder) as process:
        with Client(process.wait_for_line("listening").split()[1]) as client:
            client.send(b"21.5")
            assert client.recv() == b"stored"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    with closing(sqlite3.connect(folder / "readings.db")) as database:
        assert database.execute("SELECT value FROM readings").fetchall() == [("21.5",)]


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
