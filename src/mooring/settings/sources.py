"""Where settings come from: a TOML file, the environment, the command line. Each value keeps its origin."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from .fields import FILE_SUFFIX, PREFIX, Field, Path, fields, secret_of, sections, shorthand, suggestion, variable_of
from .values import Secret

LARGEST_FILE: Final = 1 << 20
LONGEST_KEY: Final = 60
"""Characters of an unknown key that a message shows."""

LARGEST_SECRET: Final = 64 << 10

CONFIG_VARIABLE: Final = PREFIX + "CONFIG"
"""Names the settings' file; not a setting itself."""

PLACES: Final = ("mooring.toml", "pyproject.toml", "/etc/mooring/mooring.toml")
"""Where the file is looked for, in this order; of pyproject.toml the table [tool.mooring] is read, if it is there."""

_SHORT: Final = {
    "ADMIN_TOKEN": "ADMIN__TOKEN",
    "ADMIN_TOKEN_FILE": "ADMIN__TOKEN_FILE",
    "ADMIN_VIEWER_TOKEN_FILE": "ADMIN__VIEWER_TOKEN_FILE",
    "ADMIN_HOST": "ADMIN__HOSTS",
}
"""Variables with one underscore: those that the commands which ask a server know by the same name, and their like."""

_OF_COMMANDS: Final = {"CONFIG", "ADMIN_URL"}
"""Variables that tell a command something and are no settings."""

_OF_KUBERNETES: Final = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?)")
"""What Kubernetes puts into every pod if there is a service called `mooring`: none of ours, and no mistake."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        kind: "default", "file", "environment" or "command line".
        place: file and line, variable, or option.
    """

    kind: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.place}" if self.kind == "environment" else self.place or self.kind


DEFAULT: Final = Origin("default")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with the settings."""

    origin: Origin
    text: str

    def __str__(self) -> str:
        return f"{self.origin.place or self.origin.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as a user wrote it."""

    field: Field
    raw: Any
    origin: Origin

    @property
    def is_text(self) -> bool:
        """Numbers and lists must be read from it."""
        return self.origin.kind != "file"


class SettingsFileError(Exception):
    """The file cannot be read at all; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def find_file(named: str | None, environ: Mapping[str, str]) -> FilePath | None:
    """Which file holds the settings: what the option or the variable names, or one of PLACES; None if there is none."""
    named = named or environ.get(CONFIG_VARIABLE)
    if named:
        return FilePath(named)
    for place in map(FilePath, PLACES):
        if place.is_file() and (place.name != "pyproject.toml" or "[tool.mooring" in place.read_text(errors="replace")):
            return place
    return None


def from_file(path: FilePath, problems: list[Problem]) -> list[Given]:
    """Read a TOML file.

    Args:
        path: the file; of a ``pyproject.toml`` its table ``[tool.mooring]`` is read.
        problems: what is wrong with single keys is added here.

    Raises:
        SettingsFileError: the file cannot be read, or is no TOML.
    """
    text = _read(path)
    try:
        table: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsFileError(_syntax_problem(path, text, str(exc))) from exc
    except (ValueError, RecursionError) as exc:  # numbers of thousands of digits, thousands of brackets
        raise SettingsFileError(Problem(Origin("file", str(path)), f"is no settings' file: {exc}")) from exc
    base: Path = ()
    if path.name == "pyproject.toml":
        base = ("tool", "mooring")
        table = table.get("tool", {}).get("mooring", {})
        if not isinstance(table, dict):
            raise SettingsFileError(Problem(Origin("file", str(path)), "tool.mooring is no table"))
    lines = _lines_of_keys(text)
    given: list[Given] = []
    for key, raw in _leaves(table, ()):
        line = lines.get((*base, *key))
        _take(key, raw, Origin("file", f"{path}:{line}" if line else str(path)), path.parent, given, problems)
    return given


def from_environment(environ: Mapping[str, str], problems: list[Problem]) -> list[Given]:
    """Take the variables that begin with ``MOORING_``; what is wrong with single ones is added to ``problems``."""
    given: list[Given] = []
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in _OF_COMMANDS or _OF_KUBERNETES.fullmatch(name):
            continue
        key = tuple(_SHORT.get(name, name).lower().split("__"))
        _take(key, environ[variable], Origin("environment", variable), FilePath(), given, problems)
    return given


def from_assignments(assignments: Mapping[str, str], problems: list[Problem]) -> list[Given]:
    """Take ``KEY=VALUE`` pairs of the option ``--set``."""
    given: list[Given] = []
    for key, raw in assignments.items():
        origin = Origin("command line", f"--set {key}")
        known = fields().get(tuple(key.split(".")))
        if known is not None and known.type is Secret:
            problems.append(Problem(origin, f"all users of the machine can read this; use {known.variable}_FILE"))
            continue
        _take(tuple(key.split(".")), raw, origin, FilePath(), given, problems)
    return given


def from_file_options(files: Mapping[Path, str], problems: list[Problem]) -> list[Given]:
    """Read the secrets whose files options name, by the path of the setting."""
    given: list[Given] = []
    for path, name in files.items():
        option = fields()[path].about.file_option
        key = (*path[:-1], path[-1] + FILE_SUFFIX)
        _take(key, name, Origin("command line", option), FilePath(), given, problems)
    return given


def from_options(options: Mapping[Path, Any]) -> list[Given]:
    """Take the values of options, by the path of their setting."""
    known = fields()
    return [
        Given(known[path], raw, Origin("command line", known[path].about.option or ".".join(path)))
        for path, raw in options.items()
    ]


def _take(key: Path, raw: Any, origin: Origin, folder: FilePath, given: list[Given], problems: list[Problem]) -> None:
    field = fields().get(shorthand(key))
    if field is not None:
        given.append(Given(field, raw, origin))
        return
    secret = secret_of(key) or secret_of(_shorthand_file(key))
    if secret is None:
        key = tuple(part[:LONGEST_KEY] for part in key)
        written = variable_of(key) if origin.kind == "environment" else ".".join(key)
        problems.append(Problem(origin, f"there is no setting {written}{_suggested(key, origin)}"))
        return
    try:
        given.append(Given(secret, _read_secret(folder, raw), origin))
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        problems.append(Problem(origin, f"the file {raw!r:.80} of {secret.key} cannot be read: {reason}"))


def _shorthand_file(key: Path) -> Path:
    """``database_file`` is the file of ``database.url``, as ``database`` is the URL."""
    if len(key) != 1 or not key[0].endswith(FILE_SUFFIX):
        return ()
    path = shorthand((key[0].removesuffix(FILE_SUFFIX),))
    return (*path[:-1], path[-1] + FILE_SUFFIX)


def _suggested(key: Path, origin: Origin) -> str:
    if key in sections():
        known = ", ".join(field.key for field in fields().values() if field.path[: len(key)] == key)
        return f": it is a group of settings, {known}"
    text = suggestion(key)
    if text and origin.kind == "environment":
        name = text.removeprefix("; did you mean ").rstrip("?")
        return f"; did you mean {variable_of(tuple(name.split('.')))}?"
    return text


def _leaves(table: Any, path: Path) -> list[tuple[Path, Any]]:
    """The values with their paths; of a group that is not known its keys, and nothing deeper."""
    found: list[tuple[Path, Any]] = []
    for name, value in table.items():
        key = (*path, name)
        if key in sections() and isinstance(value, dict):
            found += _leaves(value, key)
        elif isinstance(value, dict) and value and not path and key not in fields():
            found += [((*key, inner), value[inner]) for inner in value]
        else:
            found.append((key, value))
    return found


def _read(path: FilePath) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise ValueError("more than 1 MiB")
        return data.decode("utf-8-sig")  # with the mark that editors of Windows put before it, or without
    except OSError as exc:
        raise SettingsFileError(Problem(Origin("file", str(path)), f"cannot be read: {exc.strerror}")) from exc
    except ValueError as exc:
        raise SettingsFileError(Problem(Origin("file", str(path)), f"is no settings' file: {exc}")) from exc


def _read_secret(folder: FilePath, raw: Any) -> str:
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise ValueError("that is no name of a file")
    with (folder / raw).open("rb") as file:
        data = file.read(LARGEST_SECRET + 1)
    if len(data) > LARGEST_SECRET:
        raise ValueError("more than 64 KiB")
    text = data.decode().rstrip("\r\n")
    if not text:
        raise ValueError("it is empty")
    return text


def _syntax_problem(path: FilePath, text: str, message: str) -> Problem:
    match = re.search(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", message)
    expected = message[: match.start()] if match else message
    lines = text.splitlines() or [""]
    number = int(match[1]) if match and match[1] else len(lines)
    line = lines[min(number, len(lines)) - 1].strip()
    place = f"{path}:{number}" + (f":{match[2]}" if match and match[2] else "")
    return Problem(
        Origin("file", place), f"this is no TOML: {expected[:1].lower()}{expected[1:]}; the line is {line!r:.80}"
    )


def _lines_of_keys(text: str) -> dict[Path, int]:
    """Where keys stand, as far as that can be said without a parser: tables in brackets and `key = value` lines.

    ``tomllib`` does not tell. A key that is not found (inside an inline table) is named without its line.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?$", line)
        key = re.match(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"))*)\s*=""", line)
        if header:
            table = _split_key(header[1])
            found.setdefault(table, number)
        elif key:
            found.setdefault((*table, *_split_key(key[1])), number)
    return found


def _split_key(text: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
