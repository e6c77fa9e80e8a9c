"""The settings on the command line: options made from their schema, and reading what they and the others say."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import click
from msgspec import UNSET

from ..db.url import parse_url
from ..gateway.server import DEFAULT_DATABASE
from ..net.address import parse_bind
from ..net.networks import parse_network
from ..settings import BindAddress, DatabaseText, Field, Loaded, NetworkText, fields, load
from .exits import BadSettings

Function = TypeVar("Function", bound=Callable[..., Any])

CHECKS: Final[Mapping[type, Callable[[str], object]]] = {
    BindAddress: parse_bind,
    DatabaseText: parse_url,
    NetworkText: parse_network,
}
"""What is checked by those who open it."""


def settings_options(function: Function) -> Function:
    """Decorator for a command: an option for each setting that has one, ``--config``, and ``--set`` for all others.

    The command gets them as keyword arguments, which ``read_settings`` takes.
    """
    set_any = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        type=_assignment,
        help="Any setting, by its name in the file, for example database.max_size=20; may be given several times.",
    )
    config = click.option(
        "--config",
        "-c",
        metavar="FILE",
        help="The settings' file, TOML.  [env: MOORING_CONFIG; default: mooring.toml, [tool.mooring] in "
        "pyproject.toml, /etc/mooring/mooring.toml]",
    )
    descriptors = click.option(
        "--fd",
        "descriptors",
        multiple=True,
        metavar="N",
        type=click.IntRange(0, 999_999_999),
        help="Listen on this socket, which was inherited: the same as --bind fd://N.  [env: MOORING_BIND=fd://N; may "
        "be given several times]",
    )
    function = config(set_any(descriptors(function)))
    for field in reversed(fields().values()):
        if field.about.file_option:
            function = _file_option(field)(function)
        if field.about.option:
            function = _option(field)(function)
    return function


def read_settings(options: Mapping[str, Any], targets: Iterable[str] = ()) -> Loaded:
    """Read the settings; ``options`` are the keyword arguments of a command with ``settings_options``.

    Raises:
        BadSettings: all problems, a line each.
    """
    loaded = load_settings(options, targets)
    if loaded.problems:
        raise BadSettings(loaded.problems)
    return loaded


def load_settings(options: Mapping[str, Any], targets: Iterable[str] = ()) -> Loaded:
    """The same, with the problems listed in what is returned."""
    given: dict[tuple[str, ...], Any] = {}
    for path, field in fields().items():
        raw = options.get(_parameter(field))
        if field.about.option and raw not in (None, ()):
            given[path] = list(raw) if field.many else raw
    if options["descriptors"]:
        given["bind",] = [*given.get(("bind",), []), *(f"fd://{number}" for number in options["descriptors"])]
    files = {
        path: options[f"{_parameter(field)}_file"]
        for path, field in fields().items()
        if field.about.file_option and options[f"{_parameter(field)}_file"] is not None
    }
    if targets:
        given["targets",] = list(targets)
    return load(
        config=options["config"],
        environ=os.environ,
        options=given,
        assignments=dict(options["assignments"]),
        files=files,
        checks=CHECKS,
    )


def database_of_settings() -> str:
    """The database's URL of file and environment, for commands that take ``--database`` and nothing else of them.

    Raises:
        BadSettings: as ``read_settings``.
    """
    loaded = load(environ=os.environ, checks=CHECKS)
    if loaded.problems:
        raise BadSettings(loaded.problems)
    url = loaded.settings.database.url
    return DEFAULT_DATABASE if url is UNSET else url.reveal()


class _FieldType(click.ParamType[Any]):
    """Checks a value where click can say which option it was; the text itself is handed on."""

    def __init__(self, field: Field) -> None:
        self.name = field.key
        self._field = field

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        try:
            converted = self._field.convert([value] if self._field.many else value, from_text=True)
            check = CHECKS.get(self._field.type) if isinstance(self._field.type, type) else None
            if check is not None:
                for one in converted if self._field.many else (converted,):
                    check(one)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        return value


def _option(field: Field) -> Callable[[Function], Function]:
    about = field.about
    flags: dict[str, Any] = {"help": f"{re.sub('`', '', about.meaning)}  [{_remarks(field)}]"}
    if field.type is bool:
        flags |= {"is_flag": True, "default": None}
    elif field.choices:
        flags["type"] = click.Choice(field.choices)
    else:
        flags |= {"type": _FieldType(field), "metavar": about.metavar, "multiple": field.many}
    return click.option(about.option, _parameter(field), **flags)


def _file_option(field: Field) -> Callable[[Function], Function]:
    about = field.about
    default = f"; default: {about.default}" if about.default else ""
    meaning = about.meaning[:1].lower() + about.meaning[1:]
    text = f"A file that holds {meaning}  [env: {field.variable}_FILE{default}]"
    return click.option(about.file_option, f"{_parameter(field)}_file", metavar="FILE", help=text)


def _remarks(field: Field) -> str:
    names = f"env: {field.variable}"
    if field.about.secret:
        names += f", {field.variable}_FILE"
    several = "; may be given several times" if field.many else ""
    default = f"; default: {field.about.default}" if field.about.default else ""
    return names + default + several


def _parameter(field: Field) -> str:
    return "__".join(field.path)


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{text!r}: write KEY=VALUE, for example database.max_size=20")
    return key.strip(), value.strip()
