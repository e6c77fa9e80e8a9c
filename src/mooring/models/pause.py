"""Whether handlers may start."""

from __future__ import annotations

from typing import Protocol


class Pausable(Protocol):
    """Tells whether handlers may start. An attribute, as it is asked before every message."""

    paused: bool


class NeverPaused:
    """For models without a thread pool."""

    paused = False
