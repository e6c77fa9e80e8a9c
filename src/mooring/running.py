"""Running servers as the main work of a process: signals, and an end that always comes."""

from __future__ import annotations

import logging
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

logger = logging.getLogger("mooring")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LONGEST_WAIT = 0.5
"""Seconds after which a signal is noticed at the latest."""


class Runnable(Protocol):
    """What can be run: a Server."""

    def start(self) -> None:
        """Begin to serve."""

    def stop(self, timeout: float | None = 30.0) -> None:
        """Drain and end."""

    def wait_stopped(self) -> None:
        """Return when the server has stopped, for whatever reason; raise if that was an error."""


class StartInterrupted(BaseException):
    """A signal came while the servers were starting, which may take as long as a database needs."""


def run_until_signal(servers: Sequence[Runnable], started: Callable[[], None], stop_timeout: float = 30.0) -> None:
    """Start servers, wait for TERM or INT, drain them together. A second signal ends the process at once.

    Args:
        servers: at least one; if one cannot be started the others are stopped.
        started: called when all are started.
        stop_timeout: seconds for the drain.

    Raises:
        RuntimeError: not called from the main thread, which alone receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run() handles signals and so belongs to the main thread; elsewhere use start() and stop()")
    raise_descriptor_limit()
    happenings: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # its put() may be called by a signal handler
    starting, interrupted = True, False

    def on_signal(number: int, frame: object) -> None:
        nonlocal interrupted
        if not starting:
            happenings.put(number)
        elif interrupted:
            end_at_once(number)
        else:
            interrupted = True
            raise StartInterrupted(number)

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        try:
            _start_all(servers)
            starting = False
        except StartInterrupted as exc:
            _stop_all(servers)
            logger.info("%s: ended while it was starting", signal.Signals(exc.args[0]).name)
            return
        started()
        for server in servers:
            _in_background(partial(_watch, server, happenings))
        _drain(servers, happenings, stop_timeout)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for server in servers:
        server.wait_stopped()


def _start_all(servers: Sequence[Runnable]) -> None:
    try:
        for server in servers:
            server.start()
    except BaseException:
        _stop_all(servers)
        raise


def _stop_all(servers: Sequence[Runnable]) -> None:
    for server in servers:
        server.stop(0)


def _watch(server: Runnable, happenings: queue.SimpleQueue[int | None]) -> None:
    try:
        server.wait_stopped()
    except Exception:  # noqa: BLE001, S110 - run_until_signal asks again and raises it
        pass
    happenings.put(None)


def _drain(servers: Sequence[Runnable], happenings: queue.SimpleQueue[int | None], stop_timeout: float) -> None:
    """Wait for a signal (or for one of the servers to end by itself), then stop all and wait for that."""
    running = len(servers)
    first = _next(happenings)
    if first is None:
        running -= 1
    else:
        logger.info("%s: draining; a second one stops at once", signal.Signals(first).name)
    for server in servers:
        _in_background(partial(server.stop, stop_timeout))
    while running:
        happening = _next(happenings)
        if happening is None:
            running -= 1
        else:
            end_at_once(happening)


def _next(happenings: queue.SimpleQueue[int | None]) -> int | None:
    # A signal that arrives just before the lock is waited for does not end that wait, and its handler runs only after
    # it: no wait of the main thread may be without an end.
    while True:
        try:
            return happenings.get(timeout=LONGEST_WAIT)
        except queue.Empty:
            continue


def end_at_once(number: int) -> None:
    """End the process now, whatever runs in it, with the exit code of a process killed by this signal."""
    logger.warning("%s: stopped at once", signal.Signals(number).name)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one: each connection needs a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # the soft one stands


def _in_background(function: Callable[[], Any]) -> None:
    threading.Thread(target=function, name="mooring-lifecycle", daemon=True).start()
