"""Database pools and migrations for MySQL and SQLite; usable without the rest of Mooring."""

from .driver import Cursor
from .durations import Durations
from .events import PoolEvent, PoolEventKind
from .group_commit import GroupCommit, GroupCommitStats
from .lease import Lease
from .manager import ConnectionManager, MySQLConnectionManager
from .migrations import MigrationError, MigrationStatus
from .pool import ConnectionPool
from .pools import MySQLConnectionPool, SQLiteConnectionPool, open_pool
from .stats import PoolStats
from .url import DatabaseURL

__all__ = [
    "ConnectionManager",
    "ConnectionPool",
    "Cursor",
    "DatabaseURL",
    "Durations",
    "GroupCommit",
    "GroupCommitStats",
    "Lease",
    "MigrationError",
    "MigrationStatus",
    "MySQLConnectionManager",
    "MySQLConnectionPool",
    "PoolEvent",
    "PoolEventKind",
    "PoolStats",
    "SQLiteConnectionPool",
    "open_pool",
]
