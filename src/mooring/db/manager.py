"""A pool together with the migrations that its program needs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from os import PathLike
from types import TracebackType
from typing import Any

from .lease import Lease
from .migrations import Migrations, MigrationStatus
from .pool import ConnectionPool
from .pools import MySQLConnectionPool, open_pool


class ConnectionManager:
    """Open the database, bring its tables up to date, lend connections.

    The constructor checks its arguments and does nothing else; ``initialize()`` opens and migrates.

    Args:
        url: as for ``open_pool``.
        migrations: a folder of files such as ``V0001__devices.sql`` or ``V0002__pushes.mysql.sql``.
        history: the table that keeps what was applied; several owners may share a database under different names.
        pool_options: those of the pool.

    Raises:
        ValueError, TypeError: an argument is wrong; the text names it.
    """

    def __init__(
        self,
        url: str,
        migrations: str | PathLike[str],
        *,
        history: str = "mooring_migrations",
        **pool_options: Any,
    ) -> None:
        self.pool = self._make_pool(url, pool_options)
        self._migrations = Migrations(self.pool, self.pool._driver, migrations, history)

    def _make_pool(self, url: str, options: dict[str, Any]) -> ConnectionPool:
        return open_pool(url, **options)

    def initialize(self, timeout: float = 30.0) -> list[MigrationStatus]:
        """Open the first connections, then migrate.

        Args:
            timeout: seconds to keep trying while the database cannot be reached.

        Returns:
            What was applied.

        Raises:
            PoolUnavailable: with the driver's error as ``__cause__``. MigrationError: as for ``migrate``.
        """
        self.pool.create_connections(timeout=timeout)
        return self.migrate()

    def migrate(self) -> list[MigrationStatus]:
        """Apply all pending migrations, each once, in the order of their numbers.

        Processes that start at the same time wait for each other. SQLite keeps all of a file or nothing. MySQL commits
        each change of a table by itself, so a file that fails half-way is recorded as failed and must be looked at.

        Returns:
            What was applied; an empty list if there was nothing to do.

        Raises:
            MigrationError: a statement failed, a file was changed after it had been applied, a number is missing or
            late, or another process holds the lock for more than a minute. The text says what to do.
        """
        return self._migrations.migrate()

    def status(self) -> list[MigrationStatus]:
        """Say of each migration, in the folder or in the database, what became of it; nothing is changed."""
        return self._migrations.status()

    def repair(self) -> list[MigrationStatus]:
        """Forget failed migrations, so that they run again, and accept changed files as they are.

        Returns:
            The migrations concerned, with the state that they had.
        """
        return self._migrations.repair()

    def get_connection(self, timeout: float | None = None) -> Lease:
        """Borrow a connection; see ``ConnectionPool.get_connection``."""
        return self.pool.get_connection(timeout)

    def return_connection(self, lease: Lease) -> None:
        """Give a connection back; see ``ConnectionPool.return_connection``."""
        self.pool.return_connection(lease)

    def connection(self, timeout: float | None = None) -> AbstractContextManager[Lease]:
        """Borrow a connection for a ``with`` block; see ``ConnectionPool.connection``."""
        return self.pool.connection(timeout)

    def transaction(
        self, timeout: float | None = None, *, isolation: str | None = None, read_only: bool = False
    ) -> AbstractContextManager[Lease]:
        """Borrow a connection for one transaction; see ``ConnectionPool.transaction``."""
        return self.pool.transaction(timeout, isolation=isolation, read_only=read_only)

    def close(self, timeout: float = 10.0) -> None:
        """Close the pool; see ``ConnectionPool.close``."""
        self.pool.close(timeout)

    def __enter__(self) -> ConnectionManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class MySQLConnectionManager(ConnectionManager):
    """A ``ConnectionManager`` that accepts MySQL URLs only."""

    def _make_pool(self, url: str, options: dict[str, Any]) -> ConnectionPool:
        return MySQLConnectionPool(url, **options)
