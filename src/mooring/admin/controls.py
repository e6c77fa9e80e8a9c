"""What can be done to the servers; each control is one method, called by the API off its own thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from ..db import ConnectionPool
from ..errors import ConnectionClosed, FrameError, MooringError
from ..net.connection.connection import Connection
from ..server import Server, ServerState
from .bodies import Drain
from .refusal import Refused
from .watched import WatchedServer


class SendCommand(Protocol):
    """Stores a command for a device, as ``mooring send`` does."""

    def __call__(self, server: Server, device: str, data: Any, expires: float) -> str:
        """Store it.

        Args:
            data: any JSON.
            expires: seconds from now.

        Returns:
            What became of it, in words.

        Raises:
            KeyError: there is no such device. ValueError: the command cannot be taken. MooringError: not stored.
        """


class Controls:
    """Does what the API is asked to do.

    Args:
        servers: all of the process.
        drain: stops everything, as TERM does; None: stop each server.
        send_command: for servers that have devices; None: they have no commands.
    """

    def __init__(
        self,
        servers: Sequence[WatchedServer],
        drain: Callable[[Drain], None] | None = None,
        send_command: SendCommand | None = None,
    ) -> None:
        self._servers = {one.id: one for one in servers}
        self._drain = drain
        self._send_command = send_command

    def server(self, id: str) -> Server:
        """A server by its id.

        Raises:
            Refused: there is none.
        """
        found = self._servers.get(id)
        if found is None:
            known = ", ".join(self._servers)
            raise Refused(404, "unknown_server", f"there is no server {id[:60]!r}; there are: {known}")
        return found.server

    def connection(self, id: int) -> tuple[str, Connection]:
        """A connection by its number, and its server's id.

        Raises:
            Refused: there is none, or not any more.
        """
        for name, watched in self._servers.items():
            found = watched.server.connections.by_id(id)
            if found is not None:
                return name, found
        raise Refused(404, "unknown_connection", f"there is no connection {id}; it may have ended")

    # Threads --------------------------------------------------------------------------------------------------------

    def resize_threads(self, server: str, min_size: int, max_size: int | None) -> str:
        """New bounds for the pool of handlers."""
        pool = self.server(server).threads
        with refusals():
            pool.resize(min_size, max_size)
        stats = pool.stats()
        return f"{stats.min_size} to {stats.max_size} threads"

    def pause_threads(self, server: str) -> str:
        """No handler starts until ``resume_threads``."""
        with refusals():
            self.server(server).threads.pause()
        return "paused: no handler starts"

    def resume_threads(self, server: str) -> str:
        """Handlers start again."""
        with refusals():
            self.server(server).threads.resume()
        return "resumed"

    # Database -------------------------------------------------------------------------------------------------------

    def resize_database(self, server: str, min_size: int, max_size: int | None) -> str:
        """New bounds for the database's pool."""
        pool = self._database(server)
        with refusals():
            pool.resize(min_size, max_size)
        stats = pool.stats()
        return f"{stats.min_size} to {stats.max_size} connections"

    def evict_database(self, server: str) -> str:
        """Replace all connections to the database."""
        pool = self._database(server)
        with refusals():
            pool.evict()
        return "idle connections are closed, lent ones when they come back"

    def _database(self, server: str) -> ConnectionPool:
        pool = self.server(server).database
        if pool is None:
            raise Refused(409, "no_database", f"the server {server!r} has no database")
        return pool

    # Connections ----------------------------------------------------------------------------------------------------

    def close_connection(self, id: int, *, abort: bool) -> str:
        """End a connection, in order or at once."""
        _, connection = self.connection(id)
        if abort:
            connection.abort()
            return f"connection {id} is reset"
        connection.close("closed by the admin API")
        return f"connection {id} closes when its replies have left"

    def send_message(self, id: int, message: bytes) -> str:
        """Send a message of any kind to a connection."""
        _, connection = self.connection(id)
        try:
            connection.send(message)
        except (ConnectionClosed, FrameError) as exc:
            raise Refused(409, "not_sent", str(exc)) from exc
        return f"{len(message)} bytes were sent to connection {id}"

    def send_command(self, server: str, device: str, data: Any, expires: float) -> str:
        """Store a command for a device of the gateway."""
        found = self.server(server)
        if self._send_command is None or not self._servers[server].has_commands:
            raise Refused(409, "no_commands", f"the server {server!r} has no commands for devices; it is no gateway")
        try:
            return self._send_command(found, device, data, expires)
        except KeyError as exc:
            raise Refused(404, "unknown_device", f"there is no device {device[:64]!r}") from exc
        except (ValueError, TypeError) as exc:
            raise Refused(422, "bad_command", str(exc)) from exc
        except MooringError as exc:
            raise Refused(503, "not_stored", str(exc)) from exc

    # Servers --------------------------------------------------------------------------------------------------------

    def set_accepting(self, server: str, accepting: bool, address: str | None = None) -> str:
        """Stop accepting new connections for a while, or go on; by one listener, or by all."""
        found = self.server(server)
        if found.state is not ServerState.RUNNING:
            raise Refused(409, "not_running", f"the server is {found.state.value}")
        where = "" if address is None else f" on {address}"
        try:
            if accepting:
                found.resume_accepting(address)
                return f"new connections{where} are accepted"
            found.suspend_accepting(address)
        except ValueError as exc:
            raise Refused(404, "unknown_listener", str(exc)) from exc
        return f"new connections{where} wait until accepting is resumed"

    def drain(self, how: Drain) -> str:
        """Stop everything: what was read is served, then the process ends. Returns at once."""
        if self._drain is not None:
            self._drain(how)
        else:
            times = {name: seconds for name, seconds in msgspec.structs.asdict(how).items() if seconds is not None}
            for one in self._servers.values():
                stop = partial(one.server.stop, **times)
                threading.Thread(target=stop, name="mooring-drain", daemon=True).start()
        return "draining; the process ends when everything has been served"


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Errors of the pools as answers."""
    try:
        yield
    except (ValueError, TypeError) as exc:
        raise Refused(422, "bad_value", str(exc)) from exc
    except (RuntimeError, MooringError) as exc:
        raise Refused(409, "not_possible", str(exc)) from exc
