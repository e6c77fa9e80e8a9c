"""What settings are made of: sections, what is said of each setting, and the types that many share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Rate: TypeAlias = Annotated[float, Meta(gt=0, le=1_000_000_000)]
CountFromZero: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a setting.

    Attributes:
        meaning: one sentence or two, for people.
        option: its option on the command line; "" if it has none (``--set`` takes every setting).
        default: what holds where the setting is not given, in the form in which it would be written; "" if the
            meaning tells it.
        metavar: what stands for the value in the help.
        reload: a running server takes the new value on HUP.
        secret: the value is never shown, and ``NAME_file`` may name a file that holds it.
        file_option: the option that names this file; "" if there is none.
        example: a value for the file that ``mooring config init`` writes; the default if "".
    """

    meaning: str
    option: str = ""
    default: str = ""
    metavar: str = ""
    reload: bool = False
    secret: bool = False
    file_option: str = ""
    example: str = ""


class Section(Struct, frozen=True, kw_only=True):
    """A group of settings; ``SHORTHAND`` names the one that a plain value in the group's place stands for."""
