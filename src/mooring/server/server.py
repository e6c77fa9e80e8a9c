"""``Server``: ties listeners, loop, model, pool and database together and owns their lifecycle."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

from ..db import ConnectionPool, open_pool
from ..errors import MooringError
from ..framing import Framing, Lines
from ..handler import ConnectionHandler, Handling, Reply, Router
from ..heartbeat import Heartbeat
from ..models.handover import Handover
from ..models.serving import Serving
from ..net.accepting.listener import Listener, ListenerStats, open_listeners
from ..net.address import Address
from ..net.connection.connection import Connection
from ..net.connection.connections import Connections
from ..net.limits.gate import Gate
from ..net.limits.limits import Limits
from ..net.loop.loop import Loop
from ..net.proxy.protocol import ProxyProtocol
from ..net.tapping.listeners import Listeners, Listening
from ..net.tapping.trace_event import TraceEvent
from ..net.tls.context import TLS, make_context
from ..net.tls.stage import TLSStage
from ..threads import ThreadPool
from ..tracing import Trace
from . import forking
from .accepting import Accepting
from .arguments import check_counts, check_lifespan, parse_binds
from .assembly import Assembly, assemble, check_platform, make_tls_stage, stages_of
from .configuration import Configuration
from .drain import check_times, close_queued, usual_spread, wait_for_end, wait_for_last_calls
from .introduction import Fact, Introduction, certificate_text, listening_fact
from .lifecycle import Lifecycle, ServerState
from .process import run
from .stats import ServerStats, take_stats
from .workers import make_pool, sizes_of

logger = logging.getLogger("mooring")

Handler: TypeAlias = Callable[[Connection, bytes], Reply] | type[ConnectionHandler] | Router


class Server:
    """A TCP (or Unix socket) server whose handlers are plain blocking code.

    ``with Server(handler) as server:`` starts it and stops it at the end. Lifecycle calls may come from any thread and
    in any state; twice is harmless. A server that has stopped stays so: make a new one.

    Attributes:
        name: as given.
        connections: those that are open.
        configuration: the other arguments, as they are now.

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
        check_lifespan(lifespan)
        self._configuration = Configuration(
            framing=framing if framing is not None else Lines(),
            bind=parse_binds(bind),
            model=model,
            blocking=blocking,
            heartbeat=heartbeat,
            idle_timeout=idle_timeout,
            first_message_timeout=first_message_timeout,
            write_timeout=write_timeout,
            close_timeout=close_timeout,
            backlog=backlog,
            max_connections=max_connections,
            inbox_limit=inbox_limit,
            outbox_limit=outbox_limit,
            overflow=overflow,
            frame_timeout=frame_timeout,
            tls=tls,
            limits=limits if limits is not None else Limits(),
            proxy_protocol=proxy_protocol,
        )
        self._first_configuration = self._configuration
        self._handling = Handling(handler, blocking, route)
        self.name = name
        self.connections = Connections()
        self._listeners_of_events = Listeners(self.connections)
        self._own_pool = not isinstance(threads, ThreadPool)
        self._threads = make_pool(threads, model=model, name=name)
        self._database: ConnectionPool | None = open_pool(database) if isinstance(database, str) else database
        self._lifespan = lifespan
        self._lifecycle = Lifecycle()
        self._accepting = Accepting()
        self._resources = contextlib.ExitStack()
        self._tls_stage: TLSStage | None = None
        self._listeners: list[Listener] = []
        self._assembly: Assembly | None = None
        self._loop_ended = threading.Event()
        self._started_at = 0.0

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
        self._lifecycle.check_new("it can be reconfigured")
        threads = arguments.pop("threads", None)
        configuration = self._configuration.replaced(**arguments)
        self._replace_pool(configuration.model, threads)
        self._configuration = configuration

    def _replace_pool(self, model: str, threads: int | tuple[int, int] | None) -> None:
        if not self._own_pool:
            if threads is not None:
                self._threads.resize(*sizes_of(threads))
            return
        if model == self.model and threads is None:
            return
        before = self._threads
        sizes = before.stats()
        self._threads = make_pool(
            threads if threads is not None else (sizes.min_size, sizes.max_size), model=model, name=self.name
        )
        before.shutdown(wait=False)

    # Lifecycle ------------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Open what is needed: the database, the lifespan, the listeners. Nothing is accepted yet.

        Raises:
            BindError: an address cannot be listened on, or the certificate or its key is of no use.
            PoolError: the database cannot be opened.
            RuntimeError: the server has stopped, or the model needs Linux.
        """
        with self._lifecycle.initializing() as mine:
            if mine:
                try:
                    self._open()
                except BaseException:
                    self._resources.close()
                    raise

    def start(self) -> None:
        """Initialize if that has not been done, and begin to serve, in threads of the server's own. Returns at once.

        Raises:
            RuntimeError: the system gives no thread; the server is stopped then. Otherwise as ``initialize``.
        """
        self.initialize()
        if not self._lifecycle.begin_running():
            return
        assembly = self._assembly
        assert assembly is not None
        self._started_at = time.monotonic()
        self._tell_acceptor(assembly.loop)
        try:
            assembly.start(self._thread_prefix)
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
        self._lifecycle.check_process()
        self._lifecycle.wait_stopped()
        error = self._assembly.loop.error if self._assembly is not None else None
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
        check_times(spread=spread, grace=grace)
        self._lifecycle.check_process()
        if self._must_not_wait():
            again = partial(self.stop, timeout, spread=spread, grace=grace)
            threading.Thread(target=again, name="mooring-stop", daemon=True).start()
            return
        before = self._lifecycle.begin_stopping(timeout)
        if before is None:
            return
        try:
            if before is ServerState.RUNNING and self._assembly is not None:
                self._drain(self._assembly, timeout, spread, grace)
        finally:
            with self._lifecycle.releasing():
                self._release(self._assembly)

    def _must_not_wait(self) -> bool:
        """Whether a stop would wait for the calling thread: a handler's, the loop's, or the lifespan's."""
        assembly = self._assembly
        if self._lifecycle.is_busy_here or assembly is None:
            return self._lifecycle.is_busy_here
        return assembly.serving.is_here() or not assembly.loop.engine.may_wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open(self) -> None:
        configuration = self._configuration
        check_platform(configuration.model)
        self._tls_stage = make_tls_stage(configuration)
        resources = self._resources = contextlib.ExitStack()
        if self._database is not None:
            resources.callback(self._database.close)
            self._database.create_connections()
        if self._lifespan is not None:
            resources.enter_context(self._lifespan(self))
        gate = Gate(configuration.limits, configuration.proxy_protocol)
        self._listeners = open_listeners(configuration.bind, configuration.backlog)
        for listener in self._listeners:
            listener.stages = stages_of(listener, configuration, gate, self._tls_stage)
        self._accepting.addresses = tuple(listener.address for listener in self._listeners)
        self._assembly = assemble(
            self,
            configuration,
            self._handling,
            name=self._thread_prefix,
            connections=self.connections,
            gate=gate,
            pool=self._threads,
            take=self.handle_new_connection,
            counts=self._database_is_there,
        )
        resources.callback(self._assembly.detach)
        loop = self._assembly.loop
        loop.listen(self._listeners)
        loop.on_end = partial(self._loop_has_ended, loop)
        forking.register(loop)

    @property
    def _thread_prefix(self) -> str:
        return self.name or "mooring"

    def _database_is_there(self) -> bool:
        """For sizing: handlers that wait for a database that is down are not served sooner by more threads."""
        return self._database is None or not self._database.stats().down

    def _loop_has_ended(self, loop: Loop) -> None:
        self._loop_ended.set()
        if loop.error is not None:
            threading.Thread(target=self.stop, args=(0,), name="mooring-stop", daemon=True).start()

    def _drain(self, assembly: Assembly, timeout: float | None, spread: float | None, grace: float) -> None:
        if self._threads.paused:
            self._threads.resume()
        if grace:
            self._loop_ended.wait(grace)
        seconds = self._begin_farewell(spread, timeout)
        assembly.loop.stop(seconds, self._bid_farewell)
        if timeout is not None and spread is not None:
            timeout += seconds
        wait_for_end(assembly.loop, assembly.serving, self._loop_ended, timeout)
        if assembly.loop.error is not None and self._own_pool:
            wait_for_last_calls(self._threads)

    def _begin_farewell(self, spread: float | None, timeout: float | None) -> float:
        """The drain begins: over how many seconds are connections closed? For subclasses that can tell their clients.

        Args:
            spread, timeout: see ``stop``.
        """
        return spread if spread is not None else usual_spread(len(self.connections), timeout)

    def _bid_farewell(self, connection: Connection) -> None:
        """A connection's turn to be closed has come; on the loop thread, quick, must not raise."""

    def _release(self, assembly: Assembly | None) -> None:
        """Give back everything; whatever fails is logged and does not keep the rest from being given back."""
        if assembly is not None and not self._started_at:
            assembly.loop.discard()  # initialized and never started
        if self._own_pool:
            self._threads.shutdown(wait=False, cancel_futures=True)
            if assembly is not None and self.model == "hybrid":
                close_queued(assembly.loop, assembly.serving)
        try:
            self._resources.close()
        except Exception:
            logger.exception("stop: closing the lifespan or the database failed")

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
        self._lifecycle.check_process()
        # Until its listeners are closed the loop goes on accepting, and a client that was accepted must be served.
        state, assembly = self.state, self._assembly
        accepts = state is ServerState.RUNNING or state is ServerState.STOPPING
        if assembly is None or not accepts or (state is ServerState.STOPPING and assembly.loop.engine.may_wait()):
            raise RuntimeError(f"the server is {state}: it takes connections only while it runs")
        return assembly.loop.adopt(sock)

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
        self._lifecycle.check_process()
        self._accepting.set(address, accepting)
        if self._assembly is not None and self.state is ServerState.RUNNING:
            self._tell_acceptor(self._assembly.loop)

    def _tell_acceptor(self, loop: Loop) -> None:
        loop.post(lambda: loop.arrivals.acceptor.resume(self._accepting.open_addresses()))

    def reload_tls(self, tls: TLS | None = None) -> None:
        """Read the certificate and its key again: new connections get the new ones, the others keep theirs.

        Args:
            tls: what to take from now on; None: the files of before, with what stands in them now.

        Raises:
            BindError: they are of no use; the old ones stay in force.
            RuntimeError: the server speaks no TLS, or is not initialized.
        """
        self._lifecycle.check_process()
        stage = self._tls_stage
        if stage is None:
            raise RuntimeError("the server speaks no TLS, or is not initialized yet: it has no certificate to reload")
        configuration = self._configuration if tls is None else replace(self._configuration, tls=tls)
        wanted = configuration.tls
        assert wanted is not None
        context = make_context(wanted)
        self._configuration, stage.timeout, stage.context = configuration, wanted.handshake_timeout, context
        logger.info("TLS: new connections get the certificate %s", certificate_text(wanted, context))

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
        if self._assembly is not None:
            return self._assembly.loop.arrivals.max_connections
        return self._configuration.most_connections

    @max_connections.setter
    def max_connections(self, number: int) -> None:
        check_counts(required=True, max_connections=number)
        self._configuration = replace(self._configuration, max_connections=number)
        if self._assembly is not None:
            self._assembly.loop.arrivals.max_connections = number

    @property
    def limits(self) -> Limits:
        """How much is taken of whom; may be set while the server runs. What is open stays open.

        Raises:
            TypeError: set to something else than Limits.
        """
        return self._configuration.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._configuration = replace(self._configuration, limits=limits)
        if self._assembly is not None:
            self._assembly.loop.limit(limits)

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken anywhere: not while that is suspended, and only while the server runs."""
        return self.state is ServerState.RUNNING and bool(self._accepting.open_addresses())

    @property
    def loop_age(self) -> float:
        """Seconds since the loop last came round, at most about 1 in good health; 0.0 if it does not run."""
        if self._assembly is None or self.state not in (ServerState.RUNNING, ServerState.STOPPING):
            return 0.0
        return self._assembly.loop.age

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the server listens, with the real ports; empty before ``initialize``."""
        return self._accepting.addresses

    @property
    def port(self) -> int:
        """The port of the first TCP address.

        Raises:
            RuntimeError: it is not known before ``initialize``, or there is none.
        """
        for address in self.addresses:
            if not address.is_unix:
                return address.port
        raise RuntimeError("the server listens on no TCP port" + ("" if self.addresses else " yet; call initialize()"))

    @property
    def state(self) -> ServerState:
        """Where the server is in its life."""
        return self._lifecycle.state

    @property
    def configuration(self) -> Configuration:
        """The arguments that the server goes by now, checked; another object when one of them has been replaced."""
        return self._configuration

    @property
    def first_configuration(self) -> Configuration:
        """The arguments that the server was made with: what holds again when a setting in their place is taken out."""
        return self._first_configuration

    @property
    def model(self) -> str:
        """How handlers are run: "hybrid", "epoll" or "threads"."""
        return self._configuration.model

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
        self._lifecycle.check_new("its database can be replaced")
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
        return take_stats(
            self._assembly,
            state=self.state,
            uptime=time.monotonic() - self._started_at if self._started_at else 0.0,
            connections=self.connections,
            listeners=tuple(self._listener_stats(one) for one in self._listeners),
            threads=self._threads.stats() if self.model == "hybrid" else None,
        )

    def _listener_stats(self, listener: Listener) -> ListenerStats:
        accepting = self.state is ServerState.RUNNING and listener.address in self._accepting
        return ListenerStats(listener.address, accepting, listener.accepted)

    def introduction(self) -> Introduction:
        """What the banner says of this server."""
        stats = self._threads.stats() if self.model == "hybrid" else None
        threads = (stats.min_size, stats.max_size) if stats is not None else None
        return Introduction(self.description, self.model, threads, self.facts())

    def facts(self) -> list[Fact]:
        """The banner's lines of this server: (word, value, remark) each. For subclasses to extend."""
        lines = [listening_fact(address) for address in self.addresses]
        tls = self._configuration.tls
        if tls is not None and self._tls_stage is not None:
            lines.append(("tls", certificate_text(tls, self._tls_stage.context), ""))
        if self._database is not None:
            lines.append(("storing", str(self._database.url), ""))
        return lines

    @property
    def description(self) -> str:
        """What the banner's first line calls the server."""
        return self.name or self._handling.name

    # Parts, for the admin side --------------------------------------------------------------------------------------

    @property
    def _loop(self) -> Loop | None:
        return self._assembly.loop if self._assembly is not None else None

    @property
    def _serving(self) -> Serving | None:
        return self._assembly.serving if self._assembly is not None else None

    @property
    def _handover(self) -> Handover | None:
        return self._assembly.handover if self._assembly is not None else None

    def __repr__(self) -> str:
        where = ", ".join(map(str, self.addresses or self._configuration.bind))
        return f"<Server {self.description} on {where}, {self.state}>"
