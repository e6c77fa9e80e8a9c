"""How long to wait before trying again."""

from __future__ import annotations

import random
from typing import Final

FIRST: Final = 0.2
LONGEST: Final = 10.0


def full_jitter(attempt: int, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds before the next attempt: anything from 0 to a bound that doubles with each failure.

    The whole range is drawn from, so that devices that failed together do not come back together.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("full jitter").

    Args:
        attempt: failures in a row before this one.
        first: the first bound in seconds.
        longest: the last bound in seconds.
    """
    return random.uniform(0, min(longest, first * 2 ** min(attempt, 30)))
