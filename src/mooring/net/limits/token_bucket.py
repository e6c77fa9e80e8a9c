"""Token buckets: so many a second on average, and some at once. Time comes in as a number."""

from __future__ import annotations

from collections.abc import Hashable


class TokenBucket:
    """One bucket; belongs to one thread at a time.

    What has happened already may be charged though the bucket is empty: it owes then, and ``wait`` tells how long.

    Args:
        rate: tokens that come in a second.
        size: tokens that it holds at most, and at first.
        now: seconds on the monotonic clock.
    """

    __slots__ = ("_at", "_tokens", "rate", "size")

    def __init__(self, rate: float, size: float, now: float) -> None:
        self.rate = rate
        self.size = size
        self._tokens = size
        self._at = now

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.size, self._tokens + (now - self._at) * self.rate)
            self._at = now

    def charge(self, count: float, now: float) -> None:
        """Take so many tokens, whether they are there or not."""
        self._fill(now)
        self._tokens -= count

    def wait(self, now: float, count: float = 0.0) -> float:
        """Seconds until so many tokens are there; 0.0 if they are. For 0: until nothing is owed."""
        self._fill(now)
        missing = count - self._tokens
        return missing / self.rate if missing > 0 else 0.0

    def is_full(self, now: float) -> bool:
        """Whether it has been quiet for so long that nothing of the past counts any more."""
        self._fill(now)
        return self._tokens >= self.size


class BucketTable:
    """A bucket for each key, of a bounded number of keys; belongs to one thread at a time.

    A key that has been quiet until its bucket was full again need not be remembered; each look-up forgets up to two
    such. Where more keys than ``most`` come faster than that, the one that was seen least lately is forgotten, and
    begins with a full bucket.

    Args:
        rate, size: of each bucket.
        most: keys that are remembered.
    """

    def __init__(self, rate: float, size: float, most: int) -> None:
        self.rate = rate
        self.size = size
        self._most = most
        self._left: dict[Hashable, tuple[float, float]] = {}  # key -> (tokens, when); seen least lately first

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token of this key; False if there is none, which costs nothing."""
        tokens, at = self._left.pop(key, (self.size, now))
        tokens = min(self.size, tokens + max(0.0, now - at) * self.rate)
        taken = tokens >= 1.0
        self._left[key] = (tokens - 1.0 if taken else tokens, now)
        self._forget(now)
        return taken

    def _forget(self, now: float) -> None:
        left = self._left
        for _ in range(2):
            oldest = next(iter(left))
            tokens, at = left[oldest]
            is_full = tokens + (now - at) * self.rate >= self.size
            if not is_full and len(left) <= self._most:
                return
            del left[oldest]
            if not left:
                return
