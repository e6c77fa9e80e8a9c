"""The gateway's store: its tables, and the way pushes take into them."""

from __future__ import annotations

from ..db import ConnectionPool
from .tables.commands import Commands
from .tables.database import Database, Unavailable
from .tables.devices import Devices, TooManyDevices, Unauthorized
from .tables.pushes import Pushes
from .tables.uploads import Uploads

__all__ = ["Store", "TooManyDevices", "Unauthorized", "Unavailable"]


class Store:
    """All tables over one pool. Usable from any thread; it keeps nothing but the pool.

    Args:
        pool: with the tables in it.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        database = Database(pool)
        self.database = database
        self.devices = Devices(database)
        self.pushes = Pushes(database)
        self.commands = Commands(database)
        self.uploads = Uploads(database)
