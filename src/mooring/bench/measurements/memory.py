"""The memory of a connection: what a server's resident memory grows by, divided by the connections that are idle."""

from __future__ import annotations

import time

from ..holding import hold
from ..process import ServerProcess
from ..resources import memory
from ..session import Session


def memory_per_connection(session: Session, server: ServerProcess, count: int) -> float:
    """Bytes for each of ``count`` connections that have spoken once and are idle now.

    One connection comes and goes before, so that what the first one alone causes to be loaded is not counted.
    """
    with hold(session, server, 1):
        time.sleep(session.settings.settle)
    before = memory(server.pid)
    with hold(session, server, count):
        time.sleep(session.settings.settle)
        return (memory(server.pid) - before) / count
