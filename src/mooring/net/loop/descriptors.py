"""What epoll watches for a loop: its connections, and descriptors that have a watcher of their own."""

from __future__ import annotations

import select
from collections.abc import Callable

from ..connection.connection import Connection
from .leading import Role, leader_only
from .table import ConnectionTable

IN, OUT, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR


class Descriptors:
    """The registrations of one epoll; they belong to the leader.

    A descriptor stays registered, and ``epoll_ctl`` is called only when what is wanted of it changes; if neither
    reading nor writing is wanted it is unregistered, as a mask of 0 spins on a reset and is blind to a FIN.

    Args:
        state: of the role.
        table: has room for each descriptor that is watched.

    Attributes:
        epoll: level-triggered.
        watchers: what is called when a descriptor that is no connection is ready.
    """

    def __init__(self, state: Role, table: ConnectionTable) -> None:
        self.state = state
        self.epoll = select.epoll()
        self.watchers: dict[int, Callable[[], None]] = {}
        self._table = table

    @leader_only
    def watch(self, fd: int, watcher: Callable[[], None], events: int = IN) -> None:
        """Call ``watcher`` whenever the descriptor is ready."""
        self.watchers[fd] = watcher
        self._table.make_room(fd)
        self.epoll.register(fd, events)

    @leader_only
    def rewatch(self, fd: int, events: int) -> None:
        """Watch for something else."""
        self.epoll.modify(fd, events)

    @leader_only
    def unwatch(self, fd: int) -> None:
        """Watch it no more."""
        del self.watchers[fd]
        self.epoll.unregister(fd)

    @leader_only
    def want(self, connection: Connection, wanted: int) -> None:
        """Watch a connection for this, and nothing else; 0: not at all."""
        known, connection._mask = connection._mask, wanted
        if wanted == known:
            return
        if not known:
            self.epoll.register(connection._socket, wanted)
        elif not wanted:
            self.epoll.unregister(connection._socket)
        else:
            self.epoll.modify(connection._socket, wanted)
