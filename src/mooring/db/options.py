"""The pool's options, checked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .events import PoolEvent

RESETS: Final = ("rollback", "full", "none")
_SECONDS: Final = (
    *("timeout", "max_lifetime", "max_idle", "keepalive_interval"),
    *("ping_after", "leak_after", "fail_fast_after"),
)


@dataclass(frozen=True)
class PoolOptions:
    """The settings of a pool.

    Args:
        name: for logs, messages and thread names; the URL without its password if empty.
        min_size, max_size: connections kept, and most connections.
        timeout: seconds that ``get_connection`` waits unless told otherwise.
        max_waiting: callers that may wait at the same time; ``10 * max_size`` if None.
        max_lifetime: seconds after which a connection is replaced, less up to 10 % at random.
        max_idle: seconds after which a connection above ``min_size`` that nobody used is closed.
        keepalive_interval: seconds after which an idle connection is asked in the background.
        ping_after: seconds of idleness after which a connection is asked before it is handed out.
        leak_after: seconds after which the log names who still holds a connection; ``math.inf`` for never.
        fail_fast_after: seconds of a database's absence after which callers no longer wait for it.
        reset_on_return: what is done to a returned connection; one of ``RESETS``.
        on_connect: called with each new driver connection, and again after each full reset.
        on_event: called with each ``PoolEvent``, in the thread where it happens; must be quick.

    Raises:
        ValueError, TypeError: an argument is out of range; the text names it.
    """

    name: str = ""
    min_size: int = 2
    max_size: int = 10
    timeout: float = 5.0
    max_waiting: int | None = None
    max_lifetime: float = 1800.0
    max_idle: float = 600.0
    keepalive_interval: float = 120.0
    ping_after: float = 30.0
    leak_after: float = 60.0
    fail_fast_after: float = 5.0
    reset_on_return: str = "rollback"
    on_connect: Callable[[Any], object] | None = None
    on_event: Callable[[PoolEvent], object] | None = None

    def __post_init__(self) -> None:
        check_sizes(self.min_size, self.max_size)
        if self.max_waiting is not None and (not _is_int(self.max_waiting) or self.max_waiting < 0):
            raise ValueError(f"max_waiting must be a whole number from 0 on, or None, not {self.max_waiting!r}")
        for name in _SECONDS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"{name} must be a number of seconds from 0 on, not {value!r}")
        for name in ("max_lifetime", "keepalive_interval", "leak_after"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be more than 0 seconds")
        if self.reset_on_return not in RESETS:
            raise ValueError(f"reset_on_return must be one of {', '.join(RESETS)}, not {self.reset_on_return!r}")
        for name in ("on_connect", "on_event"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def check_sizes(min_size: int, max_size: int) -> None:
    """Refuse pool sizes that make no sense.

    Raises:
        ValueError: not ``0 <= min_size <= max_size``, or ``max_size`` below 1.
    """
    if not _is_int(min_size) or not _is_int(max_size):
        raise TypeError(f"min_size and max_size must be whole numbers, not {min_size!r} and {max_size!r}")
    if max_size < 1 or min_size < 0:
        raise ValueError(f"min_size must be at least 0 and max_size at least 1, not {min_size} and {max_size}")
    if min_size > max_size:
        raise ValueError(f"min_size {min_size} is more than max_size {max_size}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
