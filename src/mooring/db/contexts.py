"""The two ``with`` blocks of a pool, a connection and a transaction; and a transaction that is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from .lease import Lease

if TYPE_CHECKING:
    from .pool import ConnectionPool

T = TypeVar("T")
SHORTEST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.1
ISOLATION_LEVELS: Final = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


class Borrowed:
    """``with pool.connection() as lease:``; each entry borrows anew."""

    def __init__(self, pool: ConnectionPool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._lease: Lease | None = None

    def __enter__(self) -> Lease:
        self._lease = self._pool.get_connection(self._timeout)
        return self._lease

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lease, self._lease = self._lease, None
        if lease is not None and lease.live:  # returned inside the block: nothing is left to do
            lease.__exit__(kind, exc, traceback)


class Transaction(Borrowed):
    """``with pool.transaction() as lease:``; COMMIT at the end, ROLLBACK on any exception."""

    def __init__(self, pool: ConnectionPool, timeout: float | None, isolation: str | None, read_only: bool) -> None:
        super().__init__(pool, timeout)
        if isolation is not None and isolation.upper() not in ISOLATION_LEVELS:
            raise ValueError(f"unknown isolation level {isolation!r}; known are {', '.join(ISOLATION_LEVELS)}")
        self._isolation = isolation.upper() if isolation is not None else None
        self._read_only = read_only

    def __enter__(self) -> Lease:
        lease = super().__enter__()
        try:
            lease.begin(self._isolation, self._read_only)
        except BaseException as exc:
            super().__exit__(type(exc), exc, None)
            raise
        return lease

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lease = self._lease
        try:
            if exc is None and lease is not None:
                lease.commit()
        except BaseException as failure:
            super().__exit__(type(failure), failure, None)
            raise
        # After an exception the return of the lease rolls back.
        super().__exit__(kind, exc, traceback)


def run_transaction(pool: ConnectionPool, function: Callable[[Lease], T], attempts: int) -> T:
    """See ``ConnectionPool.run_transaction``."""
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}")
    while True:
        attempts -= 1
        try:
            with pool.transaction() as lease:
                return function(lease)
        except Exception as exc:
            if not attempts or not pool._driver.may_repeat(exc):
                raise
        with pool._ledger.mutex:
            pool._ledger.counters["retries"] += 1
        # At random, or the same two meet again.
        time.sleep(random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))
