"""Servers as the main work of a process: one banner, one drain, and a dump on request."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from ..running import Life, run_until_signal
from .dump import log_dump
from .introduction import print_banner

if TYPE_CHECKING:
    from .server import Server


def run(*servers: Server) -> None:
    """Run several servers in one process: one banner, one drain. TERM and INT drain, USR2 logs a dump.

    Args:
        servers: at least one.

    Raises:
        TypeError: there is none.
        RuntimeError: not called from the main thread.
        MooringError: a server could not be started, or its loop failed.
    """
    if not servers:
        raise TypeError("run() needs at least one server")
    life = Life(actions={signal.SIGUSR2: lambda: log_dump(servers)})
    run_until_signal(servers, lambda: print_banner([server.introduction() for server in servers]), life=life)
