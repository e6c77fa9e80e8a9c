"""Who may do what: tokens, cookies, and how often a wrong one may be tried."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import Final

SESSION_TIME: Final = 24 * 3600
"""Seconds that a cookie is good for."""

ADDRESSES_KEPT: Final = 4096

SHORTEST_TOKEN: Final = 16
"""Characters: anything shorter can be guessed."""


class Role(IntEnum):
    """What may be done; each may also do what those below it may."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2


class Auth:
    """Checks tokens and makes cookies. Belongs to the admin side's thread.

    A cookie is signed with a key that is derived from the tokens, and kept nowhere: it outlives a restart of the
    server, and ends when the tokens change.

    Args:
        token: of those who may operate.
        viewer_token: of those who may only look; None: there are none.
        clock: Unix time in seconds.

    Raises:
        ValueError: a token is too short, or both are the same.
    """

    def __init__(self, token: str, viewer_token: str | None = None, clock: Callable[[], float] = time.time) -> None:
        for one in (token, viewer_token):
            if one is not None and len(one) < SHORTEST_TOKEN:
                raise ValueError(f"a token has at least {SHORTEST_TOKEN} characters; `openssl rand -hex 32` makes one")
        if token == viewer_token:
            raise ValueError("the token of viewers must be another one than that of operators")
        self._tokens = {Role.OPERATOR: token.encode()}
        if viewer_token is not None:
            self._tokens[Role.VIEWER] = viewer_token.encode()
        self._key = hashlib.sha256(b"mooring cookie\0" + b"\0".join(self._tokens.values())).digest()
        self._clock = clock

    def role_of_token(self, token: str) -> Role:
        """The role that a token gives; NOBODY for a wrong one."""
        found = Role.NOBODY
        for role, known in self._tokens.items():
            if hmac.compare_digest(known, token.encode(errors="surrogatepass")):
                found = role
        return found

    def make_cookie(self, role: Role) -> str:
        """A value that ``role_of_cookie`` knows again."""
        text = f"{role.value}.{int(self._clock()) + SESSION_TIME}.{secrets.token_hex(8)}"
        return f"{text}.{self._sign(text)}"

    def role_of_cookie(self, cookie: str) -> Role:
        """The role that a cookie gives; NOBODY for one that is forged or too old."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._sign(text).encode(), signature.encode(errors="surrogatepass")):
            return Role.NOBODY
        number, expires, _ = text.split(".")
        role = Role(int(number))
        return role if int(expires) > self._clock() and role in self._tokens else Role.NOBODY

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(errors="surrogatepass"), "sha256").hexdigest()


def new_token() -> str:
    """256 bits at random."""
    return secrets.token_urlsafe(32)


def network_of(address: str) -> str:
    """Whom an address counts for: of IPv6 its first 64 bits, as who has one address there has all of them."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


class Allowance:
    """So many in a stretch of time for each address. Belongs to one thread.

    Args:
        count: how many at once.
        seconds: in which that many come back.
        clock: monotonic seconds.
    """

    def __init__(self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._rate = count / seconds
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (left, at)

    def wait_of(self, address: str) -> float:
        """Seconds until the address may do one more; 0.0 if it may now."""
        left = self._left_of(address)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate

    def take(self, address: str) -> None:
        """The address has used one."""
        network = network_of(address)
        self._left[network] = (self._left_of(address) - 1.0, self._clock())
        self._left.move_to_end(network)
        while len(self._left) > ADDRESSES_KEPT:
            self._left.popitem(last=False)

    def _left_of(self, address: str) -> float:
        left, at = self._left.get(network_of(address), (float(self._count), -math.inf))
        return min(float(self._count), left + (self._clock() - at) * self._rate)
