"""Coming in by a token, at the log-in of the page or with a program's request: wrong ones are few, and are noted."""

from __future__ import annotations

from typing import Final

from .audit import Audit
from .auth import Allowance, Auth, Role
from .refusal import Refused, retry_after

TRIES: Final = 10
TRIES_TIME: Final = 60.0
"""So many wrong tokens in so many seconds, from one address; then it has to wait, whatever it brings."""


class Door:
    """Knows who may come in. Belongs to the admin side's thread.

    Args:
        auth: knows tokens.
        audit: where wrong ones are written.
    """

    def __init__(self, auth: Auth, audit: Audit) -> None:
        self._auth = auth
        self._audit = audit
        self._tries = Allowance(TRIES, TRIES_TIME)

    def role_of_token(self, token: str, address: str) -> Role:
        """What a token lets its bearer do.

        Args:
            address: who brings it.

        Raises:
            Refused: it is wrong, or the address has brought too many wrong ones: then not even the right one is
                taken, or guessing would only be slower to type.
        """
        wait = self._tries.wait_of(address)
        if wait:
            detail = f"more than {TRIES} wrong tokens in {TRIES_TIME:g} s; try again in {wait:.0f} s"
            raise Refused(429, "too_many_tries", detail, retry_after(wait))
        role = self._auth.role_of_token(token)
        if role is Role.NOBODY:
            self._tries.take(address)
            self._audit.note(address, "log_in", {}, "refused: wrong token")
            detail = "this token is wrong; the right one is in the server's banner"
            raise Refused(401, "wrong_token", detail, {"www-authenticate": "Bearer"})
        return role

    def role_of_cookie(self, cookie: str) -> Role:
        """What a cookie lets its bearer do. A wrong one costs nothing: it is signed with 256 bits, or too old."""
        return self._auth.role_of_cookie(cookie)
