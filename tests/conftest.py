"""What every test gets: a check that nothing is left over, and a folder of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures_mariadb import mariadb, mariadb_template, mariadb_url, mysql9, mysql9_url, own_mariadb  # noqa: F401
from leaks import Leaks


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "may_leave_open(reason): descriptors or threads outlive the test; the reason says which and why"
    )


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


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a path short enough for Unix sockets (107 bytes); removed after the test."""
    path = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
