"""The thread that samples a pool which finds its own size; without anything to see it sleeps without a time-out."""

from __future__ import annotations

import threading
import weakref
from typing import Protocol


class Sampled(Protocol):
    """What the sampler needs of its pool."""

    def _sample(self) -> float | None:
        """Take one step; seconds until the next, or None: when it is woken."""


class Sampler:
    """Calls the pool's ``_sample`` at the intervals that it asks for.

    It holds the pool by a weak reference and runs as a daemon: neither the pool nor the interpreter lives longer for
    it. ``_lock`` guards ``_thread``; ``_leaving`` is only ever set.
    """

    def __init__(self, pool: Sampled, name: str) -> None:
        self._pool = weakref.ref(pool)
        self._name = name
        self._lock = threading.Lock()
        self._baton = threading.Lock()
        self._baton.acquire()
        self._thread: threading.Thread | None = None
        self._leaving = False

    def wake(self) -> None:
        """Sample now. Starts the thread the first time; RuntimeError if there is none to be had."""
        with self._lock:
            if self._thread is None and not self._leaving:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        self._release()

    def leave(self) -> None:
        """End the thread; does not wait for it."""
        self._leaving = True
        self._release()

    def join(self) -> None:
        """Wait until the thread has ended."""
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _release(self) -> None:
        try:
            self._baton.release()
        except RuntimeError:
            pass  # somebody else woke it already: once is enough

    def _run(self) -> None:
        interval: float | None = None
        while True:
            self._baton.acquire(timeout=-1 if interval is None else interval)
            pool = self._pool()
            if self._leaving or pool is None:
                return
            interval = pool._sample()
            del pool  # not one reference while waiting
