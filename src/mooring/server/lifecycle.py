"""Where a server is in its life: the states, the steps between them, and who waits for which.

    new -> initializing -> initialized -> running -> stopping -> stopped

``initialize`` that fails goes back to new; ``stop`` goes to stopping from everywhere, and nothing leads out of stopped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class ServerState(StrEnum):
    """new -> initialized -> running -> stopping -> stopped; the steps between happen outside the lock."""

    NEW = "new"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Lifecycle:
    """The state of one server; any thread may ask for the next step.

    ``_changed`` (a Condition) guards ``_state`` and ``_busy_thread``, the thread that is in ``initialize`` or releases
    everything and so may be in the lifespan; nothing else happens under it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state = ServerState.NEW
        self._busy_thread = 0
        self._process = os.getpid()

    @property
    def state(self) -> ServerState:
        """Where the server is now."""
        return self._state

    @property
    def is_busy_here(self) -> bool:
        """Whether the calling thread is the one that opens or releases everything."""
        return threading.get_ident() == self._busy_thread

    def check_process(self) -> None:
        """Refuse to act in a forked child.

        Raises:
            RuntimeError: this is not the process that the server was made in.
        """
        if os.getpid() != self._process:
            raise RuntimeError(f"this server belongs to process {self._process}; a forked child must make its own")

    def check_new(self, what: str) -> None:
        """Refuse what is possible only before ``initialize``.

        Args:
            what: "it can be reconfigured", say.

        Raises:
            RuntimeError: the server has been initialized.
        """
        if self._state is not ServerState.NEW:
            raise RuntimeError(f"the server is {self._state}: {what} only before initialize()")

    @contextmanager
    def initializing(self) -> Iterator[bool]:
        """The body opens everything; True: it is to do so, False: that has been done. What it raises undoes the step.

        Raises:
            RuntimeError: the server has stopped.
        """
        if not self._claim(ServerState.NEW, ServerState.INITIALIZING):
            yield False
            return
        self._busy_thread = threading.get_ident()
        try:
            yield True
        except BaseException:
            self._set(ServerState.NEW)
            raise
        self._set(ServerState.INITIALIZED)

    def begin_running(self) -> bool:
        """Go from initialized to running; False: that has been done.

        Raises:
            RuntimeError: the server has stopped.
        """
        return self._claim(ServerState.INITIALIZED, ServerState.RUNNING)

    def begin_stopping(self, timeout: float | None) -> ServerState | None:
        """Go to stopping, and say from where; None: somebody else has, and has been waited for.

        Args:
            timeout: seconds to wait for that other one; None: no limit.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state is not ServerState.INITIALIZING)
            before = self._state
            if before in (ServerState.STOPPING, ServerState.STOPPED):
                self._changed.wait_for(lambda: self._state is ServerState.STOPPED, timeout)
                return None
            self._state = ServerState.STOPPING
            self._changed.notify_all()
        return before

    @contextmanager
    def releasing(self) -> Iterator[None]:
        """The body gives back everything; the server is stopped after it."""
        self._busy_thread = threading.get_ident()
        try:
            yield
        finally:
            self._set(ServerState.STOPPED)

    def wait_stopped(self) -> None:
        """Return when the server has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is ServerState.STOPPED)

    def _claim(self, expected: ServerState, following: ServerState) -> bool:
        """Go from one state to the next, or say that it is past already."""
        self.check_process()
        if self.is_busy_here and self._state is ServerState.INITIALIZING:
            raise RuntimeError("initialize() is running in this very thread: let the lifespan return first")
        with self._changed:
            self._changed.wait_for(lambda: self._state is not ServerState.INITIALIZING)
            if self._state in (ServerState.STOPPING, ServerState.STOPPED):
                raise RuntimeError(f"this server is {self._state}; make a new Server to serve again")
            if self._state is not expected:
                return False
            self._state = following
            self._changed.notify_all()
        return True

    def _set(self, state: ServerState) -> None:
        with self._changed:
            self._busy_thread = 0
            self._state = state
            self._changed.notify_all()
