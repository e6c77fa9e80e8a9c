"""The application: page, API, health and metrics behind one guard."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mimetypes
import platform
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .. import __version__
from .api import Api
from .auth import Role
from .health import Check, liveness, readiness, report
from .metrics import CONTENT_TYPE, render
from .operations import JSON, describe, endpoint
from .process import has_gil
from .records import Problem
from .refusal import Refused
from .snapshots import Snapshots
from .watched import WatchedServer

logger = logging.getLogger("mooring.admin")

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


class Pages:
    """The page and its parts, read once."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
                self._files[path.relative_to(folder).as_posix()] = (data, f'"{hashlib.md5(data).hexdigest()}"', kind)  # noqa: S324

    async def answer(self, request: Request) -> Response:
        """A file, or 304 if the browser has this one."""
        name = request.path_params.get("name", "index.html")
        found = self._files.get(name)
        if found is None:
            raise Refused(404, "not_found", "there is no such file")
        data, tag, kind = found
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=kind, headers=headers)


class Health:
    """The endpoints that machines ask.

    Args:
        servers: whose health it is.
        registry: what /metrics shows.
        open_metrics: whether it shows that to everybody.
    """

    def __init__(self, servers: Sequence[WatchedServer], registry: CollectorRegistry, *, open_metrics: bool) -> None:
        self._servers = servers
        self._registry = registry
        self._open_metrics = open_metrics
        self.last_scrape = 0.0

    @property
    def open_paths(self) -> list[str]:
        """What everybody may ask for."""
        return ["/livez", "/healthz", "/readyz", "/version", *(["/metrics"] if self._open_metrics else [])]

    async def livez(self, request: Request) -> Response:
        """Whether this process should be left alone."""
        return self._report(request, "livez", list(liveness(self._servers)))

    async def readyz(self, request: Request) -> Response:
        """Whether devices should be sent here."""
        return self._report(request, "readyz", list(readiness(self._servers)))

    @staticmethod
    def _report(request: Request, name: str, checks: Sequence[Check]) -> Response:
        verbose = request.query_params.get("verbose", "0") not in ("0", "false")
        excluded = request.query_params.getlist("exclude")
        status, text = report(name, checks, verbose=verbose, excluded=excluded)
        return PlainTextResponse(text, status)

    async def version(self, request: Request) -> Response:
        """What runs here."""
        told = {"version": __version__, "python": platform.python_version(), "gil": has_gil()}
        return Response(msgspec.json.encode(told), media_type=JSON)

    async def metrics(self, request: Request) -> Response:
        """A scrape."""
        if not self._open_metrics and request.state.role < Role.VIEWER:
            detail = "send the token as `Authorization: Bearer`"
            raise Refused(401, "not_logged_in", detail, {"www-authenticate": "Bearer"})
        began = time.perf_counter()
        text = render(self._registry)
        self.last_scrape = time.perf_counter() - began
        return Response(text, headers={"content-type": CONTENT_TYPE})


def make_app(api: Api, snapshots: Snapshots, pages: Pages, health: Health, audit: Any) -> Starlette:
    """Put it together; the guard goes around it."""
    operations = api.operations()
    document = msgspec.json.encode(describe(operations, __version__))

    async def openapi(request: Request) -> Response:
        return Response(document, media_type=JSON)

    by_path: dict[str, dict[str, Any]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = endpoint(operation, audit)
    routes = [Route(_route_path(path), _by_method(methods), methods=list(methods)) for path, methods in by_path.items()]
    routes += [
        Route("/api/v1/openapi.json", openapi),
        Route("/livez", health.livez),
        Route("/healthz", health.livez),
        Route("/readyz", health.readyz),
        Route("/version", health.version),
        Route("/metrics", health.metrics),
        Route("/", pages.answer),
        Route("/static/{name:path}", pages.answer),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(snapshots.run())
        try:
            yield
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            api.close()

    handlers: dict[Any, Any] = {Refused: _refused, HTTPException: _http_error, Exception: _failed}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


def _route_path(path: str) -> str:
    """Devices call themselves what they want, with slashes, too."""
    return f"/api/v1{path}".replace("{device}", "{device:path}")


def _by_method(endpoints: dict[str, Any]) -> Any:
    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)  # type: ignore[no-any-return]

    return answer


def _problem(status: int, error: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(Problem(error, detail)), status, headers, JSON)


async def _refused(request: Request, exc: Refused) -> Response:
    return _problem(exc.status, exc.error, exc.detail, exc.headers)


async def _http_error(request: Request, exc: HTTPException) -> Response:
    words = {404: ("not_found", "there is nothing here"), 405: ("wrong_method", "this method is not known here")}
    error, detail = words.get(exc.status_code, ("bad_request", str(exc.detail)))
    return _problem(exc.status_code, error, detail, dict(exc.headers or {}))


async def _failed(request: Request, exc: Exception) -> Response:
    # Starlette raises it again after this answer, and the service logs it.
    return _problem(500, "failed", "this is a fault of the server; its log says more")
