"""The types of settings that TOML does not have: times, sizes, counts, secrets; how they are read and written."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, Self

_UNITS_OF_TIME: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_OF_SIZE: Final = dict.fromkeys(("", "B"), 1) | {
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_NUMBER: Final = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_LONGEST: Final = 10 * 365 * 86400.0
_LARGEST: Final = 1 << 40


class Duration(float):
    """A time in seconds: ``30s``, ``5m``, ``1h30m``, ``250ms``, or a number of seconds; more than 0."""

    EXPECTED: Final = "a time such as 30s, 5m or 1h30m"

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read it as users write it.

        Raises:
            ValueError: it is no time, it is 0, or it is more than ten years.
        """
        seconds = _seconds(raw)
        if seconds is None or not 0 < seconds <= _LONGEST:
            raise ValueError(f"{raw!r:.80} is not {cls.EXPECTED}, more than 0")
        return cls(seconds)

    def __str__(self) -> str:
        seconds = float(self)
        for unit in ("d", "h", "m"):
            count = seconds / _UNITS_OF_TIME[unit]
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        return f"{_digits(seconds)}s" if seconds >= 1 else f"{_digits(seconds * 1000)}ms"


class Size(int):
    """A number of bytes: ``64KiB``, ``1MiB``, ``10MB``, or a whole number; more than 0."""

    EXPECTED: Final = "a size such as 64KiB or 1MiB"

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read it as users write it.

        Raises:
            ValueError: it is no size, it is 0, or it is more than 1 TiB.
        """
        size = _bytes(raw)
        if size is None or not 0 < size <= _LARGEST:
            raise ValueError(f"{raw!r:.80} is not {cls.EXPECTED}, more than 0")
        return cls(size)

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            count, rest = divmod(int(self), _UNITS_OF_SIZE[unit])
            if count and not rest:
                return f"{count}{unit}"
        return f"{int(self)}B"


class ThreadCounts(NamedTuple):
    """How many threads a pool keeps, and how many it may have: ``2:64``, or ``8`` for both."""

    smallest: int
    largest: int

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read it as users write it.

        Raises:
            ValueError: it is not MIN:MAX, or MIN is more than MAX.
        """
        match = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", str(raw))
        if match is None or isinstance(raw, bool):
            raise ValueError(f"{raw!r:.80}: write MIN:MAX, for example 2:64")
        smallest, largest = int(match[1]), int(match[2] or match[1])
        if not 1 <= smallest <= largest:
            raise ValueError(f"{raw!r:.80}: MIN is at least 1, and MAX at least MIN")
        return cls(smallest, largest)

    def __str__(self) -> str:
        return f"{self.smallest}:{self.largest}"


class HeartbeatTimes(NamedTuple):
    """When a silent connection is asked for life, and when it is given up: ``30s:90s``, or ``30s`` for 30s:90s."""

    interval: float
    timeout: float

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read it as users write it; the time-out is three intervals if it is left out.

        Raises:
            ValueError: it is not INTERVAL[:TIMEOUT], or the interval is not less than the time-out.
        """
        first, colon, second = str(raw).partition(":")
        interval = _seconds(first)
        timeout = _seconds(second) if colon else 3 * interval if interval is not None else None
        if interval is None or timeout is None or timeout > _LONGEST:
            raise ValueError(f"{raw!r:.80}: write INTERVAL or INTERVAL:TIMEOUT, for example 30s:90s")
        if not 0 < interval < timeout:
            raise ValueError(f"{raw!r:.80}: the interval is more than 0 and less than the time-out")
        return cls(interval, timeout)

    def __str__(self) -> str:
        return f"{Duration(self.interval)}:{Duration(self.timeout)}"


class Secret(str):
    """A text that is not shown; ``str(secret)`` and ``repr`` tell only that it is there. ``reveal`` gives it."""

    __slots__ = ()

    def reveal(self) -> str:
        """The text itself."""
        return str.__str__(self)

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "'***'"

    def __format__(self, spec: str) -> str:
        return format("***", spec)


class BindAddress(str):
    """Where to listen, as text; what it may be is known where sockets are opened."""

    __slots__ = ()


class NetworkText(str):
    """A network, as text; what it may be is known where addresses are judged."""

    __slots__ = ()


class DatabaseText(str):
    """A database's URL, as text; what it may be is known where databases are opened. May hold a password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(str(self))

    def __str__(self) -> str:
        return re.sub(r"(://[^:@/]*):[^@]*@", r"\1:***@", str.__str__(self))

    def reveal(self) -> str:
        """The URL with its password."""
        return str.__str__(self)


def _seconds(raw: Any) -> float | None:
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, str):
        return None
    text = raw.strip()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if not re.fullmatch(rf"(?:{_NUMBER}(?:ms|s|m|h|d)){{1,5}}", text):
        return None
    return sum(float(number) * _UNITS_OF_TIME[unit] for number, unit in re.findall(rf"({_NUMBER})(ms|s|m|h|d)", text))


def _bytes(raw: Any) -> int | None:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if not isinstance(raw, str):
        return None
    match = re.fullmatch(rf"({_NUMBER})\s?([A-Za-z]*)", raw.strip())
    if match is None or match[2] not in _UNITS_OF_SIZE:
        return None
    size = float(match[1]) * _UNITS_OF_SIZE[match[2]]
    return int(size) if size == int(size) else None


def _digits(number: float) -> str:
    """Six digits, and no exponent, which nobody writes."""
    text = f"{number:g}"
    return text if "e" not in text else f"{number:.9f}".rstrip("0").rstrip(".")
