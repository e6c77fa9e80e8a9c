"""A load and the server under it: what the callers saw, and what the server used for it meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from .process import ServerProcess
from .resources import Resources, resources
from .session import Session

PATIENCE: Final = 60.0
QUICK: Final = "PING\r\n"


@dataclass(frozen=True)
class Window:
    """One window of load.

    Attributes:
        seconds: how long it was.
        groups: name -> count, p50, p99, p99.9 and max (seconds) of the answers in it.
        before, after: what the server had used at its ends.
    """

    seconds: float
    groups: dict[str, dict[str, float]]
    before: Resources
    after: Resources

    @property
    def count(self) -> float:
        """Answers of all groups."""
        return sum(group["count"] for group in self.groups.values())

    @property
    def cpu(self) -> float:
        """CPU seconds for each answer."""
        return (self.after.cpu - self.before.cpu) / max(self.count, 1)

    @property
    def switches(self) -> float:
        """Context switches for each answer."""
        return (self.after.switches - self.before.switches) / max(self.count, 1)


def load(session: Session, server: ServerProcess, groups: dict[str, tuple[int, str]]) -> Window:
    """Load a server with groups of callers in a closed loop.

    Args:
        session: its settings say for how long.
        server: what is loaded.
        groups: name -> number of connections and what each sends.

    Raises:
        ProcessFailed: the load did not come to its end: the server closed a connection or stopped answering.
    """
    settings = session.settings
    task = {
        "what": "measure",
        "port": server.port,
        "warm_up": settings.warm_up,
        "window": settings.window,
        "groups": {name: {"count": count, "request": request} for name, (count, request) in groups.items()},
    }
    with session.program("load", task, core=session.cores.load) as program:
        program.read_line(PATIENCE + settings.warm_up)
        before = resources(server.pid)
        said: dict[str, Any] = json.loads(program.read_line(PATIENCE + settings.window))
        after = resources(server.pid)
    return Window(said["seconds"], said["groups"], before, after)


def surprises(session: Session, server: ServerProcess) -> list[float]:
    """Longest waits of the other callers, in seconds, one for each handler that slept unexpectedly."""
    settings = session.settings
    task = {
        "what": "surprise",
        "port": server.port,
        "warm_up": settings.warm_up,
        "callers": settings.callers,
        "request": QUICK,
        "surprise": "PING surprise\r\n",
        "count": settings.surprises,
        "interval": settings.surprise_interval,
    }
    with session.program("load", task, core=session.cores.load) as program:
        program.read_line(PATIENCE + settings.warm_up)
        longest: list[float] = json.loads(program.read_line(PATIENCE + settings.surprises * 6))["longest"]
        return longest
