"""The settings as a list: each with its name, its environment variable and the type that it is converted to."""

from __future__ import annotations

import difflib
import functools
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from .schema import Settings
from .section import About, Section
from .values import BindAddress, DatabaseText, Duration, HeartbeatTimes, NetworkText, Secret, Size, ThreadCounts

Path: TypeAlias = tuple[str, ...]

PREFIX: Final = "MOORING_"
FILE_SUFFIX: Final = "_file"
OFF: Final = ("off", "none")

WORDS: Final = {"int": "a whole number", "bool": "true or false", "str": "a text", "float": "a number"}

PARSED: Final = (Duration, Size, ThreadCounts, HeartbeatTimes)
"""Types that read themselves from a text."""

TEXTS: Final = (Secret, BindAddress, DatabaseText, NetworkText)
"""Types that are texts; what else they must be is checked by who uses them."""


@dataclass(frozen=True)
class Field:
    """One setting.

    Attributes:
        path: the names of its sections and its own.
        about: see About.
        type: what a value is converted to.
        optional: ``off`` is a value, and means None.
        many: it is a list.
        default: the value where it is not given; ``msgspec.UNSET`` if that is for the code to say.
    """

    path: Path
    about: About
    type: Any
    optional: bool
    many: bool
    default: Any

    @property
    def key(self) -> str:
        """Its name in messages: ``database.max_size``."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return variable_of(self.path)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values it may have, if they are few; else empty."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is Literal else ()

    def convert(self, raw: Any, *, from_text: bool) -> Any:
        """Make the value of what a user wrote.

        Args:
            raw: as it came out of the TOML file, or a text.
            from_text: it is a text, so that numbers and lists have to be read from it.

        Raises:
            ValueError: it does not fit; the text says what was expected.
        """
        if self.optional and isinstance(raw, str) and raw.lower() in OFF:
            return None
        if not self.many:
            return self._convert_one(raw, from_text)
        if isinstance(raw, str):
            raw = [part.strip() for part in raw.split(",") if part.strip()]
        if not isinstance(raw, list | tuple):
            raise ValueError(f"{raw!r:.80} is not a list of texts")
        return tuple(self._convert_one(one, from_text) for one in raw)

    def _convert_one(self, raw: Any, from_text: bool) -> Any:
        kind = self.type
        if kind in PARSED:
            return kind.parse(raw)
        if kind in TEXTS or kind is str:
            if not isinstance(raw, str) or not raw or "\0" in raw:
                if raw == "":
                    raise ValueError("is empty; leave it out for the default")
                raise ValueError("expected a text" if self.about.secret else f"{raw!r:.80} is not a text")
            return kind(raw)
        if self.choices and raw not in self.choices:
            raise ValueError(
                f"{raw!r:.80} is none of {', '.join(self.choices)}{did_you_mean(str(raw)[:80], self.choices)}"
            )
        try:
            return msgspec.convert(raw, kind, strict=not from_text)
        except msgspec.ValidationError as exc:
            raise ValueError(f"{raw!r:.80}: {_in_words(str(exc))}") from None


@functools.cache
def fields() -> dict[Path, Field]:
    """All settings, by path, in the order of the schema."""
    return {field.path: field for field in _fields_of(Settings, ())}


@functools.cache
def sections() -> dict[Path, type[Section]]:
    """All groups of settings but the outermost."""
    hints = typing.get_type_hints(Settings)
    return {(name,): kind for name, kind in hints.items() if isinstance(kind, type) and issubclass(kind, Section)}


def shorthand(path: Path) -> Path:
    """Where a plain value that stands in the place of a section belongs; the path itself if there is no such thing."""
    kind = sections().get(path)
    name = getattr(kind, "SHORTHAND", None)
    return (*path, name) if name else path


def variable_of(path: Path) -> str:
    """The environment variable of a path."""
    return PREFIX + "__".join(path).upper()


def secret_of(path: Path) -> Field | None:
    """The secret that ``NAME_file`` names the file of."""
    if not path or not path[-1].endswith(FILE_SUFFIX):
        return None
    field = fields().get((*path[:-1], path[-1].removesuffix(FILE_SUFFIX)))
    return field if field is not None and field.about.secret else None


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """The end of a message about a word that is not known."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def suggestion(path: Path) -> str:
    """The same for the path of a setting: one with a similar name, or one that stands in another section."""
    keys = [field.key for field in fields().values()]
    elsewhere = [key for key in keys if path and key.rpartition(".")[2] == path[-1]]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return did_you_mean(".".join(path), [*keys, *(".".join(section) for section in sections())])


def _in_words(message: str) -> str:
    """What msgspec says, in the words of our messages."""
    for name, words in WORDS.items():
        message = message.replace(f"`{name}`", words)
    return message[:1].lower() + message[1:]


def _fields_of(section: type[Section], path: Path) -> typing.Iterator[Field]:
    hints = typing.get_type_hints(section, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(section)}
    for name in section.__struct_fields__:
        hint = hints[name]
        if typing.get_origin(hint) is Annotated:
            yield _field((*path, name), hint, defaults[name])
        else:
            yield from _fields_of(hint, (*path, name))


def _field(path: Path, hint: Any, default: Any) -> Field:
    kind, about = hint.__origin__, next(part for part in hint.__metadata__ if isinstance(part, About))
    limits = [part for part in hint.__metadata__ if isinstance(part, msgspec.Meta)]
    is_union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    members = typing.get_args(kind) if is_union else ()
    optional = type(None) in members
    (kind,) = [one for one in members if one not in (type(None), msgspec.UnsetType)] if members else [kind]
    many = typing.get_origin(kind) is tuple
    if many:
        kind = typing.get_args(kind)[0]
    if limits:
        kind = Annotated[kind, limits[0]]
    return Field(path, about, kind, optional, many, default)
