"""Logging in by the page: the token is exchanged for a cookie."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from . import bodies, records
from .audit import Audit
from .auth import SESSION_TIME, Auth, Role
from .door import Door
from .guard import address_of
from .operations import JSON, Operation


class Sessions:
    """Logs in. Belongs to the admin side's thread.

    Args:
        auth: makes cookies.
        door: knows tokens.
        audit: where log-ins are written.
        cookie: the cookie's name.
    """

    def __init__(self, auth: Auth, door: Door, audit: Audit, *, cookie: str) -> None:
        self._auth = auth
        self._door = door
        self._audit = audit
        self._cookie = cookie

    def operations(self) -> list[Operation]:
        """What is about sessions."""
        return [
            Operation(
                "log_in",
                "POST",
                "/session",
                "Exchange the token for a cookie.",
                records.Session,
                self._log_in,
                Role.NOBODY,
                body=bodies.Token,
                problems=(401,),
                wants_request=True,
            ),
            Operation(
                "session", "GET", "/session", "What may be done.", records.Session, self._session, wants_request=True
            ),
        ]

    async def _log_in(self, body: bodies.Token, request: Request) -> Response:
        address = address_of(request.scope)
        role = self._door.role_of_token(body.token, address)
        self._audit.note(f"{role.name.lower()} at {address}", "log_in", {}, "done")
        answer = Response(msgspec.json.encode(records.Session(role.name.lower())), media_type=JSON)
        answer.set_cookie(
            self._cookie, self._auth.make_cookie(role), max_age=SESSION_TIME, path="/", httponly=True, samesite="strict"
        )
        return answer

    async def _session(self, request: Request) -> records.Session:
        return records.Session(request.state.role.name.lower())
