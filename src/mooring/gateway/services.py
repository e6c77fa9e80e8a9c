"""What a gateway needs besides its server, from before the first device until after the last one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..db import ConnectionPool
from ..db.migrations import Migrations
from .dispatcher import INTERVAL as DISPATCH_INTERVAL
from .dispatcher import Dispatcher
from .periodic import Periodic
from .presence import Presence
from .roll_call import RollCall
from .rounds import INTERVAL as ROUNDS_INTERVAL
from .rounds import Rounds
from .store import Store
from .tables.database import Unavailable
from .writers import GroupCommits, SingleInserts

if TYPE_CHECKING:
    from .server import Gateway

logger = logging.getLogger("mooring.gateway")

MIGRATIONS: Final = Path(__file__).parent / "migrations"
HISTORY: Final = "mooring_gateway_migrations"
"""The table that keeps which migrations were applied; users' own migrations have another one."""

UNFINISHED_KEPT: Final = 7 * 24 * 3600.0
"""Seconds after which an upload that does not grow is dropped."""
HOUR: Final = 3600.0


def migrations_of(pool: ConnectionPool) -> Migrations:
    """The gateway's migrations, for the database of this pool."""
    return Migrations(pool, pool._driver, MIGRATIONS, HISTORY)


@contextmanager
def open_services(gateway: Gateway) -> Iterator[None]:
    """Make the tables, or bring them up to date, and start what works in the background.

    At the end presence is written once more, and what waits to be stored is stored.
    """
    pool = gateway.database
    assert pool is not None
    migrations_of(pool).migrate()
    store = gateway.store = Store(pool)
    presence = gateway.presence = Presence(store.devices, gateway.connections)
    rounds = Rounds(presence, RollCall(store.devices, gateway.connections, gateway.note_sent_away))
    dispatcher = gateway.dispatcher = Dispatcher(store.commands, wake=lambda: commands.wake())
    dispatcher.begin()
    commands = Periodic("mooring-commands", DISPATCH_INTERVAL, dispatcher.look)
    uploads = Periodic("mooring-uploads", HOUR, lambda: _drop_unfinished(store))
    gateway.writer = GroupCommits(pool) if gateway.group_commit else SingleInserts(store.pushes)
    here = Periodic("mooring-presence", ROUNDS_INTERVAL, rounds.make, at_end=rounds.end)
    with ExitStack() as ending:
        ending.callback(gateway.writer.close)
        for periodic in (uploads, here, commands):
            periodic.start()
            ending.callback(periodic.close)
        yield


def _drop_unfinished(store: Store) -> None:
    try:
        store.uploads.drop_unfinished(time.time() - UNFINISHED_KEPT)
    except Unavailable as exc:
        logger.info("unfinished uploads could not be dropped, it is tried again later: %s", exc)
