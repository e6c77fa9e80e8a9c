"""Settings as text: the table in the docs, the file to begin with, and what holds now."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from .fields import Field, fields, sections
from .loading import Loaded
from .section import About
from .values import DatabaseText, Secret


def table() -> str:
    """All settings as Markdown, a table for each group."""
    lines: list[str] = []
    for title, group in _groups():
        section = sections().get((title,))
        lines += [f"### {f'[{title}]' if title else 'Without a group'}", ""]
        if section is not None:
            lines += [_sentence(section), ""]
        lines += ["| setting | environment, option | default | HUP | meaning |", "|---|---|---|---|---|"]
        lines += [_row(field) for field in group]
        lines.append("")
    return "\n".join(lines)


def template() -> str:
    """A settings' file in which every line is a comment: what can be set, what it means, and its default."""
    lines = [
        "# Settings of `mooring serve`. Environment variables and options go before what stands here.",
        "# `mooring check` tells what is wrong with them, `mooring config show --origin` what holds.",
    ]
    for title, group in _groups():
        if title:
            lines += ["", f"[{title}]"]
        for field in group:
            if field.type is Secret:
                lines += ["", *_comment(field.about), f'# {field.path[-1]}_file = "/run/secrets/{field.path[-1]}"']
            else:
                lines += ["", *_comment(field.about), f"# {field.path[-1]} = {_example(field)}"]
    return "\n".join(lines) + "\n"


def shown(loaded: Loaded, *, origin: bool) -> str:
    """What holds, as TOML without its secrets.

    Args:
        loaded: the settings.
        origin: say behind each line where the value came from.
    """
    lines: list[str] = []
    for title, group in _groups():
        if title:
            lines += ["", f"[{title}]"]
        lines += [_shown(field, loaded, origin) for field in group]
    return "\n".join(lines) + "\n"


def _shown(field: Field, loaded: Loaded, origin: bool) -> str:
    value = loaded.value(field.path)
    if value is UNSET:
        line = f"# {field.path[-1]}"
        said = field.about.default or "not set"
    else:
        line = f"{field.path[-1]} = {_toml(value)}"
        said = str(loaded.origin(field.path))
    return f"{line:<40} # {said}" if origin or value is UNSET else line


def _toml(value: Any) -> str:
    if value is None:
        return '"off"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return f"{value:g}"
    if type(value) is tuple:
        return f"[{', '.join(_toml(one) for one in value)}]"
    return json.dumps(value.reveal() if isinstance(value, DatabaseText) and "***" not in str(value) else str(value))


def _groups() -> Iterator[tuple[str, list[Field]]]:
    for title in ("", *(name for (name,) in sections())):
        group = [field for path, field in fields().items() if (path[0] if len(path) > 1 else "") == title]
        yield title, group


def _row(field: Field) -> str:
    about = field.about
    names = [f"`{field.variable}`"] + ([f"`{about.option}`"] if about.option else [])
    if about.secret:
        names.append(f"`{field.variable}_FILE`")
    if about.file_option:
        names.append(f"`{about.file_option}`")
    default = about.default or ("" if field.default in (UNSET, ()) else _toml(field.default).strip('"'))
    meaning = about.meaning.replace("|", "\\|")
    return f"| `{field.key}` | {' '.join(names)} | {default} | {'yes' if about.reload else ''} | {meaning} |"


def _example(field: Field) -> str:
    about = field.about
    text = about.example or about.default.partition(",")[0] or _toml(field.default).strip('"')
    try:
        value = field.convert(text, from_text=True)
    except ValueError:
        return f'"{text}"'
    return _toml(value)


def _comment(about: About) -> list[str]:
    default = f" Default: {about.default}." if about.default and about.example else ""
    reload = " Taken over on HUP." if about.reload else ""
    return textwrap.wrap(about.meaning + default + reload, 100, initial_indent="# ", subsequent_indent="# ")


def _sentence(section: type) -> str:
    return (section.__doc__ or "").strip()
