"""Settings as users write them: a value or a ValueError that is short, and what is shown reads as the same."""

from __future__ import annotations

from typing import Any

from mooring.settings.values import Duration, HeartbeatTimes, Size, ThreadCounts

KINDS: list[Any] = [Duration, Size, ThreadCounts, HeartbeatTimes]


def check(data: bytes) -> None:
    """See fuzz.targets."""
    text = data[:2000].decode("utf-8", "surrogateescape")
    for kind in KINDS:
        try:
            value = kind.parse(text)
        except ValueError as exc:
            assert len(str(exc)) < 300
            continue
        again = kind.parse(str(value))
        if kind in (Size, ThreadCounts):
            assert again == value, (text, str(value))
        else:  # times are shown with six digits
            for first, second in zip(*([one] if kind is Duration else one for one in (again, value)), strict=True):
                assert abs(first - second) <= 1e-5 * second, (text, str(value))
