"""One connection, as closely as can be seen without touching it."""

from __future__ import annotations

import time

from ..net.connection.connection import Connection
from ..net.connection.tcp_info import tcp_info
from . import records
from .table import row
from .watched import WatchedServer


def details(server: WatchedServer, connection: Connection) -> records.Details:
    """Look at a connection.

    Args:
        server: its own.
    """
    info = tcp_info(connection._socket)
    with connection._lock:
        inbox, replies = len(connection._inbox or ()), len(connection._replies or ())
        requests = len(connection._requests or ())
    session = connection.session
    return records.Details(
        row=row(server, connection, time.monotonic()),
        local=str(connection.local),
        inbox=inbox,
        replies=replies,
        requests=requests,
        served_by=_served_by(connection),
        session=type(session).__qualname__ if session is not None else None,
        bytes_in=info.bytes_received if info is not None else None,
        bytes_out=info.bytes_acknowledged if info is not None else None,
        round_trip=info.round_trip if info is not None else None,
        retransmits=info.retransmits if info is not None else None,
    )


def _served_by(connection: Connection) -> str:
    """Whether its own calls were slow, which puts a single connection into the pool."""
    if connection._trial > 0:
        return f"the pool, until {connection._trial} more calls of it were quick"
    return "as its routes"
