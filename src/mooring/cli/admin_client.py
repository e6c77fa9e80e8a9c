"""The commands' side of the admin API: finds the running server of this user, asks, and turns errors into messages."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

from .exits import Failed
from .runtime import UnsafeFolderError, find_running

Function = TypeVar("Function", bound=Callable[..., Any])

TIMEOUT: Final = 15.0
LARGEST_ANSWER: Final = 32 * 1024 * 1024


class Unreachable(Failed):
    """Nobody answered, for the reason that is its cause."""


@dataclass(frozen=True)
class AdminClient:
    """Asks one admin side.

    Args:
        url: where it is.
        token: what lets us in.
    """

    url: str
    token: str

    def get(self, path: str, **query: Any) -> Any:
        """An answer.

        Raises:
            Failed: it was refused, or nobody answers; the text says why.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def post(self, path: str, **body: Any) -> Any:
        """Have something done; the answer.

        Raises:
            Failed: as ``get``.
        """
        given = {name: value for name, value in body.items() if value is not None}
        return self._ask("POST", path, json.dumps(given).encode())

    def server(self, wanted: str | None) -> dict[str, Any]:
        """The numbers of the server that is meant.

        Raises:
            Failed: there is no such server, or there are several and none was named.
        """
        servers: list[dict[str, Any]] = self.get("/snapshot")["servers"]
        if wanted is None and len(servers) == 1:
            return servers[0]
        names = ", ".join(one["server"]["id"] for one in servers)
        if wanted is None:
            raise Failed(f"there are several servers: {names}; say which with --server")
        for one in servers:
            if wanted in (one["server"]["id"], one["server"]["name"]):
                return one
        raise Failed(f"there is no server {wanted!r}; there are: {names}")

    def path_of(self, wanted: str | None) -> str:
        """The server's path in the API."""
        return f"/servers/{quote(self.server(wanted)['server']['id'], safe='')}"

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, f"/api/v1{path}", body, headers)
            answer = connection.getresponse()
            data = answer.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as exc:
            raise Unreachable(f"{self.url}: {exc}; does the server run?") from exc
        finally:
            connection.close()
        try:
            told = json.loads(data)
        except ValueError as exc:
            raise Failed(f"{self.url} is no admin side of a mooring server (status {answer.status})") from exc
        if answer.status != 200:
            raise Failed(str(told.get("detail", told)))
        return told


def admin_client_options(function: Function) -> Function:
    """Decorator for a command: which server to ask. The command gets ``url`` and ``token_file``."""
    function = click.option(
        "--token-file",
        metavar="FILE",
        envvar="MOORING_ADMIN_TOKEN_FILE",
        help="A file that holds the token of the admin side.  [env: MOORING_ADMIN_TOKEN_FILE; or the token itself in "
        "MOORING_ADMIN_TOKEN]",
    )(function)
    return click.option(
        "--url",
        metavar="URL",
        envvar="MOORING_ADMIN_URL",
        help="The admin side of the server.  [env: MOORING_ADMIN_URL; default: that of the one that this user runs]",
    )(function)


def find_client(url: str | None, token_file: str | None) -> AdminClient:
    """The admin side that is meant.

    Raises:
        Failed: there is none, or there are several.
    """
    try:
        running = find_running()
    except (OSError, UnsafeFolderError) as exc:
        if url is None:
            raise Failed(f"running servers cannot be found: {exc}; name one with --url") from exc
        running = []
    if url is None:
        if not running:
            raise Failed("no server of this user runs; start one with `mooring serve`, or name another's with --url")
        if len(running) > 1:
            names = ", ".join(f"{one.url} (process {one.pid})" for one in running)
            raise Failed(f"several servers run: {names}; name one with --url")
        return AdminClient(running[0].url, _token(token_file) or running[0].token)
    if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
        raise click.UsageError(f"--url {url}: write http://HOST:PORT")
    base = f"http://{urlsplit(url).netloc}"
    known = next((one.token for one in running if one.url == base), None)
    token = _token(token_file) or known
    if token is None:
        raise Failed(f"{base}: its token is needed; name its file with --token-file")
    return AdminClient(base, token)


def _token(token_file: str | None) -> str | None:
    if token_file is None:
        return os.environ.get("MOORING_ADMIN_TOKEN") or None
    try:
        with open(token_file) as file:
            return file.read().strip()
    except OSError as exc:
        raise Failed(f"the token's file {token_file}: {exc.strerror}") from exc
