"""What a figure depends on besides the code: machine, versions, settings."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from .. import __version__
from .session import Session
from .settings import Settings


def describe(session: Session, command: str) -> dict[str, str]:
    """The head of a report.

    Args:
        session: its cores and settings.
        command: what repeats the run.
    """
    cores, settings = session.cores, session.settings
    pinned = f"servers on core {cores.server}, loads on core {cores.load}" if cores.server is not None else "not pinned"
    about = {
        "command": command,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{processor()}, {os.cpu_count()} cores; {pinned}",
        "system": f"{platform.system()} {platform.release()}",
        "Mooring": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "rounds": f"{settings.rounds} interleaved, windows of {settings.window:g} s after {settings.warm_up:g} s",
    }
    if settings.window < Settings.window:
        about["note"] = "a quick run: the figures mean nothing"
    return about


def processor() -> str:
    """The name of the CPU; see proc_cpuinfo(5)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
