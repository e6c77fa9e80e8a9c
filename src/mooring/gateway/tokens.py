"""Tokens: how a device proves that it is who it says.

They are 32 random bytes, so nobody guesses one, and one pass of SHA-256 keeps them: a slow hash protects passwords that
people choose, and would melt the processor when a fleet comes back after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

SIZE: Final = 32
NO_HASH: Final = bytes(32)
"""Is no token's hash: stands for that of a device that is not there."""


def make_token() -> str:
    """A new token: 43 letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(SIZE)


def hash_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_hash_of(token: str | None, stored: bytes) -> bool:
    """Compare in a time that says nothing about the content; for None the same time, and no."""
    fits = hmac.compare_digest(hash_of(token or ""), stored)
    return fits and token is not None
