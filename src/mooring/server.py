"""``Server``: ties listeners, loop, model, pool and database together and owns their lifecycle."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from . import __version__
from .db import ConnectionPool, open_pool
from .dump import log_dump
from .errors import MooringError
from .framing import Framing, Lines
from .handler import ConnectionHandler, Handling, Reply, Router
from .heartbeat import Heartbeat
from .models.epoll import EpollModel
from .models.handover import Handover
from .models.hybrid import HybridModel
from .models.serving import NeverPaused, Serving
from .models.thread_per_connection import ThreadPerConnectionModel
from .net.address import Address
from .net.connection import Connection, Connections
from .net.gate import Gate
from .net.limits import Limits
from .net.listener import Listener, ListenerStats, open_listeners
from .net.listeners import Listeners, Listening
from .net.loop import Loop
from .net.opening import Stage
from .net.proxy_protocol import ProxyProtocol
from .net.proxy_stage import ProxyStage
from .net.timeouts import Timeouts
from .net.tls import TLS, ServerContext, make_context
from .net.tls_stage import TLSStage
from .net.trace_event import TraceEvent
from .running import Life, run_until_signal
from .server_arguments import (
    check_counts,
    check_limits,
    check_model,
    check_objects,
    check_positive,
    check_proxy_protocol,
    check_tls,
    default_max_connections,
    parse_binds,
)
from .server_stats import ServerState, ServerStats
from .threads import ThreadPool
from .threads.histogram import Histogram
from .tracing import Trace

logger = logging.getLogger("mooring")

Handler: TypeAlias = Callable[[Connection, bytes], Reply] | type[ConnectionHandler] | Router

_OPTIONAL_TIMES = ("first_message", "idle", "frame")
_TIMES = (*_OPTIONAL_TIMES, "write", "close")
_COUNTS = ("backlog", "max_connections", "inbox_limit", "outbox_limit")
SPREAD_PER_CONNECTION = 0.002
"""Seconds: 500 devices a second come back, to the next process or to another one."""
FORCED_END = 5.0
"""Seconds that a stop whose time is over waits for the loop to reset what is left."""
LAST_CALLS = 2.0
"""Seconds that connections have to hear of their end, in the pool, when the loop has failed."""


class Server:
    """A TCP (or Unix socket) server whose handlers are plain blocking code.

    ``with Server(handler) as server:`` starts it and stops it at the end. Lifecycle calls may come from any thread and
    in any state; twice is harmless. A server that has stopped stays so: make a new one.

    ``_changed`` (a Condition) guards ``_state``; nothing else happens under it.

    Args:
        handler: a function ``(connection, message) -> reply``, a subclass of ConnectionHandler, or a Router.
        framing: how bytes become messages; shared by all connections.
        bind: one address or several: ``tcp://HOST:PORT``, ``tls://HOST:PORT``, ``unix:PATH``, or ``fd://N`` for a
            listening socket that was inherited (``tls+fd://N`` with TLS); port 0 lets the kernel choose. For
            ``tcp://[::]:PORT`` see ``open_listeners``: it takes IPv4 and IPv6.
        name: for logs and the banner.
        model: "hybrid" (epoll and a thread pool), "epoll" (one thread, handlers must not wait), "threads" (one for
            each connection).
        blocking: False: the handler never waits, run it on the loop thread. True: run it in the pool. None: the
            server measures which is better, for each route, and where calls of a route differ for each connection.
        route: splits a function or class into routes that are judged apart: gets a message, returns a key.
        threads: size of the pool for the hybrid model: a number, (min, max), or a ThreadPool of yours, which is
            then not shut down.
        heartbeat: see Heartbeat; None: none.
        idle_timeout: seconds without a byte received after which a connection is closed; None: never.
        first_message_timeout: seconds within which a new connection must have sent a complete message; None: none.
        write_timeout: seconds without progress after which a peer that takes nothing is reset.
        close_timeout: seconds that ``Connection.close`` waits for the last bytes to leave.
        backlog: clients that may wait in the kernel to be accepted, per listener.
        max_connections: beyond it new ones are closed at once; None: 0.8 of the process's limit of open files.
        inbox_limit: messages waiting plus replies outstanding after which a connection is not read for a while; nor is
            it while messages of 1 MiB together wait.
        outbox_limit: bytes that ``Connection.send`` may leave waiting.
        overflow: what it does beyond: "close" the connection, "drop" the message, or "block" for up to
            ``write_timeout`` (refused in model "epoll", where nobody may wait).
        frame_timeout: seconds within which a message that has begun must be complete; None: no limit.
        database: a pool or its URL; opened before the first accept, closed after the drain. Handlers find it as
            ``connection.server.database``.
        lifespan: called with the server by ``initialize``; its context is left after the drain.
        tls: the certificate and more, for the ``tls://`` addresses; see TLS.
        limits: how much is taken of whom; see Limits.
        proxy_protocol: a load balancer in front announces the clients; see ProxyProtocol. None: there is none.

    Raises:
        TypeError, ValueError: an argument is wrong; the text says which and what is expected. Nothing is opened.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        framing: Framing | None = None,
        bind: str | Sequence[str] = "tcp://127.0.0.1:7000",
        name: str = "",
        model: str = "hybrid",
        blocking: bool | None = None,
        route: Callable[[bytes], Hashable] | None = None,
        threads: int | tuple[int, int] | ThreadPool = (2, 64),
        heartbeat: Heartbeat | None = None,
        idle_timeout: float | None = 600.0,
        first_message_timeout: float | None = 60.0,
        write_timeout: float = 30.0,
        close_timeout: float = 5.0,
        backlog: int = 1024,
        max_connections: int | None = None,
        inbox_limit: int = 256,
        outbox_limit: int = 1 << 20,
        overflow: str = "close",
        frame_timeout: float | None = 30.0,
        database: ConnectionPool | str | None = None,
        lifespan: Callable[[Server], AbstractContextManager[Any]] | None = None,
        tls: TLS | None = None,
        limits: Limits | None = None,
        proxy_protocol: ProxyProtocol | None = None,
    ) -> None:
        check_model(model, overflow, blocking)
        check_positive(
            idle_timeout=idle_timeout,
            first_message_timeout=first_message_timeout,
            frame_timeout=frame_timeout,
        )
        check_positive(required=True, write_timeout=write_timeout, close_timeout=close_timeout)
        check_counts(required=True, backlog=backlog, inbox_limit=inbox_limit, outbox_limit=outbox_limit)
        check_counts(max_connections=max_connections)
        check_objects(framing, heartbeat, lifespan)
        limits = limits if limits is not None else Limits()
        check_limits(limits)
        self._handling = Handling(handler, blocking, route)
        self._blocking = blocking
        self._framing: Framing = framing if framing is not None else Lines()
        self._binds = parse_binds(bind)
        self._tls = check_tls(tls, self._binds)
        self._tls_stage: TLSStage | None = None
        check_proxy_protocol(proxy_protocol, self._binds)
        self._limits = limits
        self._proxy_protocol = proxy_protocol
        self.name = name
        self.model = model
        self.connections = Connections()
        self._listeners_of_events = Listeners(self.connections)
        self._own_pool = not isinstance(threads, ThreadPool)
        self._threads = self._make_pool(threads)
        self._heartbeat = heartbeat
        self._timeouts = Timeouts(
            first_message=first_message_timeout,
            idle=idle_timeout,
            heartbeat=heartbeat.timeout if heartbeat else None,
            frame=frame_timeout,
            write=write_timeout,
            close=close_timeout,
        )
        self._backlog = backlog
        self._max_connections = max_connections
        self._inbox_limit = inbox_limit
        self._outbox_limit = outbox_limit
        self._overflow = overflow
        self._database: ConnectionPool | None = open_pool(database) if isinstance(database, str) else database
        self._lifespan = lifespan
        self._resources = contextlib.ExitStack()
        self._listeners: list[Listener] = []
        self._addresses: tuple[Address, ...] = ()
        self._gate: Gate | None = None
        self._loop: Loop | None = None
        self._loop_ended = threading.Event()
        self._handover: Handover | None = None
        self._serving: Serving | None = None
        self._started_at = 0.0
        self._state = ServerState.NEW
        self._changed = threading.Condition()
        self._busy_thread = 0  # which is in initialize() or releases everything, and so may be in the lifespan
        self._accepting_lock = threading.Lock()  # guards the two lines below
        self._accepting = True
        self._suspended: frozenset[Address] = frozenset()  # of the listeners, while `_accepting`
        self._process = os.getpid()

    def _make_pool(self, threads: int | tuple[int, int] | ThreadPool) -> ThreadPool:
        if isinstance(threads, ThreadPool):
            return threads
        smallest, largest = threads if isinstance(threads, tuple) else (threads, threads)
        kind = ThreadPool if self.model == "hybrid" else _NoThreadPool
        prefix = f"{self.name or 'mooring'}-worker"
        return kind(smallest, largest, thread_name_prefix=prefix)

    def reconfigure(self, **arguments: Any) -> None:
        """Replace arguments of the constructor, as the settings of ``mooring serve`` do; others stay as they are.

        Args:
            arguments: ``bind``, ``model``, ``threads`` (a pool of your own is resized, one that the server made is made
                anew), ``heartbeat``, ``max_connections``, ``backlog``, ``inbox_limit``, ``outbox_limit``,
                ``overflow``, ``tls``, ``limits``, ``proxy_protocol``, and the time-outs.

        Raises:
            RuntimeError: the server has been initialized.
            TypeError, ValueError: as the constructor; nothing has changed then.
        """
        if self._state is not ServerState.NEW:
            raise RuntimeError(f"the server is {self._state}: it can be reconfigured only before initialize()")
        given = dict(arguments)
        model, overflow = given.pop("model", self.model), given.pop("overflow", self._overflow)
        threads, heartbeat = given.pop("threads", None), given.pop("heartbeat", self._heartbeat)
        binds = parse_binds(given.pop("bind")) if "bind" in given else self._binds
        tls = check_tls(given.pop("tls", self._tls), binds)
        limits = given.pop("limits", self._limits)
        proxy_protocol = given.pop("proxy_protocol", self._proxy_protocol)
        times = {name: given.pop(f"{name}_timeout") for name in _TIMES if f"{name}_timeout" in given}
        counts = {name: given.pop(name) for name in _COUNTS if name in given}
        if given:
            raise TypeError(f"Server: {', '.join(given)} cannot be replaced")
        check_model(model, overflow, self._blocking)
        check_objects(None, heartbeat, None)
        check_limits(limits)
        check_proxy_protocol(proxy_protocol, binds)
        check_positive(**{f"{name}_timeout": value for name, value in times.items() if name in _OPTIONAL_TIMES})
        needed = {f"{name}_timeout": value for name, value in times.items() if name not in _OPTIONAL_TIMES}
        check_positive(required=True, **needed)
        check_counts(required=True, **counts)
        self._replace_pool(model, threads)
        self._binds, self._overflow, self._heartbeat, self._tls = binds, overflow, heartbeat, tls
        self._limits, self._proxy_protocol = limits, proxy_protocol
        self._timeouts = replace(self._timeouts, **times, heartbeat=heartbeat.timeout if heartbeat else None)
        for name, value in counts.items():
            setattr(self, f"_{name}", value)

    def _replace_pool(self, model: str, threads: int | tuple[int, int] | None) -> None:
        if model == self.model and threads is None:
            return
        pool = self._threads
        if not self._own_pool:
            self.model = model
            if threads is not None:
                pool.resize(*(threads if isinstance(threads, tuple) else (threads, threads)))
            return
        sizes = pool.stats()
        before, self.model = self.model, model
        try:
            self._threads = self._make_pool((sizes.min_size, sizes.max_size) if threads is None else threads)
        except BaseException:
            self.model = before
            raise
        pool.shutdown(wait=False)

    # Lifecycle ------------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Open what is needed: the database, the lifespan, the listeners. Nothing is accepted yet.

        Raises:
            BindError: an address cannot be listened on, or the certificate or its key is of no use.
            PoolError: the database cannot be opened.
            RuntimeError: the server has stopped, or the model needs Linux.
        """
        if not self._claim(ServerState.NEW, ServerState.INITIALIZING):
            return
        self._busy_thread = threading.get_ident()
        try:
            self._open()
        except BaseException:
            self._resources.close()
            self._set_state(ServerState.NEW)
            raise
        self._set_state(ServerState.INITIALIZED)

    def start(self) -> None:
        """Initialize if that has not been done, and begin to serve, in threads of the server's own. Returns at once.

        Raises:
            RuntimeError: the system gives no thread; the server is stopped then. Otherwise as ``initialize``.
        """
        self.initialize()
        if not self._claim(ServerState.INITIALIZED, ServerState.RUNNING):
            return
        assert self._loop is not None
        self._started_at = time.monotonic()
        self._tell_acceptor()
        try:
            self._start_loop()
        except BaseException:
            self._started_at = 0.0  # the loop has never run, so there is nothing to wait for
            self._loop_ended.set()
            self.stop(0)
            raise

    def serve_forever(self) -> None:
        """Start, and return when the server has stopped.

        Raises:
            MooringError: the loop failed.
        """
        self.start()
        self.wait_stopped()

    def run(self) -> None:
        """Run as the main work of the process: banner, TERM and INT drain, a second one ends at once, USR2 logs a dump.

        Raises:
            RuntimeError: not called from the main thread.
        """
        run(self)

    def wait_stopped(self) -> None:
        """Return when the server has stopped.

        Raises:
            MooringError: it stopped because the loop failed; the cause is attached.
        """
        self._check_process()
        with self._changed:
            self._changed.wait_for(lambda: self._state is ServerState.STOPPED)
        error = self._loop.error if self._loop is not None else None
        if error is not None:
            raise MooringError(f"the server stopped because its loop failed: {error!r}") from error

    def stop(self, timeout: float | None = 30.0, *, spread: float | None = 0.0, grace: float = 0.0) -> None:
        """Drain and stop: listeners close, nothing more is read, what was read is served, replies and outboxes leave.

        In a handler it begins the drain and returns. Called again, it waits for the first one.

        Args:
            timeout: seconds for the drain, from the last connection's turn on; then connections are reset, and handlers
                still running are logged with their stacks and left behind. None: no limit.
            spread: seconds over which the connections are closed, each one being served (and its heart beating) until
                its turn comes, so that devices do not all come back at the same moment. Those who have not said a word
                yet are the last. None: 2 ms for each, within the first half of ``timeout``.
            grace: seconds before all that in which everything goes on, new connections included, while ``state`` is
                "stopping": load balancers see it (``/readyz`` fails) and look elsewhere.

        Raises:
            ValueError: ``spread`` or ``grace`` is negative or endless.
        """
        for name, seconds in (("spread", spread), ("grace", grace)):
            if seconds is not None and not 0 <= seconds < math.inf:
                raise ValueError(f"stop(): {name} is {seconds!r}; it must be 0 or more seconds")
        self._check_process()
        if self._must_not_wait():
            again = partial(self.stop, timeout, spread=spread, grace=grace)
            threading.Thread(target=again, name="mooring-stop", daemon=True).start()
            return
        with self._changed:
            self._changed.wait_for(lambda: self._state is not ServerState.INITIALIZING)
            if self._state in (ServerState.STOPPING, ServerState.STOPPED):
                self._changed.wait_for(lambda: self._state is ServerState.STOPPED, timeout)
                return
            was_running = self._state is ServerState.RUNNING
            self._state = ServerState.STOPPING
            self._changed.notify_all()
        try:
            if was_running:
                self._end_loop(timeout, spread, grace)
        finally:
            self._busy_thread = threading.get_ident()
            self._release()

    def _must_not_wait(self) -> bool:
        """Whether a stop would wait for the calling thread: a handler's, the loop's, or the lifespan's."""
        if threading.get_ident() == self._busy_thread or (self._serving is not None and self._serving.is_here()):
            return True
        return self._loop is not None and not self._loop.may_wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _claim(self, expected: ServerState, following: ServerState) -> bool:
        """Go from one state to the next, or say that it is past already."""
        self._check_process()
        if threading.get_ident() == self._busy_thread and self._state is ServerState.INITIALIZING:
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

    def _set_state(self, state: ServerState) -> None:
        with self._changed:
            self._busy_thread = 0
            self._state = state
            self._changed.notify_all()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(f"this server belongs to process {self._process}; a forked child must make its own")

    def _open(self) -> None:
        if not hasattr(select, "epoll"):
            raise RuntimeError(
                f"model {self.model!r} needs epoll, which is there on Linux only; this is {sys.platform}"
            )
        if self._tls is not None:
            self._tls_stage = TLSStage(make_context(self._tls), self._tls.handshake_timeout)
        resources = self._resources = contextlib.ExitStack()
        if self._database is not None:
            resources.callback(self._database.close)
            self._database.create_connections()
        if self._lifespan is not None:
            resources.enter_context(self._lifespan(self))
        self._gate = Gate(self._limits, self._proxy_protocol)
        self._listeners = open_listeners(self._binds, self._backlog)
        for listener in self._listeners:
            listener.stages = self._stages_of(listener)
        self._addresses = tuple(listener.address for listener in self._listeners)
        self._loop = self._make_loop(self._gate)
        self._loop.listen(self._listeners)
        self._loop.on_end = self._loop_has_ended
        _servers.add(self)

    def _stages_of(self, listener: Listener) -> tuple[Stage, ...]:
        """What the sockets of a listener go through before they are connections."""
        stages: list[Stage] = []
        if self._proxy_protocol is not None:
            assert self._gate is not None
            stages.append(ProxyStage(self._proxy_protocol, self._gate))
        if listener.address.tls:
            assert self._tls_stage is not None
            stages.append(self._tls_stage)
        return tuple(stages)

    def _make_loop(self, gate: Gate) -> Loop:
        handling = self._handling
        beats = self._heartbeat if self._heartbeat is not None and self._heartbeat.interval is not None else None
        loop = Loop(
            server=self,
            framing=self._framing,
            connections=self.connections,
            handles_lost=handling.lost is not None,
            timeouts=self._timeouts,
            beats=beats,
            inbox_limit=self._inbox_limit,
            outbox_limit=self._outbox_limit,
            overflow=self._overflow,
            max_connections=self._max_connections or default_max_connections(),
            gate=gate,
            take=self.handle_new_connection,
        )
        pool = self._threads
        self._serving = serving = Serving(
            handling,
            join=self._framing.join,
            attend=loop.attend,
            pause=pool if self.model == "hybrid" else NeverPaused(),
            rare=loop.rare,
        )
        if self.model == "hybrid":
            if handling.blocking is not True:
                limit = pool.stats().max_size
                self._handover = Handover(loop, limit=limit, name=f"{self.name or 'mooring'}-loop", rare=loop.rare)
            loop.model = HybridModel(serving, pool, loop, self._handover)
            detach = pool.attach(
                counts=self._database_is_there, describe=lambda thread, function, args: serving.describe(thread)
            )
            self._resources.callback(detach)
        elif self.model == "epoll":
            loop.model = EpollModel(serving, loop)
        else:
            name = f"{self.name or 'mooring'}-connection"
            loop.model = ThreadPerConnectionModel(serving, loop, inbox_limit=self._inbox_limit, name=name)
        return loop

    def _database_is_there(self) -> bool:
        """For sizing: handlers that wait for a database that is down are not served sooner by more threads."""
        return self._database is None or not self._database.stats().down

    def _start_loop(self) -> None:
        assert self._loop is not None
        if self._handover is not None:
            self._handover.start()
            return
        name = f"{self.name or 'mooring'}-loop"
        threading.Thread(target=self._loop.run, name=name, daemon=True).start()

    def _loop_has_ended(self) -> None:
        assert self._loop is not None
        self._loop_ended.set()
        if self._loop.error is not None:
            threading.Thread(target=self.stop, args=(0,), name="mooring-stop", daemon=True).start()

    def _end_loop(self, timeout: float | None, spread: float | None, grace: float) -> None:
        assert self._loop is not None
        if self._threads.paused:
            self._threads.resume()
        if grace:
            self._loop_ended.wait(grace)
        seconds = self._begin_farewell(spread, timeout)
        self._loop.stop(seconds, self._bid_farewell)
        if timeout is not None and spread is not None:
            timeout += seconds
        if not self._loop_ended.wait(timeout):
            self._report_stuck(timeout or 0.0)
            self._loop.abort_all()
            self._loop_ended.wait(FORCED_END)
        if self._loop.error is not None and self._own_pool:
            # A loop that ends in order waits for every `lost`; one that failed has left them in the pool's queue.
            with contextlib.suppress(RuntimeError):  # in a task of the pool, which would wait for itself
                self._threads.wait_for_completion(LAST_CALLS)

    def _begin_farewell(self, spread: float | None, timeout: float | None) -> float:
        """The drain begins: over how many seconds are connections closed? For subclasses that can tell their clients.

        Args:
            spread, timeout: see ``stop``.
        """
        if spread is not None:
            return spread
        wanted = SPREAD_PER_CONNECTION * len(self.connections)
        return wanted if timeout is None else min(wanted, timeout / 2)

    def _bid_farewell(self, connection: Connection) -> None:
        """A connection's turn to be closed has come; on the loop thread, quick, must not raise."""

    def _report_stuck(self, timeout: float) -> None:
        assert self._loop is not None
        assert self._serving is not None
        left = self._loop.unfinished()
        count = len(left) + len(self._loop.openings)
        logger.warning("stop: %d connections did not end within %g s; they are reset", count, timeout)
        for thread, connection, frame in self._serving.running():
            stack = "".join(traceback.format_stack(frame)).rstrip()
            logger.warning("stop: the handler of %r still runs in thread %d:\n%s", connection, thread, stack)

    def _release(self) -> None:
        """Give back everything; whatever fails is logged and does not keep the rest from being given back."""
        if self._loop is not None and not self._started_at:
            self._loop.discard()  # initialized and never started
        if self._own_pool:
            self._threads.shutdown(wait=False, cancel_futures=True)
            left_over = self._loop is not None and self.model == "hybrid" and self._loop.unfinished()
            if left_over and self._loop is not None and self._serving is not None:
                self._loop.release_queued({connection for _, connection, _ in self._serving.running()})
        try:
            self._resources.close()
        except Exception:
            logger.exception("stop: closing the lifespan or the database failed")
        self._set_state(ServerState.STOPPED)

    # While it runs --------------------------------------------------------------------------------------------------

    def handle_new_connection(self, sock: socket.socket) -> Connection | None:
        """Make a connected socket a connection of this server; called for each accepted one, on the loop thread.

        Override it for allow-lists: return None to refuse (the socket is closed), or call ``super()``. It may also be
        called by others, with any connected stream socket, which then belongs to the server.

        Args:
            sock: a connected stream socket. Behind a load balancer (``ProxyProtocol``) its ``getpeername`` tells of the
                balancer; what was announced is ``connection.peer`` of what ``super()`` returns.

        Raises:
            RuntimeError: the server does not run.
            OSError: the socket is not connected.
        """
        self._check_process()
        # Until its listeners are closed the loop goes on accepting, and a client that was accepted must be served.
        accepts = self._state is ServerState.RUNNING or self._state is ServerState.STOPPING
        if self._loop is None or not accepts or (self._state is ServerState.STOPPING and self._loop.may_wait()):
            raise RuntimeError(f"the server is {self._state}: it takes connections only while it runs")
        return self._loop.adopt(sock)

    def adjust_thread_pool_size(self) -> int:
        """Take one step of sizing the pool to its load now; the pool does the same by itself from time to time.

        Returns:
            The size afterwards: threads of the pool, or of all connections in model "threads", or 0 in "epoll".
        """
        if self.model == "hybrid":
            return self._threads.adjust()
        return len(self.connections) if self.model == "threads" else 0

    def suspend_accepting(self, address: Address | str | None = None) -> None:
        """Stop accepting for a while; up to ``backlog`` clients then wait in the kernel. Twice is harmless.

        Args:
            address: the listener, one of ``addresses`` or its text; None: all of them.

        Raises:
            ValueError: the server does not listen there; before ``initialize`` it listens nowhere.
        """
        self._set_accepting(address, False)

    def resume_accepting(self, address: Address | str | None = None) -> None:
        """Accept again. Twice is harmless.

        Args:
            address: as for ``suspend_accepting``; None: all of them, also those that were suspended alone.

        Raises:
            ValueError: as ``suspend_accepting``.
        """
        self._set_accepting(address, True)

    def _set_accepting(self, address: Address | str | None, accepting: bool) -> None:
        self._check_process()
        with self._accepting_lock:
            if address is None:
                self._accepting, self._suspended = accepting, frozenset()
            else:
                one = self._listening_on(address)
                suspended = self._suspended if self._accepting else frozenset(self._addresses)
                self._suspended = suspended - {one} if accepting else suspended | {one}
                self._accepting = True
        if self._state is ServerState.RUNNING:
            self._tell_acceptor()

    def _listening_on(self, address: Address | str) -> Address:
        for one in self._addresses:
            if str(one) == str(address):
                return one
        there = ", ".join(map(str, self._addresses)) or "nowhere yet; call initialize()"
        raise ValueError(f"the server does not listen on {str(address)[:200]}; it listens on {there}")

    def _accepts_on(self, address: Address) -> bool:
        return self._accepting and address not in self._suspended

    def _tell_acceptor(self) -> None:
        loop = self._loop
        assert loop is not None
        loop.post(lambda: loop.acceptor.resume([one for one in self._addresses if self._accepts_on(one)]))

    def reload_tls(self, tls: TLS | None = None) -> None:
        """Read the certificate and its key again: new connections get the new ones, the others keep theirs.

        Args:
            tls: what to take from now on; None: the files of before, with what stands in them now.

        Raises:
            BindError: they are of no use; the old ones stay in force.
            RuntimeError: the server speaks no TLS, or is not initialized.
        """
        self._check_process()
        stage = self._tls_stage
        if stage is None:
            raise RuntimeError("the server speaks no TLS, or is not initialized yet: it has no certificate to reload")
        wanted = self._tls if tls is None else tls
        assert wanted is not None
        context = make_context(wanted)
        self._tls, stage.timeout, stage.context = wanted, wanted.handshake_timeout, context
        logger.info("TLS: new connections get the certificate %s", _certificate_fact(wanted, context))

    @property
    def certificate_expires_at(self) -> float | None:
        """When the certificate that new connections get expires, in Unix seconds; None: the server speaks no TLS."""
        return self._tls_stage.context.not_after if self._tls_stage is not None else None

    @property
    def max_connections(self) -> int:
        """Beyond it new connections are closed at once; may be set while the server runs.

        Raises:
            ValueError: set to less than 1.
        """
        if self._loop is not None:
            return self._loop.max_connections
        return self._max_connections or default_max_connections()

    @max_connections.setter
    def max_connections(self, number: int) -> None:
        check_counts(required=True, max_connections=number)
        self._max_connections = number
        if self._loop is not None:
            self._loop.max_connections = number

    @property
    def limits(self) -> Limits:
        """How much is taken of whom; may be set while the server runs. What is open stays open.

        Raises:
            TypeError: set to something else than Limits.
        """
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        check_limits(limits)
        self._limits = limits
        if self._loop is not None:
            self._loop.limit(limits)

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken anywhere: not while that is suspended, and only while the server runs."""
        return self._state is ServerState.RUNNING and any(map(self._accepts_on, self._addresses))

    @property
    def loop_age(self) -> float:
        """Seconds since the loop last came round, at most about 1 in good health; 0.0 if it does not run."""
        if self._loop is None or self._state not in (ServerState.RUNNING, ServerState.STOPPING):
            return 0.0
        return self._loop.age

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the server listens, with the real ports; empty before ``initialize``."""
        return self._addresses

    @property
    def port(self) -> int:
        """The port of the first TCP address.

        Raises:
            RuntimeError: it is not known before ``initialize``, or there is none.
        """
        for address in self._addresses:
            if not address.is_unix:
                return address.port
        raise RuntimeError("the server listens on no TCP port" + ("" if self._addresses else " yet; call initialize()"))

    @property
    def state(self) -> ServerState:
        """Where the server is in its life."""
        return self._state

    @property
    def threads(self) -> ThreadPool:
        """The pool of the hybrid model; in the others it says that it does not apply."""
        return self._threads

    @property
    def database(self) -> ConnectionPool | None:
        """The database's pool, or None."""
        return self._database

    @database.setter
    def database(self, database: ConnectionPool | str | None) -> None:
        if self._state is not ServerState.NEW:
            raise RuntimeError(f"the server is {self._state}: its database can be replaced only before initialize()")
        self._database = open_pool(database) if isinstance(database, str) else database

    def listen(
        self,
        put: Callable[[TraceEvent], object],
        *,
        connection: int | None = None,
        name: str | None = None,
        peer: str | None = None,
    ) -> Callable[[], None]:
        """Have a function told of everything that happens on a connection; for ``trace``, and for dashboards.

        Args:
            put: called with each event in the thread where it happens; must be quick.
            connection, name, peer: at most one. The number of an open connection; a name, which may come and go; or the
                address of the other end, ``HOST`` or ``HOST:PORT``. None of them: all connections.

        Returns:
            A function that ends it.

        Raises:
            KeyError: there is no connection of that number.
            ValueError: more than one of the three, or 32 listen already.
        """
        if sum(one is not None for one in (connection, name, peer)) > 1:
            raise ValueError("Server.listen: give at most one of connection, name and peer")
        listening = Listening(put, connection=connection, name=name, peer=peer)
        self._listeners_of_events.begin(listening)
        return lambda: self._listeners_of_events.end(listening)

    def trace(self, target: str | int, *, duration: float | None = None, limit: int = 1000) -> Trace:
        """Follow a connection: iterate over what it sends and gets, and over what became of its messages.

            with server.trace("meter-7", duration=60) as trace:
                for event in trace:
                    print(event)

        Args:
            target: the number of a connection, a name, or the peer's ``HOST:PORT`` or IP address. A name is followed
                from one connection to the next.
            duration: seconds until the iteration ends; None: until ``close``.
            limit: events that may wait to be taken; of more the oldest are dropped and counted in ``left_out``.

        Raises:
            KeyError, ValueError: as ``listen``.
        """
        return Trace((self,), target, duration=duration, limit=limit)

    def stats(self) -> ServerStats:
        """The server's counters, now."""
        loop = self._loop
        serving = self._serving
        calls = serving.tallies.stats() if serving else None
        return ServerStats(
            state=self._state,
            uptime=time.monotonic() - self._started_at if self._started_at else 0.0,
            connections=len(self.connections),
            most_connections=self.connections.most,
            accepted=loop.acceptor.accepted if loop else 0,
            refused=loop.gate.refusals.total if loop else 0,
            refusals=loop.gate.refusals.counts() if loop else {},
            offences=loop.gate.strikes.counts() if loop else {},
            accept_failures=loop.acceptor.failures if loop else 0,
            opening=len(loop.openings) if loop else 0,
            opened=loop.openings.opened if loop else 0,
            not_opened=dict(loop.openings.failed) if loop else {},
            listeners=tuple(self._listener_stats(one) for one in self._listeners),
            closed=dict(loop.closed) if loop else {},
            messages=loop.messages if loop else 0,
            bytes_received=loop.bytes_received if loop else 0,
            sent=(loop.sent if loop else 0) + (calls.sent if calls else 0),
            bytes_sent=(loop.sent_bytes if loop else 0) + (calls.sent_bytes if calls else 0),
            calls=calls.calls if calls else Histogram(),
            dropped=loop.dropped if loop else 0,
            heartbeats=loop.beats_sent if loop else 0,
            handovers=self._handover.taken + self._handover.announced if self._handover else 0,
            late=self._handover.late if self._handover else 0,
            spares=len(self._handover.parked) if self._handover else 0,
            threads=self._threads.stats() if self.model == "hybrid" else None,
        )

    def _listener_stats(self, listener: Listener) -> ListenerStats:
        running = self._state is ServerState.RUNNING
        return ListenerStats(listener.address, running and self._accepts_on(listener.address), listener.accepted)

    def facts(self) -> list[tuple[str, str, str]]:
        """What the banner says of this server: (word, value, remark) a line. For subclasses to extend."""
        lines = [("listening", str(address), _reach(address)) for address in self._addresses]
        if self._tls is not None and self._tls_stage is not None:
            lines.append(("tls", _certificate_fact(self._tls, self._tls_stage.context), ""))
        if self._database is not None:
            lines.append(("storing", str(self._database.url), ""))
        return lines

    @property
    def description(self) -> str:
        """What the banner's first line calls the server."""
        return self.name or self._handling.name

    def __repr__(self) -> str:
        where = ", ".join(map(str, self._addresses or self._binds))
        return f"<Server {self.description} on {where}, {self._state}>"


def run(*servers: Server) -> None:
    """Run several servers in one process: one banner, one drain.

    Raises:
        RuntimeError: not called from the main thread.
        MooringError: a server could not be started, or its loop failed.
    """
    if not servers:
        raise TypeError("run() needs at least one server")
    life = Life(actions={signal.SIGUSR2: lambda: log_dump(servers)})
    run_until_signal(servers, lambda: print_banner(servers), life=life)


def print_banner(servers: Sequence[Server], facts: Sequence[tuple[str, str]] = ()) -> None:
    """Print the banner to stderr."""
    # With its last line end in one write, which print() makes two: a log line of another thread may come between.
    sys.stderr.write(banner(servers, facts) + "\n")
    sys.stderr.flush()


def banner(servers: Sequence[Server], facts: Sequence[tuple[str, str]] = ()) -> str:
    """What ``run`` says when the servers are started.

    Args:
        servers: each says its own.
        facts: further lines, of the process: (word, value).
    """
    python = ".".join(map(str, sys.version_info[:3]))
    lines: list[str] = []
    for server in servers:
        stats = server.threads.stats()
        threads = f", {stats.min_size}-{stats.max_size} threads" if server.model == "hybrid" else ""
        lines.append(f"mooring {__version__}, Python {python}, model {server.model}{threads}, {server.description}")
        said = server.facts()
        width = max((len(value) for _, value, remark in said if remark), default=0)
        lines.extend(f"{word:<10} {value:<{width}}   {remark}".rstrip() for word, value, remark in said)
    lines.extend(f"{word:<10} {value}" for word, value in facts)
    lines.append(f"{'stop':<10} Ctrl-C drains, a second one stops at once")
    return "\n".join(lines)


class _NoThreadPool(ThreadPool):
    """Stands where the hybrid model has its pool, and says that there is none."""

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Refused."""
        raise RuntimeError(
            "this model does not run handlers in the pool, so its size does not apply; use model='hybrid'"
        )

    def pause(self) -> None:
        """Refused."""
        raise RuntimeError(
            "this model does not run handlers in the pool, so pausing it does nothing; use model='hybrid'"
        )


def _reach(address: Address) -> str:
    if address.is_unix:
        return "this machine only"
    if address.is_loopback:
        return (
            f"this machine only; --bind {'tls' if address.tls else 'tcp'}://0.0.0.0:{address.port} lets the network in"
        )
    return ""


def _certificate_fact(tls: TLS, context: ServerContext) -> str:
    until = time.strftime("%Y-%m-%d", time.gmtime(context.not_after))
    clients = f", clients need one of {os.fspath(tls.client_ca)}" if tls.client_ca is not None else ""
    return f"{os.fspath(tls.certificate)}, valid until {until}{clients}"


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _abandon_in_child() -> None:
    """A forked child must not hold the parent's sockets: the peers would never see their end."""
    for server in list(_servers):
        if server._loop is not None and server._process != os.getpid():
            server._loop.abandon()
    _servers.clear()


os.register_at_fork(after_in_child=_abandon_in_child)
