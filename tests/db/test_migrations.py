"""Migrations over both databases: each file once, in order, by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mooring.db import ConnectionManager, MigrationError, MigrationStatus, MySQLConnectionManager
from mooring.db.history import History
from mooring.db.migrations import MigrationState

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "V0001__devices.sql").write_text("CREATE TABLE devices (id INTEGER PRIMARY KEY, name VARCHAR(64));\n")
    (folder / "V0002__pushes.mysql.sql").write_text(
        "CREATE TABLE pushes (id INTEGER PRIMARY KEY AUTO_INCREMENT, data TEXT);INSERT INTO pushes (data) VALUES (';');"
    )
    (folder / "V0002__pushes.sqlite.sql").write_text(
        "CREATE TABLE pushes (id INTEGER PRIMARY KEY, data TEXT);\nINSERT INTO pushes (data) VALUES (';');"
    )
    (folder / "README.txt").write_text("not a migration")
    return folder


@pytest.fixture
def make(url: str, folder: Path) -> Iterator[Callable[..., ConnectionManager]]:
    managers: list[ConnectionManager] = []

    def make_manager(migrations: Path = folder, **options: Any) -> ConnectionManager:
        managers.append(ConnectionManager(url, migrations, **options))
        return managers[-1]

    yield make_manager
    for manager in managers:
        manager.close()


@pytest.fixture
def manager(make: Callable[..., ConnectionManager]) -> ConnectionManager:
    return make()


def states(statuses: list[MigrationStatus]) -> list[tuple[int, str]]:
    return [(status.version, str(status.state)) for status in statuses]


def test_initialize_opens_and_migrates(manager: ConnectionManager) -> None:
    applied = manager.initialize()
    assert states(applied) == [(1, "applied"), (2, "applied")]
    assert manager.pool.stats().total >= 2
    with manager.connection() as lease:
        assert list(lease.execute("SELECT data FROM pushes")) == [(";",)]
    assert manager.initialize() == []


def test_the_history_keeps_what_was_done_and_when(manager: ConnectionManager) -> None:
    manager.migrate()
    status = manager.status()[1]
    assert (status.version, status.name, status.state, status.error) == (2, "pushes", MigrationState.APPLIED, None)
    assert status.applied_at is not None
    assert abs(datetime.now(UTC) - status.applied_at) < timedelta(minutes=1)
    assert status.milliseconds is not None
    with manager.connection() as lease:
        row = lease.execute("SELECT version, name, success FROM mooring_migrations WHERE version = 1").fetchone()
        assert row == (1, "devices", 1)


def test_status_changes_nothing(manager: ConnectionManager) -> None:
    assert states(manager.status()) == [(1, "pending"), (2, "pending")]
    with pytest.raises(manager.pool.Error), manager.connection() as lease:
        lease.execute("SELECT * FROM mooring_migrations")


def test_a_new_file_is_applied_later(manager: ConnectionManager, folder: Path) -> None:
    manager.migrate()
    (folder / "V0010__more.sql").write_text("CREATE TABLE more (id INTEGER)")
    assert states(manager.migrate()) == [(10, "applied")]


def test_a_changed_file_is_refused_until_repaired(manager: ConnectionManager, folder: Path) -> None:
    manager.migrate()
    file = folder / "V0001__devices.sql"
    file.write_text(file.read_text() + "-- changed\n")
    assert states(manager.status()) == [(1, "changed"), (2, "applied")]
    with pytest.raises(MigrationError, match=r"V0001__devices.sql was changed after it had been applied.*repair\(\)"):
        manager.migrate()
    assert states(manager.repair()) == [(1, "changed")]
    assert manager.migrate() == []
    assert states(manager.status()) == [(1, "applied"), (2, "applied")]


def test_other_line_ends_are_no_change(manager: ConnectionManager, folder: Path) -> None:
    manager.migrate()
    file = folder / "V0001__devices.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert manager.migrate() == []


def test_a_failed_file_is_recorded_and_explained(manager: ConnectionManager, folder: Path) -> None:
    bad = folder / "V0003__bad.sql"
    bad.write_text("CREATE TABLE half (id INTEGER);\nINSERT INTO nowhere VALUES (1);\nCREATE TABLE never (id INTEGER);")
    with pytest.raises(MigrationError, match=r"V0003__bad.sql, statement 2 of 3: .*nowhere") as caught:
        manager.initialize()
    assert "INSERT INTO nowhere" in str(caught.value)
    assert isinstance(caught.value.__cause__, manager.pool.Error)
    assert states(manager.status()) == [(1, "applied"), (2, "applied"), (3, "failed")]
    assert "nowhere" in str(manager.status()[2].error)


def test_a_failed_file_of_sqlite_leaves_nothing_and_runs_again(tmp_path: Path, folder: Path) -> None:
    bad = folder / "V0003__bad.sql"
    bad.write_text("CREATE TABLE half (id INTEGER);\nINSERT INTO nowhere VALUES (1);")
    with ConnectionManager(f"sqlite:///{tmp_path}/test.db", folder) as manager:
        for _ in range(2):
            with pytest.raises(MigrationError, match="nothing of it was kept"):
                manager.migrate()
        bad.write_text("CREATE TABLE half (id INTEGER);")
        assert states(manager.migrate()) == [(3, "applied")]


def test_a_failed_file_of_mysql_must_be_looked_at(mariadb_url: str, folder: Path) -> None:
    bad = folder / "V0003__bad.sql"
    bad.write_text("CREATE TABLE half (id INTEGER);\nINSERT INTO nowhere VALUES (1);")
    with MySQLConnectionManager(mariadb_url, folder) as manager:
        with pytest.raises(MigrationError, match=r"MySQL keeps what statements before it did; .*repair\(\)"):
            manager.migrate()
        bad.write_text("CREATE TABLE other (id INTEGER);")
        with pytest.raises(MigrationError, match=r"migration 3 \(bad\) failed before: statement 2 of 2.*repair\(\)"):
            manager.migrate()
        assert states(manager.repair()) == [(3, "failed")]
        assert states(manager.migrate()) == [(3, "applied")]


def test_a_crash_in_the_middle_leaves_a_trace_on_mysql(
    mariadb_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "V0003__long.sql").write_text("CREATE TABLE half (id INTEGER);\nCREATE TABLE rest (id INTEGER);")
    with MySQLConnectionManager(mariadb_url, folder) as manager:
        run = History.run

        def crash(history: History, sql: str, *params: object) -> Any:
            if "rest" in sql:
                raise KeyboardInterrupt
            return run(history, sql, *params)

        monkeypatch.setattr(History, "run", crash)
        with pytest.raises(KeyboardInterrupt):
            manager.migrate()
        monkeypatch.undo()
        assert states(manager.status())[2] == (3, "failed")
        with pytest.raises(MigrationError, match="begun and never finished"):
            manager.migrate()


def test_a_file_with_a_number_that_is_past_is_refused(manager: ConnectionManager, folder: Path) -> None:
    manager.migrate()
    (folder / "V0001__devices.sql").rename(folder / "V0005__devices.sql")
    with pytest.raises(MigrationError, match=r"migration 1 \(devices\) is applied, but its file is missing"):
        manager.migrate()
    (folder / "V0005__devices.sql").rename(folder / "V0001__devices.sql")
    (folder / "V0000__late.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=r"V0000__late.sql has a lower number than 2"):
        manager.migrate()


def test_an_older_program_accepts_a_newer_database(
    manager: ConnectionManager, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = folder / "V0003__new.sql"
    new.write_text("CREATE TABLE new_table (id INTEGER)")
    manager.migrate()
    new.unlink()
    assert manager.migrate() == []
    assert "migration 3 (new), which this program does not know" in caplog.text
    assert states(manager.status())[2] == (3, "missing")


def test_two_owners_share_a_database(make: Callable[..., ConnectionManager], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "V0001__orders.sql").write_text("CREATE TABLE orders (id INTEGER)")
    assert len(make().migrate()) == 2
    other = make(theirs, history="shop_migrations")
    assert states(other.migrate()) == [(1, "applied")]
    assert len(make().status()) == 2
    assert len(other.status()) == 1


def test_a_database_in_memory_is_migrated_on_its_one_connection(folder: Path) -> None:
    with ConnectionManager("sqlite://", folder) as manager:
        assert len(manager.initialize()) == 2
        with manager.connection() as lease:
            assert lease.execute("SELECT COUNT(*) FROM pushes").fetchone() == (1,)


_STARTING_PROGRAM = """
import sys
from mooring.db import ConnectionManager
with ConnectionManager(sys.argv[1], sys.argv[2]) as manager:
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(manager.initialize()))
"""


def test_processes_that_start_at_once_migrate_once(url: str, folder: Path) -> None:
    for number in range(3, 8):
        (folder / f"V{number:04}__more.sql").write_text(f"CREATE TABLE more{number} (id INTEGER)")
    command = [sys.executable, "-W", "error", "-c", _STARTING_PROGRAM, url, str(folder)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(counts) == 7
    with ConnectionManager(url, folder) as manager:
        assert [state for _, state in states(manager.status())] == ["applied"] * 7


def test_the_manager_lends_connections(manager: ConnectionManager) -> None:
    manager.initialize()
    lease = manager.get_connection()
    lease.execute("INSERT INTO devices VALUES (1, 'a')")
    manager.return_connection(lease)
    with manager.transaction(read_only=True) as lease:
        assert lease.execute("SELECT name FROM devices").fetchone() == ("a",)


def test_the_constructor_opens_and_reads_nothing(tmp_path: Path) -> None:
    manager = ConnectionManager(f"sqlite:///{tmp_path}/test.db", tmp_path / "none")
    assert not (tmp_path / "test.db").exists()
    with pytest.raises(MigrationError, match=r"folder of migrations .*/none does not exist"):
        manager.initialize()
    manager.close()


def test_the_mysql_manager_takes_mysql_urls_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a URL of mysql"):
        MySQLConnectionManager("sqlite:///x.db", tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "x;DROP TABLE t", "1a", "a" * 65])
def test_the_history_is_named_like_a_table(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="table name"):
        ConnectionManager("sqlite://", tmp_path, history=name)
