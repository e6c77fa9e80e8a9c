"""``Gateway``: the Server that holds devices and stores what they push."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ..db import ConnectionPool, open_pool
from ..db.migrations import Migrations
from ..errors import ConnectionClosed
from ..heartbeat import Heartbeat
from ..net.connection import Connection
from ..net.rare import RareLog
from ..server import Server, ServerState
from .counters import Counters
from .errors import ErrorCode, ProtocolError
from .facts import gateway_facts
from .handler import DeviceHandler
from .json_lines import FRAMING, MAX_MESSAGE, PING, encode, route_of
from .messages import VERSION, Bye, Welcome
from .presence import Presence
from .store import MOST_DEVICES, Device, Store
from .takeovers import Takeovers

logger = logging.getLogger("mooring.gateway")

DEFAULT_DATABASE: Final = "sqlite:///mooring.db"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
HISTORY: Final = "mooring_gateway_migrations"
"""The table that keeps which migrations were applied; users' own migrations have another one."""

MOST_WAITING: Final = 1000
"""Handlers that may wait for a connection of the pool. In most models they are fewer than that, so a fleet that pushes
all at once waits its turn (at most the pool's time-out) instead of being told to come again."""

LOGINS_PER_SECOND: Final = 500
"""After a restart the devices come back at about this rate, spread by ``retry_after``."""


def server(
    *, database: ConnectionPool | str = DEFAULT_DATABASE, most_devices: int = MOST_DEVICES, **server_options: Any
) -> Gateway:
    """Make the gateway: JSON lines, devices that log in by name, pushes into the table ``pushes``.

    Args:
        database: a pool or its URL. The tables are made, or brought up to date, when the server is initialized.
        most_devices: names in the table, beyond which no new name may log in.
        server_options: those of Server, but for ``handler``, ``framing`` and ``lifespan``. ``heartbeat`` is by
            default one every 30 s, with a time-out of 90 s; its message is always the protocol's ping.

    Raises:
        TypeError, ValueError: as Server.
    """
    return Gateway(database=database, most_devices=most_devices, **server_options)


def make_heartbeat(interval: float = 30.0, timeout: float = 90.0) -> Heartbeat:
    """The gateway's heartbeat: a ping after ``interval`` seconds of silence, the end after ``timeout``."""
    return Heartbeat(timeout=timeout, interval=interval, message=PING)


class Gateway(Server):
    """See ``server``, which makes it.

    Attributes:
        store: the tables.
        presence: who was here when.
        counters: ``new`` and ``repeated`` (pushes), ``takeover`` (logins), and refusals by error code.
        rare: for log lines that devices can cause.
        most_devices: see ``server``.
    """

    store: Store
    presence: Presence

    def __init__(self, *, database: ConnectionPool | str, most_devices: int = MOST_DEVICES, **options: Any) -> None:
        for name in ("handler", "framing", "lifespan"):
            if name in options:
                raise TypeError(f"gateway.server(): {name} is the gateway's own; make a Server for another one")
        if options.get("heartbeat") is None:
            options["heartbeat"] = make_heartbeat()
        options.setdefault("route", route_of)
        self.most_devices = most_devices
        self.counters = Counters()
        self.rare = RareLog(logger, burst=20)
        self._takeovers = Takeovers()
        self._goodbye_lock = threading.Lock()
        self._said_goodbye = False
        super().__init__(DeviceHandler, framing=FRAMING, database=_opened(database), lifespan=_open_tables, **options)

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
    def heartbeat(self) -> Heartbeat:
        """When silent devices are asked for life, and given up."""
        assert self._heartbeat is not None
        return self._heartbeat

    def welcome(self, device: Device, last_seq: int, now: float) -> Welcome:
        """The answer to a device that has logged in."""
        return Welcome(
            device=device.name,
            v=VERSION,
            time=round(now, 3),
            heartbeat=_short(self.heartbeat.interval),
            timeout=_short(self.heartbeat.timeout),
            last_seq=last_seq,
            max_message=MAX_MESSAGE,
        )

    def note_refusal(self, connection: Connection, exc: ProtocolError) -> None:
        """Count a message that was answered with an error; what only a broken device sends is logged, too."""
        self.counters.add(exc.code.code)
        if exc.code not in (ErrorCode.UNAVAILABLE, ErrorCode.CONFLICT):  # they have lines of their own
            self.rare.log(logging.INFO, exc.code.code, "%r: %s", connection, exc)

    def note_takeover(self, older: Connection, newer: Connection) -> None:
        """Count a login that closed an older connection of the same name; warn if that goes on and on."""
        self.counters.add("takeover")
        if self._takeovers.note(newer.name or ""):
            self.rare.log(
                logging.WARNING,
                "takeovers",
                "%r logs in again and again, from %s and from %s: do two devices have one name?",
                newer.name,
                older.peer,
                newer.peer,
            )

    def stop(self, timeout: float | None = 30.0, *, spread: float = 0.0) -> None:
        """See Server.stop; before it, devices are told when to come back, which spreads them already."""
        if self._goodbye_is_due():
            self._say_goodbye(timeout)
        super().stop(timeout)

    def _goodbye_is_due(self) -> bool:
        with self._goodbye_lock:
            due = self.state is ServerState.RUNNING and not self._said_goodbye
            self._said_goodbye = self._said_goodbye or due
        return due

    def _say_goodbye(self, timeout: float | None) -> None:
        """Spread the return of the devices: few come back at once, a large fleet over the time of the drain."""
        connections = list(self.connections)
        longest = 30.0 if timeout is None else timeout
        window = min(longest, len(connections) / LOGINS_PER_SECOND)
        for connection in connections:
            retry_after = round(1.0 + random.uniform(0, window), 3)
            try:
                connection.send(encode(Bye(reason="restart", retry_after=retry_after)))
            except ConnectionClosed:
                continue

    @property
    def description(self) -> str:
        """See Server."""
        return f"{self.name}, gateway (JSON lines)" if self.name else "gateway (JSON lines)"

    def facts(self) -> list[tuple[str, str, str]]:
        """See Server."""
        assert self.database is not None
        return gateway_facts(super().facts(), self.addresses, in_memory=self.database.url.in_memory)


def _opened(database: ConnectionPool | str) -> ConnectionPool:
    return open_pool(database, max_waiting=MOST_WAITING) if isinstance(database, str) else database


def migrations_of(pool: ConnectionPool) -> Migrations:
    """The gateway's migrations, for the database of this pool."""
    return Migrations(pool, pool._driver, MIGRATIONS, HISTORY)


@contextmanager
def _open_tables(gateway: Server) -> Iterator[None]:
    """The lifespan: the tables are there before the first device, presence is written after the last one."""
    assert isinstance(gateway, Gateway)
    assert gateway.database is not None
    migrations_of(gateway.database).migrate()
    gateway.store = Store(gateway.database)
    gateway.presence = Presence(gateway.store, gateway.connections)
    gateway.presence.start()
    try:
        yield
    finally:
        gateway.presence.close()


def _short(seconds: float | None) -> float | None:
    """Whole seconds as an int, so that they go over the wire as 30, not 30.0."""
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
