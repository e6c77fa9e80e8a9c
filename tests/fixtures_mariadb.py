"""Fixtures over a private MariaDB and a private MySQL 9. ``tests/conftest.py`` offers them to all tests."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from mariadb import MariaDB, make_template
from mysql9 import MySQL9, make_mysql9_template, mysql9_root

_numbers = count(1)


def made_once(place: Path, make: Callable[[Path], Path]) -> Path:
    """What ``make`` makes in an empty folder below ``place``; by the first process of the run that asks for it."""
    place.mkdir(exist_ok=True)
    with (place / "made").open("a+") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        path = made.read()
        if not path:
            path = str(make(Path(tempfile.mkdtemp(dir=place))))
            made.write(path)
    return Path(path)


@pytest.fixture(scope="session")
def mariadb_template(shared_folder: Path) -> Path:
    """A data folder to make servers from, made once per test run."""
    return made_once(shared_folder / "mariadb", make_template)


@pytest.fixture(scope="session")
def mariadb(mariadb_template: Path) -> Iterator[MariaDB]:
    """One server for all tests of this process; tests neither stop it nor change it outside a database of their own."""
    with MariaDB(mariadb_template, copy=True) as server:
        yield server


@pytest.fixture
def own_mariadb(mariadb_template: Path) -> Iterator[MariaDB]:
    """A server for one test, to be killed and started again."""
    with MariaDB(mariadb_template, copy=True) as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> Iterator[str]:
    """The URL of an empty database of its own, for one test."""
    name = f"test_{next(_numbers)}"
    yield mariadb.new_database(name)
    mariadb.query(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def mysql9_template(shared_folder: Path) -> Path:
    """A data folder to make MySQL 9 servers from, made once per test run."""
    return made_once(shared_folder / "mysql9", lambda folder: make_mysql9_template(folder, mysql9_root()))


@pytest.fixture(scope="session")
def mysql9(mysql9_template: Path) -> Iterator[MySQL9]:
    """One MySQL 9 server for all tests of this process, with users of caching_sha2_password."""
    with MySQL9(mysql9_template, mysql9_root(), copy=True) as server:
        yield server


@pytest.fixture
def own_mysql9(mysql9_template: Path) -> Iterator[MySQL9]:
    """A MySQL 9 server for one test, to be killed and started again."""
    with MySQL9(mysql9_template, mysql9_root(), copy=True) as server:
        yield server


@pytest.fixture
def mysql9_url(mysql9: MySQL9) -> Iterator[str]:
    """The URL of an empty database of its own, for one test."""
    name = f"test_{next(_numbers)}"
    yield mysql9.new_database(name)
    mysql9.query(f"DROP DATABASE {name}")
