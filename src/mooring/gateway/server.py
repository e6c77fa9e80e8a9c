"""``Gateway``: the Server that holds devices and stores what they push."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from ..db import ConnectionPool, open_pool
from ..heartbeat import Heartbeat
from ..net.connection.connection import Connection
from ..net.rare import RareLog
from ..net.tls.context import TLS
from ..server import Server
from .codec import Codec, check_codec
from .counters import Counters
from .dispatcher import Dispatcher
from .errors import ErrorCode, ProtocolError
from .facts import gateway_facts
from .files import Files
from .handler import DeviceHandler
from .json_lines import JSON_LINES, MAX_MESSAGE
from .messages import VERSION, Welcome
from .presence import Presence
from .services import migrations_of, open_services
from .store import Store
from .tables.devices import MOST_DEVICES, Login
from .takeovers import Takeovers
from .visits import Visit
from .writers import Writer

__all__ = ["AUTHS", "DEFAULT_DATABASE", "Gateway", "codec_name", "make_heartbeat", "migrations_of", "server"]

logger = logging.getLogger("mooring.gateway")

DEFAULT_DATABASE: Final = "sqlite:///mooring.db"
AUTHS: Final = ("none", "token", "certificate")

MOST_WAITING: Final = 1000
"""Handlers that may wait for a connection of the pool. In most models they are fewer than that, so a fleet that pushes
all at once waits its turn (at most the pool's time-out) instead of being told to come again."""

LOGINS_PER_SECOND: Final = 500
"""After a restart the devices come back at about this rate, spread by ``retry_after``."""


def server(
    *,
    codec: Codec = JSON_LINES,
    database: ConnectionPool | str = DEFAULT_DATABASE,
    auth: str | None = None,
    files: str | os.PathLike[str] | None = None,
    most_devices: int = MOST_DEVICES,
    group_commit: bool = True,
    **server_options: Any,
) -> Gateway:
    """Make the gateway: devices that log in by name, pushes into the table ``pushes``, commands, uploads, files.

    Args:
        codec: the protocol of the devices; JSON lines by default.
        database: a pool or its URL. The tables are made, or brought up to date, when the server is initialized.
        auth: "none": any name may log in. "token": only devices with a token. "certificate": only by a name that stands
            in the certificate of the device, which ``tls`` must ask for (``TLS.client_ca``). None: "none" while only
            this machine can reach the server, else "token".
        files: a directory of files that devices may pull; None: there are none.
        most_devices: names in the table, beyond which no new name may log in without a token.
        group_commit: pushes of many devices are stored in one commit; False: each by an INSERT of its own.
        server_options: those of Server, but for ``handler``, ``framing`` and ``lifespan``. ``heartbeat`` is by
            default the codec's (JSON lines: every 30 s, with a time-out of 90 s).

    Raises:
        TypeError, ValueError: as Server, and for what is no codec or no directory.
    """
    return Gateway(
        codec=codec,
        database=database,
        auth=auth,
        files=files,
        most_devices=most_devices,
        group_commit=group_commit,
        **server_options,
    )


def make_heartbeat(interval: float = 30.0, timeout: float = 90.0, codec: Codec = JSON_LINES) -> Heartbeat:
    """The codec's heartbeat with other times: a message after so many seconds of silence, the end after ``timeout``.

    Raises:
        ValueError: the protocol has no message for it.
    """
    own = codec.heartbeat
    if own is None or own.message is None:
        raise ValueError(f"heartbeat: {codec_name(codec)} has no message to send every interval")
    return replace(own, interval=interval, timeout=timeout)


def codec_name(codec: Codec) -> str:
    """What the banner calls a codec."""
    return str(getattr(codec, "name", type(codec).__name__))


class Gateway(Server):
    """See ``server``, which makes it.

    Attributes:
        codec: the protocol.
        store: the tables.
        writer: by which pushes get into their table.
        files: what devices may pull, or None.
        presence: who was here when.
        dispatcher: brings commands to devices.
        counters: ``new`` and ``repeated`` (pushes), ``done`` (commands), ``takeover`` (logins), ``removed`` and
            ``replaced`` (devices that were sent away), and refusals by error code.
        takeovers: names that change hands too often.
        rare: for log lines that devices can cause.
        most_devices, group_commit: see ``server``.
    """

    store: Store
    writer: Writer
    presence: Presence
    dispatcher: Dispatcher

    def __init__(
        self,
        *,
        codec: Codec = JSON_LINES,
        database: ConnectionPool | str,
        auth: str | None = None,
        files: str | os.PathLike[str] | None = None,
        most_devices: int = MOST_DEVICES,
        group_commit: bool = True,
        **options: Any,
    ) -> None:
        for name in ("handler", "framing", "lifespan"):
            if name in options:
                raise TypeError(f"gateway.server(): {name} is the gateway's own; make a Server for another one")
        if auth is not None and auth not in AUTHS:
            raise ValueError(f"auth is {auth!r}; choose one of {', '.join(AUTHS)}")
        self._auth = auth
        self._check_auth(options.get("tls"))
        self.codec = check_codec(codec)
        self.codec_checks_itself = bool(getattr(codec, "checks_itself", False))
        if options.get("heartbeat") is None:
            options["heartbeat"] = codec.heartbeat
        options.setdefault("route", getattr(codec, "route", _one_route))
        self.files = Files(files) if files is not None else None
        self.most_devices = most_devices
        self.group_commit = group_commit
        self.counters = Counters()
        self.rare = RareLog(logger, burst=20)
        self.takeovers = Takeovers()
        self._return_window: float | None = None  # while a drain tells devices, one after the other, to go
        super().__init__(
            DeviceHandler, framing=codec.framing, database=_opened(database), lifespan=_lifespan, **options
        )

    def _check_auth(self, tls: TLS | None) -> None:
        if self._auth == "certificate" and (tls is None or tls.client_ca is None):
            raise ValueError("auth is 'certificate': the gateway must ask for one; give it tls with a client_ca")

    def reload_tls(self, tls: TLS | None = None) -> None:
        """See Server.

        Raises:
            ValueError: devices could not log in any more.
        """
        self._check_auth(self.configuration.tls if tls is None else tls)
        super().reload_tls(tls)

    @property
    def database(self) -> ConnectionPool | None:
        """See Server."""
        return super().database

    @database.setter
    def database(self, database: ConnectionPool | str | None) -> None:
        if database is None:
            raise ValueError("the gateway needs a database")
        super(Gateway, type(self)).database.fset(self, _opened(database))  # type: ignore[attr-defined]

    @property
    def auth(self) -> str:
        """Who may log in: "none" (any name), "token" or "certificate"."""
        if self._auth is not None:
            return self._auth
        # An inherited socket (fd://N) tells its address only when it is opened.
        return "none" if all(address.is_loopback for address in self.addresses or self.configuration.bind) else "token"

    @property
    def heartbeat(self) -> Heartbeat | None:
        """When silent devices are asked for life, and given up."""
        return self.configuration.heartbeat

    @property
    def login_timeout(self) -> float | None:
        """Seconds within which a new connection must have logged in: ``first_message_timeout``; None: none."""
        return self.configuration.first_message_timeout

    def welcome(self, login: Login, now: float) -> Welcome:
        """The answer to a device that has logged in."""
        beat = self.heartbeat
        return Welcome(
            device=login.device.name,
            v=VERSION,
            time=round(now, 3),
            heartbeat=_short(beat.interval) if beat is not None else None,
            timeout=_short(beat.timeout) if beat is not None else None,
            last_seq=login.last_seq,
            max_message=getattr(self.codec.framing, "max_size", MAX_MESSAGE),
        )

    def note_refusal(self, handler: DeviceHandler, exc: ProtocolError) -> None:
        """Count a message that was answered with an error; what only a broken device sends is logged, too."""
        self.counters.add_refusal(handler, exc.code.code)
        if exc.code not in (ErrorCode.UNAVAILABLE, ErrorCode.CONFLICT):  # they have lines of their own
            self.rare.log(logging.INFO, exc.code.code, "%r: %s", handler.connection, exc)

    def note_takeover(self, older: Connection, newer: Connection) -> None:
        """Count a login that closed an older connection of the same name; warn if that goes on and on."""
        self.counters.add("takeover")
        if self.takeovers.note(newer.name or ""):
            self._warn_of_takeovers(newer.name, f"from {older.peer} and from {newer.peer}")

    def note_sent_away(self, visit: Visit, reason: str) -> None:
        """Count a device whose connection was closed because of what the tables say, and log it or have it logged."""
        self.counters.add(reason)
        if reason != "replaced":  # which the end of the connection says
            self.rare.log(logging.INFO, reason, "%r was sent away: %s", visit.connection, reason)
        elif self.takeovers.note(visit.device.name, elsewhere=True):
            self._warn_of_takeovers(visit.device.name, f"from {visit.connection.peer} and at another server")

    def _warn_of_takeovers(self, name: str | None, places: str) -> None:
        text = "%r logs in again and again, %s: do two devices have one name?"
        self.rare.log(logging.WARNING, "takeovers", text, name, places)

    def _begin_farewell(self, spread: float | None, timeout: float | None) -> float:
        """See Server. Devices hear when to come back, so that they return spread even if all of them go at once.

        With a spread each hears it when its turn comes: others take the devices over one by one. Without one all
        hear it now, each another time, so that the process ends soon and is back before they are.
        """
        visits = [connection.session for connection in self.connections if isinstance(connection.session, Visit)]
        window = len(visits) / LOGINS_PER_SECOND
        if spread:
            self._return_window = max(1.0, window - spread)
            return spread
        longest = 30.0 if timeout is None else timeout
        told = [self._say_bye(visit, min(longest, window)) for visit in visits]
        return super()._begin_farewell(spread, timeout) if not all(told) else 0.0

    def _bid_farewell(self, connection: Connection) -> None:
        """See Server."""
        if self._return_window is not None and isinstance(connection.session, Visit):
            self._say_bye(connection.session, self._return_window)

    def _say_bye(self, visit: Visit, window: float) -> bool:
        """Tell a device to come back within ``window`` seconds; False: its protocol has no words for it."""
        if visit.connection.outbox_size:
            return True  # it takes nothing now, and we must not wait for it
        try:
            return visit.say_bye("restart", round(1.0 + random.uniform(0, window), 3))
        except Exception:  # noqa: BLE001 - code of the user's: it must not keep the server from stopping
            self.rare.log(logging.ERROR, "bye", "%r: the codec failed to say bye", visit.connection, exc_info=True)
            return False

    @property
    def description(self) -> str:
        """See Server."""
        gateway = f"gateway ({codec_name(self.codec)})"
        return f"{self.name}, {gateway}" if self.name else gateway

    def facts(self) -> list[tuple[str, str, str]]:
        """See Server."""
        assert self.database is not None
        return gateway_facts(
            super().facts(),
            self.addresses,
            in_memory=self.database.url.in_memory,
            auth=self.auth,
            speaks_json=self.codec is JSON_LINES,
            files=str(self.files.folder) if self.files is not None else None,
            database=str(self.database.url),
        )


def _one_route(message: bytes) -> Hashable:
    return None


def _opened(database: ConnectionPool | str) -> ConnectionPool:
    return open_pool(database, max_waiting=MOST_WAITING) if isinstance(database, str) else database


@contextmanager
def _lifespan(gateway: Server) -> Iterator[None]:
    assert isinstance(gateway, Gateway)
    with open_services(gateway):
        yield


def _short(seconds: float | None) -> float | None:
    """Whole seconds as an int, so that they go over the wire as 30, not 30.0."""
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
