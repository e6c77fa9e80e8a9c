"""What requests to the API bring, with the bounds of each value."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the banner."""

    token: Annotated[str, Meta(max_length=512)]


class Sizes(Struct, frozen=True, forbid_unknown_fields=True):
    """New bounds of a pool; ``max_size`` may be left out."""

    min_size: Annotated[int, Meta(ge=0, le=100_000)]
    max_size: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


class Close(Struct, frozen=True, forbid_unknown_fields=True):
    """``abort``: reset it at once, without the replies that are due."""

    abort: bool = False


class Send(Struct, frozen=True, forbid_unknown_fields=True):
    """A message, as text or as hex digits; exactly one of the two."""

    text: Annotated[str, Meta(max_length=32_768)] | None = None
    hex: Annotated[str, Meta(max_length=32_768, pattern="^([0-9A-Fa-f]{2} ?)*$")] | None = None


class Command(Struct, frozen=True, forbid_unknown_fields=True):
    """A command for a device of the gateway: any JSON, and after how many seconds it is not wanted any more."""

    data: Any
    expires: Annotated[float, Meta(gt=0, le=31_536_000)] = 3600.0


class Accepting(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether new connections are accepted. ``address``: by which listener; all if None."""

    accepting: bool
    address: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class Drain(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, the server's own where None: see ``Server.stop``."""

    timeout: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    spread: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    grace: Annotated[float, Meta(ge=0, le=86_400)] | None = None


class LogLevel(Struct, frozen=True, forbid_unknown_fields=True):
    """The least that is logged, and after how many seconds it goes back to what it was."""

    level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")]
    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
