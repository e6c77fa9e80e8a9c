"""Putting the sources together: command line before environment before file before defaults, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from .fields import Field, Path, fields, sections
from .schema import Settings
from .sources import (
    DEFAULT,
    Given,
    Origin,
    Problem,
    SettingsFileError,
    find_file,
    from_assignments,
    from_environment,
    from_file,
    from_file_options,
    from_options,
)


@dataclass
class Loaded:
    """What the sources gave.

    Attributes:
        settings: the values; where there was a problem, the default.
        origins: where each value that is not the default came from.
        problems: what is wrong, all of it.
        file: the file that was read; None if there is none.
    """

    settings: Settings = field(default_factory=Settings)
    origins: dict[Path, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    file: FilePath | None = None

    def origin(self, path: Path) -> Origin:
        """Where the value of a setting came from."""
        return self.origins.get(path, DEFAULT)

    @property
    def sources(self) -> str:
        """Where the values came from, in words: ``mooring.toml, 1 variable, 2 options``; ``defaults``."""
        kinds = [origin.kind for origin in self.origins.values()]
        told = [str(self.file)] if self.file is not None else []
        for kind, word in (("environment", "variable"), ("command line", "option")):
            count = kinds.count(kind)
            told += [f"{count} {word}{'s' if count > 1 else ''}"] if count else []
        return ", ".join(told) or "defaults"

    def value(self, path: Path) -> Any:
        """The value of a setting."""
        value: Any = self.settings
        for name in path:
            value = getattr(value, name)
        return value


def load(
    *,
    config: str | None = None,
    environ: Mapping[str, str],
    options: Mapping[Path, Any] | None = None,
    assignments: Mapping[str, str] | None = None,
    files: Mapping[Path, str] | None = None,
    checks: Mapping[type, Callable[[str], object]] | None = None,
) -> Loaded:
    """Read all settings.

    Args:
        config: the file that ``--config`` names; None: see ``find_file``.
        environ: the environment.
        options: what was given on the command line, by the path of the setting.
        assignments: the same, from ``--set KEY=VALUE``.
        files: files of secrets that were named on the command line, by the path of the setting.
        checks: for types whose values are checked by others: each is called with the text and raises ValueError.

    Returns:
        Everything that was found; never raises for what users wrote, but lists it as problems.
    """
    loaded = Loaded()
    given: list[Given] = []
    path = find_file(config, environ)
    if path is not None:
        loaded.file = path
        try:
            given += from_file(path, loaded.problems)
        except SettingsFileError as exc:
            loaded.problems.append(exc.problem)
    given += from_environment(environ, loaded.problems)
    given += from_assignments(assignments or {}, loaded.problems)
    given += from_options(options or {})
    given += from_file_options(files or {}, loaded.problems)
    values: dict[Path, Any] = {}
    for one in given:
        try:
            values[one.field.path] = _converted(one, checks or {})
        except ValueError as exc:
            loaded.problems.append(Problem(one.origin, _name_in_file(one) + str(exc)))
            continue
        loaded.origins[one.field.path] = one.origin
    loaded.settings = _assemble(values)
    return loaded


def _converted(given: Given, checks: Mapping[type, Callable[[str], object]]) -> Any:
    field = given.field
    value = field.convert(given.raw, from_text=given.is_text)
    check = checks.get(field.type) if isinstance(field.type, type) else None
    if check is not None:
        for one in value if field.many else (value,):
            check(one)
    return value


def _name_in_file(given: Given) -> str:
    return f"{given.field.key}: " if given.origin.kind == "file" else ""


def _assemble(values: Mapping[Path, Any]) -> Settings:
    outermost: dict[str, Any] = {path[0]: value for path, value in values.items() if len(path) == 1}
    for path, kind in sections().items():
        inner = {key[-1]: value for key, value in values.items() if key[:-1] == path}
        outermost[path[-1]] = kind(**inner)
    return Settings(**outermost)


def changes(before: Loaded, after: Loaded) -> list[Field]:
    """The settings whose values differ."""
    return [field for path, field in fields().items() if before.value(path) != after.value(path)]
