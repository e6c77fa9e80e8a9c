"""``AdminSide``: the admin side of some servers, in a thread of its own with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import uvicorn

from ..errors import MooringError
from ..net.connection.connection import Connection
from ..server import Server
from .api import Api
from .app import Health, Pages, make_app
from .audit import Audit
from .auth import Auth, new_token
from .bodies import Drain
from .controls import Controls, SendCommand
from .door import Door
from .events import PACKAGE, LastLines, LogLevel
from .guard import Guard
from .listening import Place, check_reach, listen
from .metrics import make_registry
from .neighbours import Find
from .protocol import REQUEST_TIME, BoundedProtocol
from .snapshots import Snapshots
from .trace import Tap
from .watched import WatchedServer

logger = logging.getLogger("mooring.admin")

MOST_HEADERS: Final = 16 * 1024
DATE_INTERVAL: Final = 1.0
"""Seconds after which answers have a new date."""

START_TIME: Final = 10.0
END_TIME: Final = 5.0


class AdminSide:
    """Serves page, API, metrics and health for some servers.

    ``start`` and ``stop`` belong to one thread; everything else happens in the thread that ``start`` starts.

    Args:
        servers: initialized ones.
        place: where to listen.
        token: of those who may operate; None: one is made up.
        viewer_token: of those who may only look.
        hosts: further names by which browsers may ask for this server.
        drain: see Controls.
        send_command: see SendCommand.
        has_commands, protocol_errors, errors_of: see WatchedServer.
        tap: see trace.Tap.
        settings: where the settings come from, in words for the page.
        neighbours: finds other processes, see neighbours.Find.

    Raises:
        ValueError: reachable from elsewhere without a token, or a token that is too short.
        BindError: it cannot listen there.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        place: Place | None = None,
        *,
        token: str | None = None,
        viewer_token: str | None = None,
        hosts: Iterable[str] = (),
        drain: Callable[[Drain], None] | None = None,
        send_command: SendCommand | None = None,
        has_commands: Callable[[Server], bool] = lambda server: False,
        protocol_errors: Callable[[Server], dict[str, int]] = lambda server: {},
        errors_of: Callable[[Connection], int] = lambda connection: 0,
        tap: Tap | None = None,
        settings: str = "",
        neighbours: Find = tuple,
    ) -> None:
        place = place or Place()
        check_reach(place, token)
        self.token = token or new_token()
        self._auth = Auth(self.token, viewer_token)
        self._watched = [
            WatchedServer(
                id, server, has_commands=has_commands(server), protocol_errors=protocol_errors, errors_of=errors_of
            )
            for id, server in zip(ids(servers), servers, strict=True)
        ]
        self._place = place
        self._hosts = list(hosts)
        self._controls = Controls(self._watched, drain, send_command)
        self._tap = tap
        self._settings = settings
        self._neighbours = neighbours
        self._lines = LastLines()
        self._audit = Audit()
        self._socket = listen(place)
        self.port = int(self._socket.getsockname()[1])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._uvicorn: _Uvicorn | None = None
        self._api: Api | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mooring-admin", daemon=True)

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._place.url(self.port)

    @property
    def url_with_token(self) -> str:
        """The same with the token in the fragment, which browsers send to nobody."""
        return f"{self.url}/#t={self.token}"

    def start(self) -> None:
        """Begin to serve.

        Raises:
            MooringError: it did not start.
        """
        logging.getLogger(PACKAGE).addHandler(self._lines)
        self._thread.start()
        self._started.wait(START_TIME)
        if self._error is not None:
            raise MooringError(f"the admin side did not start: {self._error!r}") from self._error

    def stop(self) -> None:
        """End it; streams end, requests under way have a second. Twice is harmless."""
        logging.getLogger(PACKAGE).removeHandler(self._lines)
        if self._loop is not None and self._uvicorn is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._end)
        if self._thread.ident is not None:
            self._thread.join(END_TIME)
        self._socket.close()

    def __enter__(self) -> AdminSide:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def _end(self) -> None:
        assert self._uvicorn is not None
        if self._api is not None:
            self._api.close()
        self._uvicorn.end()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:  # it must not end in silence
            self._error = exc
            logger.error("the admin side ended", exc_info=exc)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()

        def call_later(seconds: float, function: Callable[[], None]) -> Callable[[], None]:
            return loop.call_later(seconds, function).cancel

        log_level = LogLevel(call_later)
        snapshots = Snapshots(
            self._watched, self._lines, log_level, settings=self._settings, neighbours=self._neighbours
        )
        door = Door(self._auth, self._audit)
        cookie = f"mooring_{self.port}"  # cookies are shared by all ports of a host
        self._api = Api(
            self._watched,
            snapshots,
            self._controls,
            self._audit,
            self._auth,
            door,
            cookie=cookie,
            log_level=log_level,
            tap=self._tap,
        )
        health = Health(self._watched, make_registry(self._watched), open_metrics=self._place.is_loopback)
        app = make_app(self._api, snapshots, Pages(), health, self._audit)
        hosts = [*self._hosts, self._place.host]
        guarded: Any = Guard(app, door, self._audit, cookie=cookie, hosts=hosts, open_paths=health.open_paths)
        self._uvicorn = _Uvicorn(_config(guarded), self._started.set)
        try:
            await self._uvicorn.serve([self._socket])
        finally:
            log_level.restore()


class _Uvicorn(uvicorn.Server):
    """Leaves the process's signals alone, says when it serves, and sleeps until there is something to do."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started
        self._over = asyncio.Event()

    def end(self) -> None:
        """Let ``serve`` come to its end."""
        self.should_exit = True
        self._over.set()

    async def main_loop(self) -> None:
        """See uvicorn, which wakes ten times a second to see whether it is to end; we wake for the date alone."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_INTERVAL):
                    await self._over.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """See uvicorn: signals belong to ``run``."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._told()


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(REQUEST_TIME),
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MOST_HEADERS,
    )


def ids(servers: Sequence[Server]) -> list[str]:
    """A name for each in paths: its own, if it has one that fits and is the only one of that name; else a number."""
    names = [server.name for server in servers]
    return [
        name
        if name.isascii()
        and name.replace("-", "").replace("_", "").isalnum()
        and names.count(name) == 1
        and len(name) <= 64
        else str(number)
        for number, name in enumerate(names, 1)
    ]
