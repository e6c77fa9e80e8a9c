"""The threads of a group commit: the writers, one for each line of the queue, and one that watches the time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from ...errors import PoolClosed, PoolUnavailable
from .batch import Committer
from .queue import Queue
from .results import Results

logger = logging.getLogger("mooring.db")

SHORTEST_LOOK: Final = 0.02
"""Seconds between two looks for entries that have waited for too long."""


class Writers:
    """Starts the threads at the first row and ends them at the close; while they idle they hold no connection.

    ``_mutex`` guards ``_threads``.

    Args:
        queue: what they serve.
        results: takes what has become of entries.
        make_committer: makes what a writer works with.
        queue_timeout: seconds that entries may wait.
        clock: monotonic seconds.
        label: for thread names and messages.
    """

    def __init__(
        self,
        queue: Queue,
        results: Results,
        make_committer: Callable[[], Committer],
        *,
        queue_timeout: float,
        clock: Callable[[], float],
        label: str,
    ) -> None:
        self._queue = queue
        self._results = results
        self._make_committer = make_committer
        self._queue_timeout = queue_timeout
        self._clock = clock
        self._label = label
        self.renew()

    def renew(self) -> None:
        """No thread is there; for a forked child, too."""
        self._mutex = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.are_started = False

    def start(self) -> None:
        """Start the threads if they are not there yet.

        Raises:
            RuntimeError: no thread can be started; those that were are kept, and the next call goes on.
        """
        with self._mutex:
            wanted = [(self._write, number) for number in range(len(self._queue.lines))] + [(self._watch, -1)]
            for function, number in wanted[len(self._threads) :]:
                name = f"{self._label}-{number + 1}" if number >= 0 else f"{self._label}-time"
                thread = threading.Thread(target=function, args=(number,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            self.are_started = True

    def are_here(self) -> bool:
        """Whether the calling thread is one of them."""
        with self._mutex:
            return threading.current_thread() in self._threads

    def join(self, deadline: float) -> bool:
        """Wait until all have ended, but for the calling one; False if they have not by ``deadline``."""
        with self._mutex:
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in threads:
            thread.join(None if deadline == math.inf else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _write(self, number: int) -> None:
        """The life of a writer."""
        committer = self._make_committer()
        while True:
            entries = self._queue.take(number, committer.most_bytes)
            if entries is None:
                return
            try:
                committer.commit(entries)
            except BaseException as exc:
                # A fault of ours: nobody may wait for ever because of it.
                logger.exception("%s: a batch ended by a fault of the writer", self._label)
                self._results.last_error = exc
                left = [entry for entry in entries if not entry.pending.done()]
                for entry in left:
                    entry.is_unknown = True
                self._results.give_up(left, PoolUnavailable(f"{self._label}: the writer failed"))

    def _watch(self, _: int) -> None:
        """Have entries fail that have waited for too long, even while all writers wait for the database."""
        pause = self._queue_timeout
        while not self._queue.rest(pause):
            pause = self._look()

    def _look(self) -> float:
        expired, following = self._queue.take_expired()
        if expired:
            self._results.expire(expired)
        if following == math.inf:
            return self._queue_timeout
        return max(SHORTEST_LOOK, following - self._clock())

    def give_up(self) -> None:
        """Have everything fail that has no result yet, as far as no statement of it is under way."""
        error = PoolClosed(f"{self._label} was closed before the row could be stored")
        self._results.give_up(self._queue.take_all(), error)
