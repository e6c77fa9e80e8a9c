"""What every test gets: a check that nothing is left over, and a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from fixtures_mariadb import (  # noqa: F401
    mariadb,
    mariadb_template,
    mariadb_url,
    mysql9,
    mysql9_template,
    mysql9_url,
    own_mariadb,
    own_mysql9,
)
from leaks import Leaks
from serving import connect, serve  # noqa: F401

_SHARED_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "may_leave_open(reason): descriptors or threads outlive the test; the reason says which and why"
    )
    from_controller = getattr(config, "workerinput", None)
    if from_controller is not None:
        config.stash[_SHARED_FOLDER] = from_controller["shared_folder"]
        return
    path = config.stash[_SHARED_FOLDER] = tempfile.mkdtemp(prefix="m-all-", dir="/tmp")
    config.add_cleanup(lambda: shutil.rmtree(path, ignore_errors=True))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A process of pytest-xdist is about to be started."""
    node.workerinput["shared_folder"] = node.config.stash[_SHARED_FOLDER]


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest) -> Path:
    """A folder of the whole run, the same in all its processes."""
    return Path(request.config.stash[_SHARED_FOLDER])


@pytest.fixture(scope="session", autouse=True)
def runtime_folder() -> Iterator[None]:
    """Servers that the tests start leave word in a folder of the tests, not of the user who runs them."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    path = tempfile.mkdtemp(prefix="m-run-", dir="/tmp")
    os.environ["XDG_RUNTIME_DIR"] = path
    yield
    shutil.rmtree(path)
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before


@pytest.fixture(autouse=True)
def nothing_is_left_over(request: pytest.FixtureRequest) -> Iterator[None]:
    """Descriptors and threads return to where they were before the test.

    Fixtures of a wider scope are set up before this one, so what they hold is not the test's.
    """
    marker = request.node.get_closest_marker("may_leave_open")
    if marker is not None:
        assert marker.args or marker.kwargs.get("reason"), "may_leave_open needs a reason"
        yield
        return
    leaks = Leaks()
    yield
    left_over = leaks.wait_for_none(timeout=5.0)
    if left_over:
        pytest.fail(left_over, pytrace=False)


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of tests rarely end their side, and a second for each of them would be most of the suite's time."""
    monkeypatch.setattr("mooring.net.deadlines.timeouts.LINGER_TIMEOUT", 0.1)


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """Whom the clients of the tests believe; ``authority.server`` is the pair that most servers have."""
    path = Path(tempfile.mkdtemp(prefix="m-ca-", dir="/tmp"))
    yield Authority(path)
    shutil.rmtree(path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a path short enough for Unix sockets (107 bytes); removed after the test."""
    path = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
