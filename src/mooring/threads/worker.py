"""A thread of the pool: it waits for its baton, serves, and waits again."""

from __future__ import annotations

import threading
from typing import Protocol

from .tasks import Task


class Employer(Protocol):
    """What a worker needs of its pool."""

    def _begin(self, worker: Worker) -> None: ...

    def _serve(self, worker: Worker) -> None: ...


class Worker:
    """One thread, and the baton by which work is handed to it.

    Whoever takes the worker from the pool's stack of idle ones owns it: that thread alone sets ``pool`` and ``task``
    and then releases ``baton``, which happens before the worker reads them. ``pool`` None means: leave. An idle
    worker holds no reference to its pool, so a pool that its users have dropped can be collected.

    ``started_at`` is the monotonic time at which the task began, 0.0 without one. A worker that has woken sets it by
    itself; all other changes of it, and all of ``stuck``, are made under the pool's mutex.
    ``leaves`` is the worker's own: its pool has told it to end.
    """

    __slots__ = ("baton", "cpu", "leaves", "pool", "started_at", "stuck", "task", "thread")

    def __init__(self, name: str, pool: Employer) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.started_at = 0.0
        self.cpu = 0.0  # seconds that its thread had used at the last look; the mutex guards it
        self.stuck = False
        self.leaves = False
        self.pool: Employer | None = pool
        self.task: Task | None = None
        # A daemon, so that a thread stuck in a task of an abandoned pool cannot keep the process; what is worth
        # waiting for at exit is waited for in `exit.py`.
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def hand(self, pool: Employer, task: Task) -> None:
        """Give the idle worker a task, and wake it."""
        self.pool = pool
        self.task = task
        self.baton.release()

    def dismiss(self) -> None:
        """Let the idle worker leave."""
        self.pool = None
        self.baton.release()

    def _run(self) -> None:
        pool = self._claim()
        assert pool is not None
        pool._begin(self)
        acquire = self.baton.acquire
        while not self.leaves:
            del pool  # not one reference while waiting
            acquire()
            pool, self.pool = self.pool, None  # `_claim` by hand: once for every call
            if pool is None:
                return
            pool._serve(self)

    def _claim(self) -> Employer | None:
        pool, self.pool = self.pool, None
        return pool
