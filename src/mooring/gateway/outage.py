"""Work that the database is needed for, in rounds: while it is away that is said once, not in each round."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .tables.database import Unavailable

logger = logging.getLogger("mooring.gateway")


class Outage:
    """Of one kind of work, done by one thread.

    Args:
        level: of the line.
        text: what cannot be done, before the error.
    """

    def __init__(self, level: int, text: str) -> None:
        self._level = level
        self._text = text
        self._lasts = False

    @contextmanager
    def tolerated(self) -> Iterator[None]:
        """Do a round; ends it when the database is away."""
        try:
            yield
        except Unavailable as exc:
            if not self._lasts:
                logger.log(self._level, "%s until the database is back: %s", self._text, exc)
            self._lasts = True
        else:
            self._lasts = False
