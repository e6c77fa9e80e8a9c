"""All settings of the ``mooring`` command: their names, types, defaults and meaning. The help of the options, the file
that ``mooring config init`` writes and the table in the docs are made from what stands here.

A setting that is ``UNSET`` is not given: then holds what the code of the server says, or the default of its class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from .values import BindAddress, DatabaseText, Duration, HeartbeatTimes, NetworkText, Secret, Size, ThreadCounts

Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Rate: TypeAlias = Annotated[float, Meta(gt=0, le=1_000_000_000)]
CountFromZero: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000_000)]


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a setting.

    Attributes:
        meaning: one sentence or two, for people.
        option: its option on the command line; "" if it has none (``--set`` takes every setting).
        default: what holds where the setting is not given, in the form in which it would be written; "" if the
            meaning tells it.
        metavar: what stands for the value in the help.
        reload: a running server takes the new value on HUP.
        secret: the value is never shown, and ``NAME_file`` may name a file that holds it.
        file_option: the option that names this file; "" if there is none.
        example: a value for the file that ``mooring config init`` writes; the default if "".
    """

    meaning: str
    option: str = ""
    default: str = ""
    metavar: str = ""
    reload: bool = False
    secret: bool = False
    file_option: str = ""
    example: str = ""


class Section(Struct, frozen=True, kw_only=True):
    """A group of settings; ``SHORTHAND`` names the one that a plain value in the group's place stands for."""


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


class Tls(Section, frozen=True, kw_only=True):
    """TLS on the `tls://` addresses. The files are read again on HUP; broken ones change nothing."""

    SHORTHAND = "certificate"

    certificate: Annotated[
        str | UnsetType,
        About(
            "A PEM file: the server's certificate, and those between it and the root.",
            "--tls-cert",
            metavar="FILE",
            reload=True,
            example="/etc/letsencrypt/live/gateway.example/fullchain.pem",
        ),
    ] = UNSET
    key: Annotated[
        str | UnsetType,
        About(
            "A PEM file with its private key.",
            "--tls-key",
            "in the file of the certificate",
            metavar="FILE",
            reload=True,
            example="/etc/letsencrypt/live/gateway.example/privkey.pem",
        ),
    ] = UNSET
    client_ca: Annotated[
        str | UnsetType,
        About(
            "A PEM file with the authorities of the clients, who must then have a certificate of one of them.",
            "--tls-client-ca",
            metavar="FILE",
            reload=True,
            example="/etc/mooring/devices-ca.pem",
        ),
    ] = UNSET
    minimum: Annotated[
        Literal["TLSv1.2", "TLSv1.3"] | UnsetType, About("The oldest version.", default="TLSv1.2", reload=True)
    ] = UNSET
    alpn: Annotated[
        tuple[str, ...] | UnsetType,
        About("Names of protocols to offer, best first.", default="none", reload=True, example="meters/1"),
    ] = UNSET
    handshake_timeout: Annotated[
        Duration | UnsetType,
        About("A new connection must have finished its handshake by then.", default="10s", reload=True),
    ] = UNSET


class Limits(Section, frozen=True, kw_only=True):
    """How much is taken of whom, beside `max_connections`. An address is an IPv4 address or the /64 of an IPv6 one."""

    per_address: Annotated[
        Count | UnsetType | None,
        About(
            "Connections that one address may have; `off`: any number.",
            "--max-connections-per-address",
            "off",
            metavar="N",
            reload=True,
            example="100",
        ),
    ] = UNSET
    per_network: Annotated[
        Count | UnsetType | None,
        About("Connections that one network may have.", default="off", reload=True, example="1000"),
    ] = UNSET
    network_prefixes: Annotated[
        tuple[int, ...] | UnsetType,
        About("Bits that make a network, of IPv4 and of IPv6.", default="24, 48", reload=True, example="24,48"),
    ] = UNSET
    connects_per_second: Annotated[
        Rate | UnsetType | None,
        About(
            "New connections in all; more wait in the kernel's backlog, and nobody is refused for it.",
            "--connects-per-second",
            "off",
            metavar="RATE",
            reload=True,
            example="500",
        ),
    ] = UNSET
    connects_per_address_per_second: Annotated[
        Rate | UnsetType | None,
        About(
            "New connections of one address; more are refused.",
            "--connects-per-address-per-second",
            "off",
            metavar="RATE",
            reload=True,
            example="0.5",
        ),
    ] = UNSET
    messages_per_second: Annotated[
        Rate | UnsetType | None,
        About(
            "Messages of each connection; one that sends more is not read for a while.",
            default="off",
            reload=True,
            example="50",
        ),
    ] = UNSET
    bytes_per_second: Annotated[
        Size | UnsetType | None,
        About(
            "Bytes of each connection; one that sends more is not read for a while.",
            default="off",
            reload=True,
            example="1MiB",
        ),
    ] = UNSET
    burst: Annotated[
        Duration | UnsetType,
        About("So much of a rate may come at once; not of `connects_per_second`.", default="5s", reload=True),
    ] = UNSET
    throttle_timeout: Annotated[
        Duration | UnsetType | None,
        About("A connection that sends too much for so long is closed; `off`: never.", default="1m", reload=True),
    ] = UNSET
    handshakes: Annotated[
        Count | UnsetType,
        About(
            "Sockets at a time whose TLS handshake or PROXY header is not complete; more wait in the kernel.",
            default="256",
            reload=True,
        ),
    ] = UNSET
    allow: Annotated[
        tuple[NetworkText, ...] | UnsetType,
        About(
            "Networks that may connect; none: all.",
            "--allow",
            "all",
            metavar="NETWORK",
            reload=True,
            example="203.0.113.0/24",
        ),
    ] = UNSET
    deny: Annotated[
        tuple[NetworkText, ...] | UnsetType,
        About(
            "Networks that may not; goes before `allow`.",
            "--deny",
            "none",
            metavar="NETWORK",
            reload=True,
            example="198.51.100.0/24",
        ),
    ] = UNSET
    strikes: Annotated[
        Count | UnsetType | None,
        About(
            "Broken frames, failed logins and failed handshakes after which an address is refused for a while.",
            "--strikes",
            "off",
            metavar="N",
            reload=True,
            example="10",
        ),
    ] = UNSET
    strike_window: Annotated[
        Duration | UnsetType, About("The time within which they count.", default="1m", reload=True)
    ] = UNSET
    strike_time: Annotated[
        Duration | UnsetType, About("The time for which the address is refused.", default="10m", reload=True)
    ] = UNSET


class ProxyProtocol(Section, frozen=True, kw_only=True):
    """A load balancer in front that says in a PROXY header whose connection it is."""

    SHORTHAND = "version"

    version: Annotated[
        Literal["v1", "v2"] | UnsetType,
        About(
            "Every connection must begin with a PROXY header of this version, before TLS.",
            "--proxy-protocol",
            "none is expected",
            example="v2",
        ),
    ] = UNSET
    trusted: Annotated[
        tuple[NetworkText, ...] | UnsetType,
        About(
            "Networks of the load balancers; nobody else may connect. Unix sockets are trusted.",
            "--proxy-trusted",
            metavar="NETWORK",
            example="10.0.0.0/24",
        ),
    ] = UNSET
    timeout: Annotated[Duration | UnsetType, About("The header must be complete by then.", default="5s")] = UNSET


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
