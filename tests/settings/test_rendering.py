"""The settings as text: the table in the docs, the file to begin with, what holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mooring.settings import fields, load
from mooring.settings.rendering import shown, table, template

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_table_in_the_docs_is_what_the_types_say() -> None:
    _, begin, rest = DOCS.read_text().partition("<!-- begin of the table -->\n")
    part, end, _ = rest.partition("<!-- end of the table -->\n")
    assert begin
    assert end
    assert part.strip() == table().strip(), "put the output of `mooring config table` between the two marks"


def test_every_setting_is_in_the_table_with_its_variable_and_its_option() -> None:
    for field in fields().values():
        (row,) = [line for line in table().splitlines() if line.startswith(f"| `{field.key}` |")]
        assert f"`{field.variable}`" in row
        assert not field.about.option or f"`{field.about.option}`" in row


def test_the_file_to_begin_with_sets_nothing_and_every_line_of_it_can_be_used(folder: Path) -> None:
    assert not any(value for value in tomllib.loads(template()).values())
    used = re.sub(r"^# ([a-z_]+ = )", r"\1", template(), flags=re.MULTILINE)
    secret = folder / "secret"
    secret.write_text("s")
    used = re.sub(r"/run/secrets/\w+", str(secret), used)
    (folder / "mooring.toml").write_text(used)
    loaded = load(config=str(folder / "mooring.toml"), environ={})
    assert not loaded.problems
    assert {field.key for field in fields().values()} == {".".join(path) for path in loaded.origins}


def test_what_holds_can_be_read_back(folder: Path) -> None:
    environ = {
        "MOORING_BIND": "tcp://127.0.0.1:1,unix:/x",
        "MOORING_THREADS": "3:4",
        "MOORING_IDLE_TIMEOUT": "off",
        "MOORING_OUTBOX_LIMIT": "64KiB",
        "MOORING_HEARTBEAT": "10s",
        "MOORING_DATABASE__MAX_SIZE": "7",
    }
    first = load(environ=environ)
    (folder / "again.toml").write_text(shown(first, origin=True))
    again = load(config=str(folder / "again.toml"), environ={})
    assert not again.problems
    assert again.settings == first.settings


def test_secrets_are_hidden(folder: Path) -> None:
    environ = {"MOORING_DATABASE": "mysql://app:hunter2@db/meters", "MOORING_DATABASE__PASSWORD": "hunter2"}
    text = shown(load(environ=environ), origin=True)
    assert "hunter2" not in text
    assert re.search(r'^url = "mysql://app:\*\*\*@db/meters" +# environment MOORING_DATABASE$', text, re.MULTILINE)
    assert 'password = "***"' in text
