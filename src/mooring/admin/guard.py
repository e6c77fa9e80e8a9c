"""What every request has to pass before anything of it is looked at: bounds, Host, Origin, and who is asking.

The rules against requests that another site makes a browser send are those of Go's CrossOriginProtection: a browser
says by Sec-Fetch-Site where a request comes from; where it does not, Origin must be our own host. Checking Host against
names that are ours keeps out a site whose name was made to resolve to this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from .audit import Audit
from .auth import Allowance, Role
from .cookies import cookie_of
from .door import Door
from .refusal import Refused, retry_after

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY: Final = 64 * 1024
REQUESTS: Final = 300
REQUESTS_TIME: Final = 3.0
"""So many requests at once from one address, and that many more in so many seconds."""

SAFE: Final = ("GET", "HEAD")

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY: Final = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """The outermost layer of the application. Puts ``role`` and ``who`` into the scope's state.

    Args:
        app: what is guarded.
        door: knows tokens and cookies.
        audit: where is written who wanted to change something and was sent away.
        cookie: the cookie's name.
        hosts: names under which this server may be asked for, beside localhost and IP addresses.
        open_paths: what everybody may ask for, so that no token is looked at: a probe that has a wrong one must not
            find the server dead.
    """

    def __init__(
        self,
        app: App,
        door: Door,
        audit: Audit,
        *,
        cookie: str,
        hosts: Iterable[str] = (),
        open_paths: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._door = door
        self._audit = audit
        self._cookie = cookie
        self._open_paths = frozenset(open_paths)
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._requests = Allowance(REQUESTS, REQUESTS_TIME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secured = _secured(send)
        try:
            headers = self._check(scope)
            state = scope.setdefault("state", {})
            state["role"] = role = self._role(scope, headers)
            state["who"] = f"{role.name.lower()} at {address_of(scope)}"
            await self._app(scope, _bounded(receive, headers), secured)
        except Refused as exc:
            await _answer(secured, exc)

    def _check(self, scope: Scope) -> dict[str, str]:
        headers = _headers(scope)
        self._check_rate(scope)
        try:
            self._check_host(headers)
            self._check_origin(scope["method"], headers)
        except Refused as exc:
            if scope["method"] not in SAFE:
                self._audit.note_stranger(
                    address_of(scope), f"{scope['method'][:20]} {scope['path'][:100]}", f"refused: {exc}"
                )
            raise
        return headers

    def _check_rate(self, scope: Scope) -> None:
        address = address_of(scope)
        wait = self._requests.wait_of(address)
        if wait:
            detail = f"more than {REQUESTS} requests in {REQUESTS_TIME:g} s; wait a moment"
            raise Refused(429, "too_many_requests", detail, retry_after(wait))
        self._requests.take(address)

    def _check_host(self, headers: dict[str, str]) -> None:
        host = host_name(headers.get("host", ""))
        if host is None or not (host in self._hosts or host.endswith(".localhost") or _is_address(host)):
            shown = headers.get("host", "")[:100]
            detail = f"this server is not known as {shown!r}; name it with --admin-host to be asked for by that name"
            raise Refused(421, "wrong_host", detail)

    @staticmethod
    def _check_origin(method: str, headers: dict[str, str]) -> None:
        site = headers.get("sec-fetch-site")
        if method in SAFE:
            if site in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
                raise Refused(403, "cross_site", "this request was made by another site")
            return
        if site is not None:
            if site != "same-origin":
                raise Refused(403, "cross_site", "changes are made by this server's own page, or by a program")
            return
        origin = headers.get("origin")
        if origin is not None and _place_of(origin) != headers.get("host", "").lower():
            raise Refused(403, "cross_site", "changes are made by this server's own page, or by a program")

    def _role(self, scope: Scope, headers: dict[str, str]) -> Role:
        method = scope["method"]
        if scope["path"] in self._open_paths:
            return Role.NOBODY
        authorization = headers.get("authorization", "")
        if authorization[:7].lower() == "bearer ":
            return self._door.role_of_token(authorization[7:].strip(), address_of(scope))
        if method not in SAFE and "sec-fetch-site" not in headers and "origin" not in headers:
            return Role.NOBODY  # no browser, and no token: a cookie alone does not count then
        cookie = cookie_of(headers.get("cookie", ""), self._cookie)
        return self._door.role_of_cookie(cookie) if cookie is not None else Role.NOBODY


def address_of(scope: Scope) -> str:
    """The client's IP address."""
    client = scope.get("client")
    return str(client[0]) if client else "?"


def host_name(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if not host or parts.username is not None or parts.path or parts.query or parts.fragment or not parts.hostname:
        return None
    return parts.hostname.lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1")
        if name in ("host", "authorization", "origin", "sec-fetch-site", "content-length") and name in found:
            raise Refused(400, "bad_request", f"there are two headers {name}")
        found[name] = value.decode("latin-1")
    return found


def _bounded(receive: Receive, headers: dict[str, str]) -> Receive:
    """A body of at most MOST_BODY bytes, whatever its length is said to be."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:10]) > MOST_BODY:
        raise _too_large()
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BODY:
            raise _too_large()
        return message

    return bounded


def _too_large() -> Refused:
    # The connection is closed: what is still on its way is not read.
    detail = f"a request has at most {MOST_BODY // 1024} KiB"
    return Refused(413, "too_large", detail, {"connection": "close"})


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", [])}
            extra = [(name, value) for name, value in SECURITY if name not in names]
            if b"cache-control" not in names:
                extra.append((b"cache-control", b"no-store"))
            message["headers"] = [*message.get("headers", []), *extra]
        await send(message)

    return secured


async def _answer(send: Send, exc: Refused) -> None:
    body = json.dumps({"error": exc.error, "detail": exc.detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in exc.headers.items()]
    await send({"type": "http.response.start", "status": exc.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _place_of(origin: str) -> str | None:
    """Host and port of an Origin header, or None if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
