"""All settings of the ``mooring`` command: their names, types, defaults and meaning. The help of the options, the file
that ``mooring config init`` writes and the table in the docs are made from what stands here.

A setting that is ``UNSET`` is not given: then holds what the code of the server says, or the default of its class.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from .entrance import Limits, ProxyProtocol, Tls
from .section import About, Count, CountFromZero, Section
from .values import BindAddress, DatabaseText, Duration, HeartbeatTimes, Secret, Size, ThreadCounts


class Log(Section, frozen=True, kw_only=True):
    """What is written to stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        About("The least that is logged.", "--log-level", "info", reload=True),
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"],
        About(
            "`text`: lines for people; `json`: an object a line, for machines, and no banner; `auto`: text, with "
            "colours on a terminal, and with priorities instead of times where systemd's journal reads it.",
            "--log-format",
            "auto",
        ),
    ] = "auto"
    payload: Annotated[
        bool,
        About("Log what is received and sent, too, at level info. Shows what devices say to whoever reads the log."),
    ] = False
    repeats: Annotated[
        Count,
        About("How often the same line is written within a minute; the rest is counted, and the count logged."),
    ] = 10


class Database(Section, frozen=True, kw_only=True):
    """The database of the server; without a TARGET, of the gateway."""

    SHORTHAND = "url"

    url: Annotated[
        DatabaseText | UnsetType,
        About(
            "Where to store: `sqlite:///relative.db`, `sqlite:////absolute.db`, `mysql://user:password@host/database`.",
            "--database",
            metavar="URL",
            secret=True,
            example="sqlite:///mooring.db",
        ),
    ] = UNSET
    password: Annotated[Secret | UnsetType, About("The password; goes before the one in the URL.", secret=True)] = UNSET
    min_size: Annotated[
        CountFromZero | UnsetType, About("Connections that the pool keeps.", default="2", reload=True)
    ] = UNSET
    max_size: Annotated[Count | UnsetType, About("Most connections of the pool.", default="10", reload=True)] = UNSET
    timeout: Annotated[
        Duration | UnsetType, About("How long a handler waits for a connection of the pool.", default="5s")
    ] = UNSET
    max_waiting: Annotated[
        CountFromZero | UnsetType,
        About(
            "Handlers that may wait for a connection at the same time.",
            default="10 for each of `max_size`",
            example="100",
        ),
    ] = UNSET
    max_lifetime: Annotated[Duration | UnsetType, About("A connection is replaced after this time.", default="30m")] = (
        UNSET
    )
    max_idle: Annotated[
        Duration | UnsetType, About("An unused connection above `min_size` is closed after this.", default="10m")
    ] = UNSET
    keepalive_interval: Annotated[
        Duration | UnsetType, About("How often an idle connection is asked for life.", default="2m")
    ] = UNSET
    ping_after: Annotated[
        Duration | UnsetType, About("A connection idle for longer is asked before it is lent.", default="30s")
    ] = UNSET
    leak_after: Annotated[
        Duration | UnsetType, About("Who holds a connection for longer is named in the log.", default="1m")
    ] = UNSET
    fail_fast_after: Annotated[
        Duration | UnsetType, About("After this time of absence of the database nobody waits for it.", default="5s")
    ] = UNSET


class Gateway(Section, frozen=True, kw_only=True):
    """The gateway, which is served where there is no TARGET."""

    auth: Annotated[
        Literal["none", "token", "certificate"] | UnsetType,
        About(
            "Who may log in: `none` lets any name in, `token` only devices with a token, `certificate` only by a name "
            "that stands in the device's certificate (`tls.client_ca`).",
            "--auth",
            "none while only this machine can reach it, else token",
            example="token",
        ),
    ] = UNSET
    codec: Annotated[
        str | UnsetType,
        About(
            "What the devices speak, as `MODULE:ATTRIBUTE`.",
            "--codec",
            "JSON lines",
            metavar="MODULE:ATTRIBUTE",
            example="gt06:codec",
        ),
    ] = UNSET
    files: Annotated[
        str | UnsetType,
        About("A folder of files that devices may pull.", "--files", metavar="DIR", example="/srv/firmware"),
    ] = UNSET


class Admin(Section, frozen=True, kw_only=True):
    """The dashboard, with its API, metrics and health."""

    SHORTHAND = "listen"

    listen: Annotated[
        str | UnsetType,
        About(
            "Where the dashboard, metrics and health are, as `HOST:PORT`; `off`: nowhere.",
            "--admin",
            "127.0.0.1:7001, or the next free port",
            metavar="HOST:PORT",
            example="127.0.0.1:7001",
        ),
    ] = UNSET
    token: Annotated[
        Secret | UnsetType,
        About(
            "The token that lets people in.",
            default="one of this user's, made when it is missing",
            secret=True,
            file_option="--admin-token-file",
        ),
    ] = UNSET
    viewer_token: Annotated[
        Secret | UnsetType,
        About(
            "A token of those who may look and change nothing.",
            secret=True,
            file_option="--admin-viewer-token-file",
        ),
    ] = UNSET
    hosts: Annotated[
        tuple[str, ...],
        About(
            "Names by which browsers may ask for the dashboard, beside `localhost` and IP addresses.",
            "--admin-host",
            metavar="NAME",
            example="mooring.example",
        ),
    ] = ()


class Settings(Section, frozen=True, kw_only=True):
    """All settings."""

    targets: Annotated[
        tuple[str, ...],
        About("What to serve, as `MODULE:ATTRIBUTE`; none: the gateway.", metavar="TARGET", example="meters:server"),
    ] = ()
    app_dir: Annotated[
        str | UnsetType,
        About(
            "Where to look for a TARGET first.", "--app-dir", "the working directory", metavar="DIR", example="/srv/app"
        ),
    ] = UNSET
    factory: Annotated[bool, About("TARGET is a function that returns the Server.", "--factory")] = False
    bind: Annotated[
        tuple[BindAddress, ...] | UnsetType,
        About(
            "Where to listen: `tcp://HOST:PORT`, `tls://HOST:PORT`, `unix:PATH`, or `fd://N` for a socket that was "
            "inherited (`tls+fd://N` with TLS); several are possible.",
            "--bind",
            "tcp://127.0.0.1:7000",
            metavar="ADDRESS",
        ),
    ] = UNSET
    model: Annotated[
        Literal["hybrid", "epoll", "threads"] | UnsetType,
        About(
            "How handlers run: `hybrid` (epoll and a thread pool), `epoll` (one thread; handlers must not wait), "
            "`threads` (one for each connection).",
            "--model",
            "hybrid",
        ),
    ] = UNSET
    threads: Annotated[
        ThreadCounts | UnsetType, About("Size of the thread pool.", "--threads", "2:64", metavar="MIN:MAX", reload=True)
    ] = UNSET
    heartbeat: Annotated[
        HeartbeatTimes | UnsetType,
        About(
            "How long a connection may be silent until it is asked for life, and until it is closed; the time-out is "
            "three intervals if it is left out. A TARGET must have a heartbeat with a message.",
            "--heartbeat",
            "30s:90s, of the gateway",
            metavar="INTERVAL[:TIMEOUT]",
            example="30s:90s",
        ),
    ] = UNSET
    max_connections: Annotated[
        Count | UnsetType,
        About(
            "More are closed at once.",
            "--max-connections",
            "0.8 of the limit of open files",
            metavar="N",
            reload=True,
            example="20000",
        ),
    ] = UNSET
    backlog: Annotated[
        Count | UnsetType, About("Clients that may wait in the kernel to be accepted.", default="1024")
    ] = UNSET
    idle_timeout: Annotated[
        Duration | UnsetType | None,
        About("A connection that sends nothing for so long is closed; `off`: never.", default="10m"),
    ] = UNSET
    first_message_timeout: Annotated[
        Duration | UnsetType | None,
        About("A new connection must have sent a whole message by then; `off`: no limit.", default="1m"),
    ] = UNSET
    frame_timeout: Annotated[
        Duration | UnsetType | None,
        About("A message that has begun must be complete by then; `off`: no limit.", default="30s"),
    ] = UNSET
    write_timeout: Annotated[
        Duration | UnsetType, About("A peer that takes none of our bytes for so long is reset.", default="30s")
    ] = UNSET
    close_timeout: Annotated[
        Duration | UnsetType, About("How long a close waits for the last bytes to leave.", default="5s")
    ] = UNSET
    inbox_limit: Annotated[
        Count | UnsetType, About("Messages of a connection that may wait; then it is not read.", default="256")
    ] = UNSET
    outbox_limit: Annotated[
        Size | UnsetType, About("Bytes that may wait to be sent to a connection.", default="1MiB")
    ] = UNSET
    overflow: Annotated[
        Literal["close", "drop", "block"] | UnsetType,
        About(
            "What sending does beyond `outbox_limit`: `close` the connection, `drop` the message, `block` the sender.",
            default="close",
        ),
    ] = UNSET
    drain_timeout: Annotated[
        Duration,
        About(
            "How long TERM or Ctrl-C waits, when every connection has had its turn, for what was read to be served and "
            "answered; then connections are reset.",
            "--drain-timeout",
            "30s",
            metavar="TIME",
            reload=True,
        ),
    ] = Duration(30)
    drain_spread: Annotated[
        Duration | UnsetType | None,
        About(
            "Connections are closed over this time, so that devices do not all come back at the same moment; `off`: at "
            "once.",
            "--drain-spread",
            "2ms for each connection, within the first half of `drain_timeout`; the gateway tells its devices at once "
            "when to come back",
            metavar="TIME",
            reload=True,
            example="10s",
        ),
    ] = UNSET
    drain_grace: Annotated[
        Duration | None,
        About(
            "Before a drain closes anything `/readyz` fails for so long, while new connections are still accepted, so "
            "that load balancers look elsewhere.",
            "--drain-grace",
            "off",
            metavar="TIME",
            reload=True,
            example="5s",
        ),
    ] = None
    tls: Tls = Tls()
    database: Database = Database()
    limits: Limits = Limits()
    proxy_protocol: ProxyProtocol = ProxyProtocol()
    gateway: Gateway = Gateway()
    admin: Admin = Admin()
    log: Log = Log()
