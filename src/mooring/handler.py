"""What users write: a function, a ``ConnectionHandler`` or a ``Router``; and ``Handling``, their common form."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .errors import FrameError
from .net.connection.connection import Connection
from .net.connection.life import CloseReason
from .threads import Pending

Reply: TypeAlias = bytes | Pending[bytes | None] | Future[bytes] | None
"""What a handler returns: bytes are sent, None sends nothing, a Pending or Future sends its result when it is there."""

Function = TypeVar("Function", bound=Callable[..., Any])


class ConnectionHandler:
    """A handler with state: one object per connection.

    Override what you need. The methods of one connection never overlap and are called in this order: ``connected``,
    ``received`` for each message, ``lost``; those of different connections run at the same time, in any thread.

    Args:
        connection: the connection that this object serves, also there as ``self.connection``.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def connected(self) -> Reply:
        """The connection is there; what is returned is sent as a greeting."""
        return None

    def received(self, message: bytes) -> Reply:
        """A message came.

        Args:
            message: one message, without its frame.

        Returns:
            The answer: bytes, None for none, or a Pending or Future of bytes. While that is pending no thread
            is occupied and the next message may be served; answers leave in the order of their messages.
        """
        raise NotImplementedError(f"{type(self).__name__}.received(message) is missing")

    def malformed(self, error: FrameError) -> Reply:
        """The peer sent bytes that are no frame. What is returned is sent before the connection is closed."""
        return None

    def lost(self, reason: CloseReason) -> None:
        """The connection has ended; called once, after everything else."""


class Router:
    """Picks a handler for each message by a key: ``@router.on("login")``.

    A handler is called as ``handler(connection, message)``, the message being what ``decode`` made of the bytes.

    Args:
        key: gets the decoded message and returns the route's key.
        decode: turns the bytes of a message into what key and handlers get, once; by default the bytes themselves.
        encode: turns what handlers return into bytes; by default they return bytes themselves.
    """

    def __init__(
        self,
        key: Callable[[Any], Hashable],
        *,
        decode: Callable[[bytes], Any] | None = None,
        encode: Callable[[Any], bytes] | None = None,
    ) -> None:
        self._key = key
        self._decode = decode
        self._encode = encode
        self._routes: dict[Hashable, Route] = {}
        self._default: Route | None = None
        self._connected: Callable[[Connection], Any] | None = None
        self._lost: Callable[[Connection, CloseReason], None] | None = None
        self._bad_message_route: Route | None = None

    def on(self, *keys: Hashable, blocking: bool | None = None) -> Callable[[Function], Function]:
        """Decorator: this handler serves the messages with one of these keys.

        Args:
            keys: at least one.
            blocking: True: it waits for something (a database, a device), run it in the pool. False: it never
                waits, run it on the loop thread. None: the server decides.

        Raises:
            ValueError: no key, or one that has a handler already.
        """
        if not keys:
            raise ValueError("Router.on() needs at least one key")
        for key in keys:
            if key in self._routes:
                raise ValueError(f"Router: {key!r} has a handler already, {describe(self._routes[key].function)}")

        def register(function: Function) -> Function:
            check_signature(function, 2, "(connection, message)")
            self._routes.update(dict.fromkeys(keys, Route(function, blocking)))
            return function

        return register

    def default(self, function: Function) -> Function:
        """Decorator: serves messages whose key has no handler; without it they close the connection."""
        check_signature(function, 2, "(connection, message)")
        self._default = Route(function, None)
        return function

    def connected(self, function: Function) -> Function:
        """Decorator: ``(connection) -> reply``, called when a connection is there."""
        check_signature(function, 1, "(connection)")
        self._connected = function
        return function

    def lost(self, function: Function) -> Function:
        """Decorator: ``(connection, reason)``, called once when a connection has ended."""
        check_signature(function, 2, "(connection, reason)")
        self._lost = function
        return function

    def bad_message(self, function: Function) -> Function:
        """Decorator: ``(connection, raw, exc) -> reply`` for bytes that ``decode`` or ``key`` raised for.

        The connection stays. Without it such a message closes the connection.
        """
        check_signature(function, 3, "(connection, raw, exc)")

        @functools.wraps(function)
        def answer(connection: Connection, message: BadMessage) -> Any:
            return function(connection, message.raw, message.exc)

        self._bad_message_route = Route(answer, None)
        return function

    def finder(self, own: Callable[[Route], Route]) -> Callable[[bytes], Call]:
        """A function that decodes a message and finds its route, for a server.

        Args:
            own: gives the server's own route for one of ours.

        Returns:
            A function of a message's bytes; what ``decode`` or ``key`` raises becomes the call of ``bad_message``.
        """
        decode, key = self._decode, self._key
        known: dict[Hashable, Route] = {}  # a key keeps its handler; what the default serves is not in here

        def find(raw: bytes) -> Call:
            try:
                message = raw if decode is None else decode(raw)
                name = key(message)
                route = known.get(name)
            except Exception as exc:
                if self._bad_message_route is None:
                    raise
                return own(self._bad_message_route), BadMessage(raw, exc)
            if route is None:
                route = own(self._route_of(name))
                if name in self._routes:
                    known[name] = route
            return route, message

        return find

    def _route_of(self, name: Hashable) -> Route:
        route = self._routes.get(name, self._default)
        if route is None:
            raise FrameError("no route for the key of this message, and no default")
        return route


class Route:
    """A handler, and what is known of it: the unit for which is decided where it runs.

    Attributes:
        function: called with the connection and the message of a Call.
        blocking: True: pool; False: loop thread; None: the model finds out.
        experience: the model's own notes.
    """

    __slots__ = ("blocking", "experience", "function")

    def __init__(self, function: Callable[..., Any], blocking: bool | None) -> None:
        self.function = function
        self.blocking = blocking
        self.experience: Any = None


Call: TypeAlias = tuple[Route, Any]
"""A message that has found its route, and is decoded. A plain tuple: one is made for every message."""


class BadMessage(NamedTuple):
    """The message of a Call of ``bad_message``."""

    raw: bytes
    exc: Exception


OTHERS = "(others)"
"""What the route without a key of its own is called."""

KEYS_KEPT = 256
"""Keys of a ``route=`` function that get a route of their own: what comes on the wire must not fill the memory."""


class Handling:
    """A handler of any kind in one form, for the models.

    Attributes:
        name: for log lines.
        connected, malformed, lost: ``(connection ...) -> reply`` for events; None where the handler has none.
        encode: turns replies into bytes; None if they are bytes.
        route: the only route of a handler that has but one; None if ``find`` is there.
        find: finds the route of a message, if there are several.
        blocking: what all routes have in common: True, False, or None.
        routes: all routes that are known so far, each with a name for people.
    """

    def __init__(self, handler: Any, blocking: bool | None, route: Callable[[bytes], Hashable] | None = None) -> None:
        self.name = describe(handler)
        self.connected: Callable[[Connection], Any] | None = None
        self.malformed: Callable[[Connection, FrameError], Any] | None = None
        self.lost: Callable[[Connection, CloseReason], None] | None = None
        self.encode: Callable[[Any], bytes] | None = None
        self.route: Route | None = None
        self.find: Callable[[bytes], Call] | None = None
        self.blocking = blocking
        self.routes: Callable[[], list[tuple[str, Route]]] = list
        if isinstance(handler, Router):
            if route is not None:
                raise TypeError("a Router picks its routes by its own key; route= is for functions and classes")
            self._take_router(handler)
            return
        if inspect.isclass(handler) and issubclass(handler, ConnectionHandler):
            received = self._take_class(handler)
        elif callable(handler) and not inspect.isclass(handler):
            check_signature(handler, 2, "(connection, message)")
            received = handler
        else:
            raise TypeError(
                f"{self.name} is no handler: a handler is a function (connection, message) -> reply, "
                "a subclass of ConnectionHandler (the class, not an object of it), or a Router"
            )
        if route is None:
            self.route = only = Route(received, blocking)
            self.routes = lambda: [(self.name, only)]
        else:
            check_signature(route, 1, "(message)")
            self.find = self._split_by(route, received)

    def _split_by(self, key: Callable[[bytes], Hashable], received: Callable[..., Any]) -> Callable[[bytes], Call]:
        routes: dict[Hashable, Route] = {}
        shared = Route(received, self.blocking)
        self.routes = lambda: [*((name_of_key(name), one) for name, one in routes.copy().items()), (OTHERS, shared)]

        def find(raw: bytes) -> Call:
            name = key(raw)
            found = routes.get(name)
            if found is None:
                # Two threads may come here with one key: the first entry stands.
                fresh = Route(received, self.blocking)
                found = routes.setdefault(name, fresh) if len(routes) < KEYS_KEPT else shared
            return found, raw

        return find

    def _take_class(self, handler: type[ConnectionHandler]) -> Callable[[Connection, bytes], Any]:
        check_signature(handler, 1, "(connection)")
        check_signature(handler.received, 2, "(self, message)")
        check_signature(handler.connected, 1, "(self)")
        check_signature(handler.malformed, 2, "(self, error)")
        check_signature(handler.lost, 2, "(self, reason)")

        def connected(connection: Connection) -> Reply:
            connection._handler = handler(connection)
            return connection._handler.connected()  # type: ignore[no-any-return]

        self.connected = connected
        self.malformed = lambda connection, error: connection._handler.malformed(error)
        self.lost = lambda connection, reason: connection._handler.lost(reason)

        def received(connection: Connection, message: bytes) -> Any:
            return connection._handler.received(message)

        # What people call it in logs and traces is what they wrote.
        received.__module__, received.__qualname__ = handler.__module__, f"{handler.__qualname__}.received"
        return received

    def _take_router(self, router: Router) -> None:
        routes = [*router._routes.values(), *([router._default] if router._default else [])]
        if not routes:
            raise TypeError("the Router has no routes: add some with @router.on(key)")
        # Routes of our own: what one server learns of a Router is not another server's.
        own: dict[Route, Route] = {}

        def own_route(theirs: Route) -> Route:
            blocking = theirs.blocking if theirs.blocking is not None else self.blocking
            return own.get(theirs) or own.setdefault(theirs, Route(theirs.function, blocking))

        def names() -> list[tuple[str, Route]]:
            keys: dict[Route, list[str]] = {}
            for key, route in router._routes.items():
                keys.setdefault(route, []).append(name_of_key(key))
            named = {route: ", ".join(words)[:60] for route, words in keys.items()}
            for name, other in ((OTHERS, router._default), ("(bad messages)", router._bad_message_route)):
                if other is not None:
                    named[other] = name
            return [(name, own[route]) for route, name in named.items() if route in own]

        self.routes = names

        def connected(connection: Connection) -> Any:
            connection._handler = router
            return router._connected(connection) if router._connected else None

        self.find = router.finder(own_route)
        self.encode = router._encode
        self.lost = router._lost
        if router._connected or router._lost:
            self.connected = connected
        verdicts = {route.blocking if route.blocking is not None else self.blocking for route in routes}
        if len(verdicts) == 1 and not any(route.blocking is None for route in routes):
            self.blocking = verdicts.pop()


def name_of_key(key: Hashable) -> str:
    """A route's key for people, at most 60 characters: it may come from the wire."""
    return (key if isinstance(key, str) and key.isprintable() else repr(key))[:60]


def describe(handler: Any) -> str:
    """A name for log lines: ``module.function`` where there is one."""
    name = getattr(handler, "__qualname__", None)
    if name is None:
        return f"{type(handler).__module__}.{type(handler).__qualname__}"
    return f"{getattr(handler, '__module__', '')}.{name}".lstrip(".")


def check_signature(function: Callable[..., Any], count: int, expected: str) -> None:
    """Refuse a function that cannot be called with ``count`` positional arguments.

    Raises:
        TypeError: names the function, what it takes and what it has to take.
    """
    if not callable(function):
        raise TypeError(f"{function!r} cannot be called; expected a function {expected}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{describe(function)} is a coroutine function; handlers are plain functions {expected}")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # some callables written in C do not tell
    try:
        signature.bind(*[None] * count)
    except TypeError:
        raise TypeError(f"{describe(function)}{signature} does not fit: it is called as {expected}") from None
