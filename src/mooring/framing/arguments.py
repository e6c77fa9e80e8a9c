"""Checks of constructor arguments that several framings share."""

from __future__ import annotations

from collections.abc import Sequence


def require_bytes(name: str, value: object) -> None:
    """Raise unless ``value`` is a ``bytes`` object with something in it."""
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes, such as b'\\n', not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must not be empty")


def require_integer(name: str, value: object, minimum: int | None, maximum: int | None = None) -> None:
    """Raise unless ``value`` is an integer from ``minimum`` to ``maximum``; None is no bound."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, not {value}")


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")
