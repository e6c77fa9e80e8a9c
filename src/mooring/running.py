"""Running servers as the main work of a process: signals, and an end that always comes."""

from __future__ import annotations

import gc
import logging
import math
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

logger = logging.getLogger("mooring")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LONGEST_WAIT = 0.5
"""Seconds after which a signal is noticed at the latest."""


DEFAULT_SWITCH_INTERVAL, SWITCH_INTERVAL = 0.005, 0.0005
"""Seconds that a thread which computes keeps the interpreter while another one asks for it. The loop asks after every
system call: at CPython's default, two threads that compute hold it up for 5 ms each time. Shorter than this the
switches themselves begin to show."""

DEFAULT_COLLECTIONS, COLLECTIONS = (700, 2000), 10_000
"""Objects by which those that may be parts of cycles must have grown before the collector looks for garbage among the
young ones: CPython's defaults (up to 3.13, and later), and ours. What waits to be stored or answered is some thousands
of objects that come and go: with the defaults they alone keep the collector at work, a tenth of the time and more."""


class Runnable(Protocol):
    """What can be run: a Server."""

    def start(self) -> None:
        """Begin to serve."""

    def stop(self, timeout: float | None = 30.0, *, spread: float | None = 0.0, grace: float = 0.0) -> None:
        """Drain and end."""

    @property
    def connections(self) -> Sized:
        """Those that are open."""

    def wait_stopped(self) -> None:
        """Return when the server has stopped, for whatever reason; raise if that was an error."""


@dataclass
class Life:
    """What a process does besides serving; read when it is needed, so it may be changed meanwhile.

    Attributes:
        drain_timeout: seconds for the drain, from the last connection's turn on.
        drain_spread: seconds over which connections are closed, so that devices do not all come back at the same
            moment; None: as many as suit them, within ``drain_timeout``. See Server.stop.
        drain_grace: seconds before, in which the process says that it will not be there for long.
        actions: what further signals do, by number. Run on the main thread, one after the other, not while starting.
        tick: called about twice a second on the main thread.
        stopping: called when the drain begins.
    """

    drain_timeout: float = 30.0
    drain_spread: float | None = None
    drain_grace: float = 0.0
    actions: Mapping[int, Callable[[], object]] = field(default_factory=dict)
    tick: Callable[[], object] = lambda: None
    stopping: Callable[[], object] = lambda: None

    @property
    def drain_time(self) -> float:
        """Seconds that a drain may take, all in all."""
        return self.drain_grace + (self.drain_spread or 0.0) + self.drain_timeout


class StartInterrupted(BaseException):
    """A signal came while the servers were starting, which may take as long as a database needs."""


def run_until_signal(
    servers: Sequence[Runnable],
    started: Callable[[], None],
    stop_timeout: float = 30.0,
    life: Life | None = None,
) -> None:
    """Start servers, wait for TERM or INT, drain them together. A second signal ends the process at once.

    Args:
        servers: at least one; if one cannot be started the others are stopped.
        started: called when all are started.
        stop_timeout: seconds for the drain, if there is no ``life`` that says it.
        life: what the process does besides.

    Raises:
        RuntimeError: not called from the main thread, which alone receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run() handles signals and so belongs to the main thread; elsewhere use start() and stop()")
    raise_descriptor_limit()
    shorten_switch_interval()
    life = life if life is not None else Life(drain_timeout=stop_timeout)
    happenings: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # its put() may be called by a signal handler
    starting, interrupted = True, False

    def on_signal(number: int, frame: object) -> None:
        nonlocal interrupted
        if not starting or number in life.actions:
            happenings.put(number)
        elif interrupted:
            end_at_once(number)
        else:
            interrupted = True
            raise StartInterrupted(number)

    before = {number: signal.signal(number, on_signal) for number in (*STOP_SIGNALS, *life.actions)}
    try:
        try:
            _start_all(servers)
            ease_garbage_collector()
            starting = False
        except StartInterrupted as exc:
            _stop_all(servers)
            logger.info("%s: ended while it was starting", signal.Signals(exc.args[0]).name)
            return
        started()
        for server in servers:
            _in_background(partial(_watch, server, happenings))
        _drain(servers, happenings, life)
    finally:
        gc.unfreeze()
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


def _drain(servers: Sequence[Runnable], happenings: queue.SimpleQueue[int | None], life: Life) -> None:
    """Wait for a signal (or for one of the servers to end by itself), then stop all and wait for that."""
    running = len(servers)
    first = _next(happenings, life)
    if first is None:
        running -= 1
    else:
        connections = sum(len(server.connections) for server in servers)
        after = f", from {life.drain_grace:.1f} s on" if life.drain_grace else ""
        over = f", closed over {life.drain_spread:.1f} s" if life.drain_spread else ""
        how = f" ({connections} connections{over}{after})" if connections or after else ""
        logger.info("%s: draining; a second one stops at once%s", signal.Signals(first).name, how)
    _call(life.stopping)
    for server in servers:
        stop = partial(server.stop, life.drain_timeout, spread=life.drain_spread, grace=life.drain_grace)
        _in_background(stop)
    while running:
        happening = _next(happenings, life)
        if happening is None:
            running -= 1
        else:
            end_at_once(happening)


def _next(happenings: queue.SimpleQueue[int | None], life: Life) -> int | None:
    """The next signal that ends the process, or None for a server that has ended; others are acted upon."""
    # A signal that arrives just before the lock is waited for does not end that wait, and its handler runs only after
    # it: no wait of the main thread may be without an end.
    while True:
        try:
            happening = happenings.get(timeout=LONGEST_WAIT)
        except queue.Empty:
            _call(life.tick)
            continue
        if happening is None or happening not in life.actions:
            return happening
        _call(life.actions[happening])


def _call(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:
        logger.exception("an action on a signal, or of every moment, failed; the servers go on")


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


def shorten_switch_interval() -> None:
    """Let threads that compute hand the interpreter over sooner, unless somebody has set another interval already."""
    if math.isclose(sys.getswitchinterval(), DEFAULT_SWITCH_INTERVAL):
        sys.setswitchinterval(SWITCH_INTERVAL)


def ease_garbage_collector() -> None:
    """Have the cyclic collector leave alone what is here from the start, and look less often at what comes and goes.

    A full collection goes through all modules, classes and functions that were ever imported: some 30 ms in which no
    thread does anything, again and again while a server is busy. Somebody's own thresholds stay as they are, and so
    does a collector that is switched off.
    """
    if not gc.isenabled():
        return
    first, *others = gc.get_threshold()
    if first in DEFAULT_COLLECTIONS:
        gc.set_threshold(COLLECTIONS, *others)
    gc.collect()
    gc.freeze()


def _in_background(function: Callable[[], Any]) -> None:
    threading.Thread(target=function, name="mooring-lifecycle", daemon=True).start()
