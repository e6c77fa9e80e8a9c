"""What the tests of the benchmark share: a session that lasts an instant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mooring.bench.session import Session
from mooring.bench.settings import Settings


@pytest.fixture
def progress() -> list[str]:
    """The lines of progress so far."""
    return []


@pytest.fixture
def session(progress: list[str]) -> Session:
    """A run with few connections and short windows."""
    settings = replace(
        Settings.quick(),
        warm_up=0.02,
        window=0.2,  # so that a busy machine has time for some calls
        callers=4,
        surprises=1,
        idle_memory=20,
        thread_memory=10,
        idle_connections=20,
        idle_window=0.2,
        heartbeat=0.1,
        many_connections=20,
        many_per_process=10,
    )
    return Session(settings, progress.append)
