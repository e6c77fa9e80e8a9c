"""Finding what is to be served, and saying what is wrong with it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mooring.cli.exits import NoTarget
from mooring.cli.targets import load_target

_numbers = itertools.count()
Write = Callable[[str], str]


@pytest.fixture
def write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes a module and returns its name; nothing of it stays imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(folder)
    names: list[str] = []

    def write(code: str) -> str:
        names.append(f"target_{next(_numbers)}")
        (folder / f"{names[-1]}.py").write_text(code)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


SERVER = """
from mooring import Server
def echo(connection, message):
    return message
server = Server(echo)
class settings:
    meters = Server(echo, name="meters")
gt06 = Server(echo, name="gt06")
number = 5
def make(): return server
def needs(argument): return server
def nothing(): pass
def fails(): raise LookupError("made by the user")
"""


def refusal(target: str, *, factory: bool = False, app_dir: str | None = None) -> str:
    with pytest.raises(NoTarget) as caught:
        load_target(target, app_dir=app_dir, factory=factory)
    assert caught.value.exit_code == 4
    return caught.value.message


def test_the_attribute_is_server_unless_it_is_named(write: Write) -> None:
    name = write(SERVER)
    assert load_target(name, app_dir=None, factory=False).name == ""
    assert load_target(f"{name}:gt06", app_dir=None, factory=False).name == "gt06"
    assert load_target(f"{name}:settings.meters", app_dir=None, factory=False).name == "meters"
    assert load_target(f"{name}:make", app_dir=None, factory=True).name == ""


def test_app_dir_comes_before_everything_else(write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(SERVER)
    monkeypatch.chdir("/")
    assert load_target(name, app_dir=str(folder), factory=False)
    assert sys.path[0] == str(folder)


def test_a_missing_attribute_lists_the_servers_there_are(write: Write) -> None:
    name = write(SERVER)
    message = refusal(f"{name}:meter")
    assert f"{name} has no attribute 'meter'" in message
    assert f"{name}:server, {name}:gt06" in message
    assert "there is no Server in it" in refusal(write("x = 1"))


def test_what_is_no_server_is_named(write: Write) -> None:
    name = write(SERVER)
    assert "is a function, not a mooring.Server; if it makes one, add --factory" in refusal(f"{name}:make")
    assert "is an object of type int" in refusal(f"{name}:number")
    assert "returned an object of type NoneType, not a mooring.Server" in refusal(f"{name}:nothing", factory=True)
    assert "leave --factory out" in refusal(f"{name}:server", factory=True)
    assert "called without arguments" in refusal(f"{name}:needs", factory=True)


def test_a_missing_module_is_told_from_one_that_misses_something(
    write: Write, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"no module 'no_such_module' in {folder}" in refusal("no_such_module")
    assert capsys.readouterr().err == ""
    refusal(write("import no_such_dependency"))
    assert "No module named 'no_such_dependency'" in capsys.readouterr().err


def test_an_error_in_the_module_shows_the_users_lines_only(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    name = write("def broken():\n    return {}['missing']\nbroken()\n")
    assert name in refusal(name)
    shown = capsys.readouterr().err
    assert "KeyError: 'missing'" in shown
    assert "return {}['missing']" in shown
    assert "targets.py" not in shown
    assert "importlib" not in shown


def test_an_error_in_a_factory_shows_the_users_lines_only(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    refusal(f"{write(SERVER)}:fails", factory=True)
    shown = capsys.readouterr().err
    assert "LookupError: made by the user" in shown
    assert "targets.py" not in shown


@pytest.mark.parametrize("code", ["def (:", "raise SystemExit(0)"])
def test_a_module_that_does_not_parse_or_exits_cannot_be_loaded(write: Write, code: str) -> None:
    assert "importing" in refusal(write(code))


def test_a_file_is_answered_with_the_module_to_name(write: Write) -> None:
    write(SERVER)
    assert "mooring serve app" in refusal("app.py")
    assert "mooring serve --app-dir examples ping" in refusal("examples/ping.py")


def test_a_folder_that_is_not_there_is_named(write: Write, folder: Path) -> None:
    assert f"--app-dir {folder}/none" in refusal("app", app_dir=f"{folder}/none")


@pytest.mark.parametrize("target", ["", ":server", "app:"])
def test_half_a_target_is_answered_with_a_whole_one(write: Write, target: str) -> None:
    assert "MODULE:ATTRIBUTE" in refusal(target)
