"""From settings to servers: made, or loaded and given the settings in the place of their own arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, NoReturn

from msgspec import UNSET

from ..db import ConnectionPool, open_pool
from ..gateway.codec import check_codec
from ..gateway.json_lines import JSON_LINES
from ..gateway.server import DEFAULT_DATABASE, MOST_WAITING, make_heartbeat
from ..gateway.server import server as make_gateway
from ..heartbeat import Heartbeat
from ..net.limits.limits import Limits
from ..net.proxy.protocol import ProxyProtocol
from ..net.tls.context import TLS
from ..server import Server
from ..settings import Loaded, Origin, Problem, Settings
from .admin import admin_options, faults_of
from .exits import BadSettings
from .targets import load_object, load_target

ARGUMENTS = (
    *("bind", "model", "threads", "max_connections", "backlog", "idle_timeout", "first_message_timeout"),
    *("frame_timeout", "write_timeout", "close_timeout", "inbox_limit", "outbox_limit", "overflow"),
)
"""Settings that are arguments of Server by the same name."""

GATEWAY_OPTIONS = ("auth", "codec", "files")
"""Settings that only the gateway has."""

POOL_SIZES = ("min_size", "max_size")
POOL_OPTIONS = (
    *(*POOL_SIZES, "timeout", "max_waiting", "max_lifetime", "max_idle"),
    *("keepalive_interval", "ping_after", "leak_after", "fail_fast_after"),
)


def make_servers(loaded: Loaded) -> list[Server]:
    """The servers that the settings ask for: the targets, or the gateway. Nothing is opened yet.

    Raises:
        NoTarget: a target cannot be loaded.
        BadSettings: settings do not fit together, or not the target.
    """
    refuse_nonsense(loaded)
    return [make_server(loaded, target) for target in loaded.settings.targets or (None,)]


def make_server(loaded: Loaded, target: str | None) -> Server:
    """The server of one target; None: the gateway.

    Raises:
        NoTarget, BadSettings: as ``make_servers``.
    """
    settings = loaded.settings
    if target is None:
        return _gateway(loaded)
    app_dir = settings.app_dir if settings.app_dir is not UNSET else None
    return _configured(load_target(target, app_dir=app_dir, factory=settings.factory), loaded)


def refuse(loaded: Loaded, text: str, *paths: tuple[str, ...]) -> NoReturn:
    """End because of settings that are right by themselves; named is the first of these that was given."""
    raise BadSettings([_problem(loaded, text, *paths)])


def _problem(loaded: Loaded, text: str, *paths: tuple[str, ...]) -> Problem:
    origins = [loaded.origins[path] for path in paths if path in loaded.origins]
    return Problem(origins[0] if origins else Origin("settings"), text)


def refuse_nonsense(loaded: Loaded) -> None:
    """Refuse settings that contradict each other or cannot be, before anything is loaded.

    Raises:
        BadSettings: names all of these.
    """
    problems = [_problem(loaded, text, *paths) for text, *paths in _nonsense(loaded)]
    if problems:
        raise BadSettings(problems)


def _nonsense(loaded: Loaded) -> Iterator[tuple[str, *tuple[tuple[str, ...], ...]]]:
    """What is wrong, and the settings it may come from."""
    targets = loaded.settings.targets
    codec = loaded.settings.gateway.codec
    if not targets and (loaded.settings.factory or (loaded.settings.app_dir is not UNSET and codec is UNSET)):
        yield "--factory and --app-dir say where a TARGET comes from; name one", ("app_dir",), ("factory",)
    for name in GATEWAY_OPTIONS if targets else ():
        if getattr(loaded.settings.gateway, name) is not UNSET:
            yield f"--{name} is the gateway's; leave it out with a TARGET", ("gateway", name)
    if len(targets) > 1 and loaded.settings.bind is not UNSET:
        yield "--bind would put several TARGETs on one address; set `bind` in the code of each of them", ("bind",)
    if len(set(targets)) < len(targets):
        yield "a TARGET is named twice", ("targets",)
    for setting, fault in faults_of(admin_options(loaded)):
        yield fault, ("admin", setting), ("admin", "listen")


def _gateway(loaded: Loaded) -> Server:
    settings = loaded.settings
    options = _arguments(settings)
    options |= {name: getattr(settings.gateway, name) for name in GATEWAY_OPTIONS}
    options = {name: value for name, value in options.items() if value is not UNSET}
    try:
        tls = tls_of(settings)
        if tls is not None:
            options["tls"] = tls
        if "codec" in options:
            app_dir = settings.app_dir if settings.app_dir is not UNSET else None
            options["codec"] = check_codec(load_object(options["codec"], "codec", app_dir=app_dir))
        if settings.heartbeat is not UNSET:
            options["heartbeat"] = make_heartbeat(*settings.heartbeat, options.get("codec", JSON_LINES))
        pool = _open_pool(loaded.settings, DEFAULT_DATABASE, max_waiting=MOST_WAITING)
        gateway = make_gateway(database=pool, **options)
        gateway.reconfigure(**_admission(settings, gateway.limits, None))
        return gateway
    except (TypeError, ValueError, ImportError) as exc:
        refuse(loaded, str(exc), *_given_paths(loaded, str(exc)))


def _configured(server: Server, loaded: Loaded) -> Server:
    options = _arguments(loaded.settings)
    try:
        _replace_database(server, loaded)
        tls = tls_of(loaded.settings, server.configuration.tls)
        if tls is not None and (
            len(loaded.settings.targets) < 2 or any(address.tls for address in server.configuration.bind)
        ):
            options["tls"] = tls
        options |= _admission(loaded.settings, server.limits, server.configuration.proxy_protocol)
        if loaded.settings.heartbeat is not UNSET:
            options["heartbeat"] = _heartbeat(server, *loaded.settings.heartbeat)
        server.reconfigure(**options)
    except (TypeError, ValueError, RuntimeError, ImportError) as exc:
        refuse(loaded, str(exc), *_given_paths(loaded, str(exc)))
    return server


def _given_paths(loaded: Loaded, text: str) -> list[tuple[str, ...]]:
    """What may be meant by an error of a server: settings that are its arguments, those first that the text names."""
    kinds = ("command line", "environment", "file")
    paths = [path for path in loaded.origins if path[0] not in ("log", "admin", "targets", "app_dir", "factory")]
    return sorted(paths, key=lambda path: (path[-1] not in text, kinds.index(loaded.origins[path].kind)))


def _arguments(settings: Settings) -> dict[str, Any]:
    return {name: _plain(getattr(settings, name)) for name in ARGUMENTS if getattr(settings, name) is not UNSET}


def _plain(value: Any) -> Any:
    """Without the types that only settings have: what goes into messages of others should look as they make it."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return tuple(value) if isinstance(value, tuple) else value


def tls_of(settings: Settings, own: TLS | None = None) -> TLS | None:
    """What the settings say of TLS, in the place of what the server's code says; None: nothing.

    Raises:
        ValueError: there is no certificate.
    """
    names = [field.name for field in fields(TLS)]
    given = {name: _plain(getattr(settings.tls, name)) for name in names if getattr(settings.tls, name) is not UNSET}
    if not given:
        return None
    if own is not None:
        # A certificate of the settings does not go with a key of the code.
        return replace(own, **({"key": None, **given} if "certificate" in given else given))
    if "certificate" not in given:
        raise ValueError("tls: there is no certificate; give --tls-cert, and --tls-key unless the key is in it")
    return TLS(**given)


def _admission(settings: Settings, limits: Limits, proxy_protocol: ProxyProtocol | None) -> dict[str, Any]:
    """Who may come in, as arguments of Server; what the settings leave out is as the server's code has it."""
    return {"limits": limits_of(settings, limits), "proxy_protocol": proxy_protocol_of(settings, proxy_protocol)}


def limits_of(settings: Settings, own: Limits) -> Limits:
    """What the settings say of limits, in the place of what the server has.

    Raises:
        ValueError: they make no sense together.
    """
    names = [field.name for field in fields(Limits)]
    values = {name: getattr(settings.limits, name) for name in names}
    return replace(own, **{name: _plain(value) for name, value in values.items() if value is not UNSET})


def proxy_protocol_of(settings: Settings, own: ProxyProtocol | None = None) -> ProxyProtocol | None:
    """What the settings say of load balancers, in the place of what the server's code says; None: there are none.

    Raises:
        ValueError: the version is missing.
    """
    said = settings.proxy_protocol
    given = {name: _plain(getattr(said, name)) for name in ("trusted", "timeout") if getattr(said, name) is not UNSET}
    if said.version is not UNSET:
        given["version"] = int(said.version.removeprefix("v"))
    if own is not None:
        return replace(own, **given)
    if given and "version" not in given:
        raise ValueError("proxy_protocol: say which version the load balancer sends, with --proxy-protocol v1 or v2")
    return ProxyProtocol(**given) if given else None


def pool_options(settings: Settings) -> dict[str, Any]:
    """The options of the database's pool that are given."""
    database = settings.database
    given = {name: _plain(getattr(database, name)) for name in POOL_OPTIONS if getattr(database, name) is not UNSET}
    if database.password is not UNSET:
        given["password"] = database.password.reveal()
    return given


def _open_pool(settings: Settings, default_url: str, **defaults: Any) -> ConnectionPool:
    url = settings.database.url
    return open_pool(url.reveal() if url is not UNSET else default_url, **{**defaults, **pool_options(settings)})


def _replace_database(server: Server, loaded: Loaded) -> None:
    options = pool_options(loaded.settings)
    if loaded.settings.database.url is not UNSET:
        server.database = _open_pool(loaded.settings, "")
    elif options and server.database is None:
        raise ValueError("the Server has no database, and database.url gives it none")
    elif set(options) - set(POOL_SIZES):
        raise ValueError("the Server brings a pool of its own, which keeps its options; give database.url, too")
    elif options:
        assert server.database is not None
        sizes = server.database.stats()
        server.database.resize(options.get("min_size", sizes.min_size), options.get("max_size", sizes.max_size))


def _heartbeat(server: Server, interval: float, timeout: float) -> Heartbeat:
    """The server's own heartbeat with other times: only it knows what to say to its devices."""
    own = server.configuration.heartbeat
    if own is None or own.message is None:
        raise ValueError(
            "--heartbeat: the server has no message to send every interval; give it a `heartbeat` with one"
        )
    return replace(own, interval=interval, timeout=timeout)
