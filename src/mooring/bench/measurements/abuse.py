"""``mooring bench abuse``: what healthy devices feel of those that do what none should."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ...client import Client
from ...framing import Lines
from ..abuser import Manner
from ..certificates import certificate
from ..contenders import CRYPTOGRAPHY, Contender, mooring
from ..goals import Goal
from ..process import Process, ServerProcess, free_port
from ..resources import cpu_seconds, memory
from ..session import Session

BENCHMARK: Final = "abuse"
SERVER: Final = mooring("Mooring", "abuse")
LIMITED: Final = mooring("Mooring with limits", "abuse", "--limits")
SERVERS: Final = (SERVER, LIMITED)
DEVICES: Final = 50
RATE: Final = 1000.0
QUIET: Final = "p99 quiet"
ABUSED: Final = "p99 abused"
GROWTH: Final = "memory more"
LOST: Final = "healthy devices lost"
START_TIMEOUT: Final = 120.0
HELLO: Final = bytes.fromhex(
    "16030100a5010000a10303" + "5a" * 32 + "20" + "a5" * 32 + "0004130113020100005c"
    "0000000e000c0000096c6f63616c686f7374000a00040002001d000d0008000604030804040100330026002400"
    "1d0020" + "42" * 32 + "002b0003020304"
)
"""The first record of a TLS client, as on a wire."""
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: scanner\r\nAccept: */*\r\n\r\n"


@dataclass(frozen=True)
class Abuse:
    """One kind.

    Args:
        name: for the table.
        manner: what its clients do.
        memory_limit: MiB that the server may need for them.
        tls: whether they come to the port that speaks TLS; the healthy devices stay at the plain one.
        handshakes: what is wrong with their handshakes, see ``handshakes``; "": they make none.
    """

    name: str
    manner: Manner
    memory_limit: float
    tls: bool = False
    handshakes: str = ""


ABUSES: Final = (
    Abuse("nobody, but a program that computes on the core of the loads", Manner(0, spins=True), 16),
    Abuse("10,000 silent connections", Manner(10_000), 16),
    Abuse("2,000 that send a byte of their first message each second", Manner(2_000, drip=b"x"), 16),
    Abuse("100 that send frames of 64 KiB byte by byte", Manner(100, drip=b"x" * 65_534 + b"\r\n", interval=0.01), 16),
    Abuse("500 that ask for much and never read", Manner(500, greeting=b"BIG\r\n" * 500, reads=False), 128),
    Abuse("a flood of connects from one address", Manner(64, rate=20_000, lifetime=0, spread=False), 16),
    Abuse("HTTP on a plain port", Manner(200, rate=1_000, greeting=REQUEST, lifetime=0.5), 16),
    Abuse("TLS on a plain port", Manner(200, rate=1_000, greeting=HELLO, lifetime=0.5), 16),
    Abuse("TLS port: 10,000 silent clients", Manner(10_000), 32, tls=True),
    Abuse("TLS port: 2,000 that send a byte of their handshake each second", Manner(2_000, drip=HELLO), 32, tls=True),
    Abuse("TLS port: plain bytes", Manner(200, rate=1_000, greeting=REQUEST, lifetime=0.5), 16, tls=True),
    Abuse("TLS port: 20 with a certificate of the wrong authority", Manner(20), 16, tls=True, handshakes="stranger"),
    Abuse("TLS port: 5 that renegotiate", Manner(5), 16, tls=True, handshakes="renegotiation"),
)


def measure(session: Session, abuses: Iterable[Abuse] = ABUSES) -> None:
    """Each abuse on a fresh server, beside healthy devices whose quiet time comes first."""
    for abuse in abuses:
        if abuse.tls and not session.has(CRYPTOGRAPHY, abuse.name):
            continue
        if abuse.handshakes == "renegotiation" and not shutil.which("openssl"):
            session.leave_out(abuse.name, "not installed: apt-get install openssl")
            continue
        session.rounds(f"abuse, {abuse.name}", SERVERS, _one(session, abuse))


def smaller(abuses: Iterable[Abuse], share: float) -> list[Abuse]:
    """The same with a part of the clients."""
    return [replace(one, manner=replace(one.manner, count=max(2, int(one.manner.count * share)))) for one in abuses]


def goals(abuses: Iterable[Abuse] = ABUSES) -> tuple[Goal, ...]:
    """What is to hold of each."""
    found = []
    for abuse, server in itertools.product(abuses, SERVERS):
        source = (BENCHMARK, abuse.name, server.name)
        title = f"{abuse.name}, with limits" if server is LIMITED else abuse.name
        found += [
            Goal(f"{title}: p99 to its own quiet one", (*source, ABUSED), (*source, QUIET), 3.0),
            Goal(f"{title}: memory", (*source, GROWTH), None, abuse.memory_limit),
            Goal(f"{title}: healthy devices lost", (*source, LOST), None, 0),
        ]
    return tuple(found)


def _one(session: Session, abuse: Abuse) -> Callable[[Contender], str]:
    settings = session.settings
    devices = {"count": min(DEVICES, settings.callers), "rate": RATE * min(DEVICES, settings.callers) / DEVICES}

    def measure_one(contender: Contender) -> str:
        with contextlib.ExitStack() as stack:
            server, program, task = _start(session, stack, contender, abuse)
            healthy = session.program("steady", {"port": server.port, **devices}, core=session.cores.load)
            with healthy:
                first = healthy.read_line(START_TIMEOUT) == "start True"
                session.results.about["healthy devices"] = "first on their core" if first else "no real-time priority"
                _window(healthy, settings.warm_up)
                quiet = _window(healthy, settings.window)
                before, stats_before = memory(server.pid), _stats(server)
                with session.program(program, task, core=session.cores.load) as abusers:
                    abusers.read_line(START_TIMEOUT)
                    _window(healthy, settings.warm_up)
                    used, looked = cpu_seconds(server.pid), time.monotonic()
                    abused, grown = _watch(healthy, server, 2 * settings.window)
                    share = (cpu_seconds(server.pid) - used) / (time.monotonic() - looked)
                    closed = _stats(server) - stats_before
                    abusers.close_input()
                    said = json.loads(abusers.read_line(START_TIMEOUT))
        keep = session.keep(BENCHMARK, abuse.name, contender.name)
        _keep(keep, quiet, abused, (grown - before) / (1 << 20), share, said, closed)
        ratio = abused["p99"] / quiet["p99"]
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in closed.most_common()) or "none"
        return (
            f"p99 {quiet['p99'] * 1e3:.2f} ms, abused {abused['p99'] * 1e3:.2f} ms ({ratio:.2f} x), "
            f"{(grown - before) / (1 << 20):.1f} MiB more, {share:.0%} of a core; closed: {reasons}"
        )

    return measure_one


def _start(
    session: Session, stack: contextlib.ExitStack, contender: Contender, abuse: Abuse
) -> tuple[ServerProcess, str, dict[str, Any]]:
    """The server, the program of the abusers, and its task."""
    if not abuse.tls:
        server = stack.enter_context(session.start(contender))
        return server, "abuser", {"port": server.port, "manner": abuse.manner.to_task()}
    files, port = stack.enter_context(certificate()), free_port()
    # Signed by itself, it is its own authority, and nobody else's.
    authority = files[:1] if abuse.handshakes == "stranger" else ()
    server = stack.enter_context(session.start(contender, str(port), *files, *authority))
    if not abuse.handshakes:
        return server, "abuser", {"port": port, "manner": abuse.manner.to_task()}
    stranger = stack.enter_context(certificate())
    task = {"what": abuse.handshakes, "count": abuse.manner.count, "certificate": stranger[0], "key": stranger[1]}
    return server, "handshakes", {"port": port, **task}


def _window(healthy: Process, seconds: float) -> dict[str, float]:
    """What the healthy devices feel for some seconds."""
    time.sleep(seconds)
    return _end_window(healthy)


def _end_window(healthy: Process) -> dict[str, float]:
    healthy.write_line()
    said: dict[str, float] = json.loads(healthy.read_line(START_TIMEOUT))
    return said


def _watch(healthy: Process, server: ServerProcess, seconds: float) -> tuple[dict[str, float], int]:
    """The same, and the most memory that the server had meanwhile."""
    end, most = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        most = max(most, memory(server.pid))
        time.sleep(min(0.5, left))
    return _end_window(healthy), most


def _stats(server: ServerProcess) -> Counter[str]:
    """What became so far of the connections that ended, and of those that never were: reason -> number."""
    with Client(f"tcp://127.0.0.1:{server.port}", framing=Lines(b"\r\n"), timeout=START_TIMEOUT) as client:
        client.send(b"STATS")
        closed, not_opened, refusals = json.loads(client.recv())
    return Counter({**closed, **not_opened, **{f"refused {reason}": count for reason, count in refusals.items()}})


def _keep(
    keep: Callable[[str, str, float], None],
    quiet: dict[str, float],
    abused: dict[str, float],
    grown: float,
    share: float,
    said: dict[str, int],
    closed: Counter[str],
) -> None:
    keep(QUIET, "ms", quiet["p99"] * 1e3)
    keep(ABUSED, "ms", abused["p99"] * 1e3)
    keep("ratio", "", abused["p99"] / quiet["p99"])
    keep("longest abused", "ms", abused["max"] * 1e3)
    keep(GROWTH, "MiB", grown)
    keep("CPU", "% of a core", share * 100)
    keep(LOST, "", abused["lost"])
    keep("abusive connections", "", said["connections"])
    for reason, count in closed.most_common():
        keep(f"closed: {reason}", "", count)
