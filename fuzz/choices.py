"""Choices read from the bytes of an input, so that whoever changes the bytes changes the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes bytes off the front of an input; zeros follow its end.

    Attributes:
        over: whether the input has been used up.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def over(self) -> bool:
        """See the class."""
        return self._at >= len(self._data)

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1, at most 255."""
        value = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return value % limit

    def one_of(self, options: Sequence[T]) -> T:
        """One of at most 256."""
        return options[self.below(len(options))]
