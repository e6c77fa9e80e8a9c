"""What the admin side tells: the records of its API, typed, so that the OpenAPI document follows from them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]


class Listener(Struct, frozen=True):
    """Where a server listens, whether it accepts there now, and how many connections it has accepted."""

    address: str
    accepting: bool
    accepted: int


class Server(Struct, frozen=True):
    """Who a server is."""

    id: str
    name: str
    description: str
    model: str
    state: str
    accepting: bool
    uptime: float
    addresses: list[str]
    listeners: list[Listener]
    loop_lag: float | None
    has_commands: bool


class ConnectionCounts(Struct, frozen=True):
    """The connections of a server in numbers; ``refusals`` and ``offences`` by reason and kind."""

    open: int
    most: int
    limit: int
    accepted: int
    refused: int
    refusals: dict[str, int]
    offences: dict[str, int]
    accept_failures: int
    closed: dict[str, int]


class Traffic(Struct, frozen=True):
    """Messages and bytes since the start. ``waiting``: bytes that peers have not taken yet, of so many connections."""

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    dropped: int
    waiting: int
    waiting_connections: int


class RouteNumbers(Struct, frozen=True):
    """One route: how often it was called, how often it raised, and how long it took, in seconds since the start;
    ``runs``: where now."""

    name: str
    runs: str
    calls: int
    on_loop: int
    errors: int
    p50: float
    p99: float
    longest: float


class HandlerNumbers(Struct, frozen=True):
    """What the handlers did. Quantiles and ``histogram`` (seconds, calls up to there) are of the last minute."""

    calls: int
    seconds: float
    longest: float
    p50: float
    p95: float
    p99: float
    histogram: list[tuple[float, int]]
    routes: list[RouteNumbers]
    handovers: int
    late: int
    spares: int


class ThreadNumbers(Struct, frozen=True):
    """The thread pool; waits and runs are of the last minute, in seconds."""

    size: int
    busy: int
    idle: int
    queued: int
    oldest_wait: float
    min_size: int
    max_size: int
    target: int
    paused: bool
    stuck: int
    completed: int
    failed: int
    cancelled: int
    grown: int
    shrunk: int
    wait_p50: float
    wait_p99: float
    run_p50: float
    run_p99: float


class Silent(Struct, frozen=True):
    """A connection that will be closed for its silence, in ``left`` seconds if it says nothing."""

    id: int
    name: str | None
    peer: str
    left: float


class HeartbeatNumbers(Struct, frozen=True):
    """Who is silent for how long. ``silence``: (up to so many seconds, connections)."""

    timeout: float | None
    interval: float | None
    sent: int
    timed_out: int
    alive: int
    late: int
    silence: list[tuple[float | None, int]]
    soonest: list[Silent]


class GroupCommitNumbers(Struct, frozen=True):
    """One group commit: what waits (``rows``, ``bytes``), what was committed, and what was not, since the start."""

    table: str
    state: str
    rows: int
    bytes: int
    commits: int
    committed: int
    rows_per_second: float
    commit_p99: float
    failed: int
    refused: int
    expired: int
    unknown: int
    retries: int
    losses: int
    waits: int
    last_error: str | None


class DatabaseNumbers(Struct, frozen=True):
    """The database's pool; waits and usage are of the last minute, in seconds. ``wal_bytes``: SQLite's log."""

    url: str
    dialect: str
    state: str
    min_size: int
    max_size: int
    total: int
    idle: int
    active: int
    opening: int
    waiting: int
    acquired: int
    timeouts: int
    rejected: int
    opened: int
    open_failures: int
    closed: int
    leaks: int
    retries: int
    wait_p99: float
    usage_p99: float
    connect_p99: float
    down: bool
    last_error: str | None
    wal_bytes: int | None
    group_commits: list[GroupCommitNumbers]


class FailureGroup(Struct, frozen=True):
    """Exceptions of handlers that came from one place; ``sample``: the traceback of the first."""

    id: str
    server: str
    error: str
    text: str
    place: str
    count: int
    first_at: float
    last_at: float
    sample: str


class ErrorNumbers(Struct, frozen=True):
    """What went wrong, by kind, since the start."""

    failures: int
    kinds: dict[str, int]


class ServerNumbers(Struct, frozen=True):
    """Everything of one server at one moment; None where a server has no such thing."""

    server: Server
    connections: ConnectionCounts
    traffic: Traffic
    handlers: HandlerNumbers
    threads: ThreadNumbers | None
    heartbeats: HeartbeatNumbers
    database: DatabaseNumbers | None
    errors: ErrorNumbers
    point: dict[str, float]


class Process(Struct, frozen=True):
    """The process: ``cpu`` in seconds so far, ``cpu_share`` of one core over the last second; ``settings``: where they
    come from."""

    pid: int
    version: str
    python: str
    gil: bool
    settings: str
    started_at: float
    cpu: float
    cpu_share: float
    memory: int
    descriptors: int
    descriptor_limit: int
    threads: int
    admin_longest_slice: float


class Neighbour(Struct, frozen=True):
    """Another server of this user, in a process of its own; ``url``: its page; ``cpu_share``: None at first."""

    pid: int
    url: str
    cpu_share: float | None
    memory: int
    descriptors: int
    threads: int


class Alert(Struct, frozen=True):
    """Something that wants attention now. ``level``: warning or serious."""

    level: str
    server: str | None
    text: str


class Event(Struct, frozen=True):
    """A line of the log."""

    number: int
    time: float
    level: str
    logger: str
    text: str


class Snapshot(Struct, frozen=True):
    """One second of everything; the same for all who look."""

    number: int
    time: float
    state: str
    log_level: str
    process: Process
    neighbours: list[Neighbour]
    servers: list[ServerNumbers]
    alerts: list[Alert]
    events: list[Event]


class History(Struct, frozen=True):
    """The last minutes, a value a second, of each server; ``marks``: changes of the pool's size (time, threads)."""

    times: list[float]
    servers: dict[str, dict[str, list[float | None]]]


class Row(Struct, frozen=True):
    """A connection in the table; ``silence`` in seconds, ``waiting`` in bytes, ``errors``: messages of it that were
    refused."""

    id: int
    server: str
    name: str | None
    peer: str
    connected_at: float
    silence: float
    messages: int
    waiting: int
    errors: int
    closing: str | None


class Table(Struct, frozen=True):
    """A page of the table: ``matching`` of ``total`` connections fit the search."""

    total: int
    matching: int
    offset: int
    rows: list[Row]


class Details(Struct, frozen=True):
    """One connection. Bytes, round trip and retransmits are the kernel's (TCP_INFO), None on Unix sockets."""

    row: Row
    local: str
    inbox: int
    replies: int
    requests: int
    served_by: str
    session: str | None
    bytes_in: int | None = None
    bytes_out: int | None = None
    round_trip: float | None = None
    retransmits: int | None = None


class ThreadRow(Struct, frozen=True):
    """A thread of the pool and what it runs, for so many seconds."""

    name: str
    task: str | None
    seconds: float
    stuck: bool


class AuditEntry(Struct, frozen=True):
    """Something that was done by this API, or refused."""

    time: float
    who: str
    action: str
    arguments: dict[str, Any]
    result: str


class Session(Struct, frozen=True):
    """Who is logged in. ``roles``: what may be done."""

    role: str


class Done(Struct, frozen=True):
    """What came of a control, in words."""

    done: bool
    detail: str


class Problem(Struct, frozen=True):
    """Why a request was refused: a word for programs, a sentence for people."""

    error: str
    detail: str
