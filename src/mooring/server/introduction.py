"""What a server says of itself when it has been started, and the banner that is made of it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .. import __version__
from ..net.address import Address
from ..net.tls.context import TLS, ServerContext

Fact: TypeAlias = tuple[str, str, str]
"""A line of the banner: a word, a value, and a remark that may be empty."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the banner has to know of a server.

    Attributes:
        description: what it is called.
        model: see Server.
        threads: the smallest and the largest size of its pool; None in models without one.
        facts: where it listens, and the like.
    """

    description: str
    model: str
    threads: tuple[int, int] | None
    facts: Sequence[Fact]


def print_banner(introductions: Sequence[Introduction], facts: Sequence[tuple[str, str]] = ()) -> None:
    """Print the banner to stderr, if that can be written to; see ``banner``."""
    if sys.stderr is None:  # it was closed when the process began
        return
    with contextlib.suppress(OSError, ValueError):  # a full disk, a pipe that nobody reads: no reason not to serve
        # With its last line end in one write, which print() makes two: a log line of another thread may come between.
        sys.stderr.write(banner(introductions, facts) + "\n")
        sys.stderr.flush()


def banner(introductions: Sequence[Introduction], facts: Sequence[tuple[str, str]] = ()) -> str:
    """What a process says when its servers are started.

    Args:
        introductions: those of the servers.
        facts: further lines, of the process: (word, value).
    """
    python = ".".join(map(str, sys.version_info[:3]))
    lines: list[str] = []
    for one in introductions:
        threads = f", {one.threads[0]}-{one.threads[1]} threads" if one.threads is not None else ""
        lines.append(f"mooring {__version__}, Python {python}, model {one.model}{threads}, {one.description}")
        width = max((len(value) for _, value, remark in one.facts if remark), default=0)
        lines.extend(f"{word:<10} {value:<{width}}   {remark}".rstrip() for word, value, remark in one.facts)
    lines.extend(f"{word:<10} {value}" for word, value in facts)
    lines.append(f"{'stop':<10} Ctrl-C drains, a second one stops at once")
    return "\n".join(lines)


def listening_fact(address: Address) -> Fact:
    """Where a server listens, and who can reach it there."""
    reach = ""
    if address.is_unix:
        reach = "this machine only"
    elif address.is_loopback:
        scheme = "tls" if address.tls else "tcp"
        reach = f"this machine only; --bind {scheme}://0.0.0.0:{address.port} lets the network in"
    return "listening", str(address), reach


def certificate_text(tls: TLS, context: ServerContext) -> str:
    """Which certificate is shown, until when, and what is asked of clients."""
    until = time.strftime("%Y-%m-%d", time.gmtime(context.not_after))
    clients = f", clients need one of {os.fspath(tls.client_ca)}" if tls.client_ca is not None else ""
    return f"{os.fspath(tls.certificate)}, valid until {until}{clients}"
