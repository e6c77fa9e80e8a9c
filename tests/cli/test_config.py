"""``mooring config``, and how settings reach ``mooring serve``."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from commands import run_command
from devices import Device
from processes import PythonProcess

from mooring.cli import group

MOORING = ("-m", "mooring")


def test_show_says_what_holds_and_where_it_comes_from(folder: Path) -> None:
    (folder / "mooring.toml").write_text('threads = "1:2"\nbacklog = 7\n')
    env = {"MOORING_THREADS": "3:4", "MOORING_DATABASE": "mysql://app:hunter2@db/meters"}
    shown = run_command("config", "show", "--origin", "--log-level", "debug", cwd=folder, env=env)
    lines = [re.sub(r" {2,}", "  ", line) for line in shown.splitlines()]
    assert lines[0] == "# read from mooring.toml"
    assert 'threads = "3:4"  # environment MOORING_THREADS' in lines
    assert "backlog = 7  # mooring.toml:2" in lines
    assert 'level = "debug"  # --log-level' in lines
    assert 'drain_timeout = "30s"  # default' in lines
    assert "# model  # hybrid" in lines
    assert "hunter2" not in shown


def test_show_lists_the_problems_behind(folder: Path) -> None:
    shown = run_command("config", "show", cwd=folder, env={"MOORING_THREDS": "1"}, returncode=78)
    assert "mooring: MOORING_THREDS: there is no setting MOORING_THREDS; did you mean MOORING_THREADS?" in shown
    assert "drain_timeout" in shown


def test_init_writes_a_file_once_and_check_finds_it_good(folder: Path) -> None:
    assert run_command("config", "init", cwd=folder).startswith("wrote mooring.toml")
    assert "--force overwrites it" in run_command("config", "init", cwd=folder, returncode=1)
    run_command("config", "init", "--force", cwd=folder)
    assert "settings: mooring.toml, no problem found" in run_command("check", cwd=folder)
    assert run_command("config", "init", "-", cwd=folder) == (folder / "mooring.toml").read_text()
    assert "No such file or directory" in run_command("config", "init", "no/such/folder", cwd=folder, returncode=1)


def test_every_option_of_serve_shows_its_variable() -> None:
    command = group.get_command(None, "serve")  # type: ignore[arg-type]
    assert command is not None
    options = [one for one in command.params if one.name not in ("targets", "assignments")]
    assert len(options) > 10
    without = [one.name for one in options if "MOORING_" not in (one.help or "")]  # type: ignore[attr-defined]
    assert not without


def test_the_server_takes_its_settings_from_file_environment_and_command_line(folder: Path) -> None:
    (folder / "app.py").write_text(
        "from mooring import Server\nserver = Server(lambda c, m: m, name='echo', threads=(9, 9), model='epoll')\n"
    )
    (folder / "settings.toml").write_text(
        f'targets = ["app"]\nbind = ["unix:{folder}/s"]\nmodel = "hybrid"\nidle_timeout = "300ms"\nthreads = 1\n'
    )
    env = {"MOORING_CONFIG": "settings.toml", "MOORING_THREADS": "3:5"}
    with PythonProcess(*MOORING, "serve", "--log-level", "info", cwd=folder, env=env) as process:
        process.wait_for_line("Ctrl-C")
        assert "model hybrid, 3-5 threads, echo" in process.output
        with Device(f"unix:{folder}/s") as client:
            client.send(b"hello")
            assert list(client) == [b"hello"]  # and then the end, by idle_timeout
        process.wait_for_line("closed, idle")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("threads = '5:1'\n", "mooring.toml:1: threads: '5:1': MIN is at least 1, and MAX at least MIN"),
        ("bind = ['127.0.0.1:7000']\n", "mooring.toml:1: bind: 127.0.0.1:7000: an address begins with tcp://"),
        ("[database]\nurl = 'postgresql://x/y'", "mooring.toml:2: database.url: database URL: unknown scheme"),
        ("\nmodel = epoll\n", "mooring.toml:2:9: this is no TOML"),
        ("overflow = 'block'\nmodel = 'epoll'\n", 'overflow="block" would stop the only thread'),
        ("[database]\nmin_size = 5\nmax_size = 2\n", "min_size 5 is more than max_size 2"),
    ],
)
def test_a_bad_file_ends_with_78_and_one_line_that_says_where(folder: Path, text: str, part: str) -> None:
    (folder / "mooring.toml").write_text(text)
    shown = run_command("serve", cwd=folder, returncode=78)
    assert part in shown
    assert shown.count("\n") == 1
    assert not (folder / "mooring.db").exists()


def test_a_server_without_the_command_looks_at_none_of_it(folder: Path) -> None:
    (folder / "mooring.toml").write_text("thraeds = 1\nmodel = 'epoll'\n")
    code = (
        "from mooring import Server\n"
        "server = Server(lambda connection, message: message, bind='tcp://127.0.0.1:0')\n"
        "with server: print(server.model, server.threads.stats().max_size, server.database)\n"
    )
    env = {"MOORING_MODEL": "threads", "MOORING_THREADS": "1:1", "MOORING_DATABASE": "sqlite:///x.db"}
    with PythonProcess("-c", code, cwd=folder, env=env) as process:
        assert process.wait() == 0
        assert process.output == "hybrid 64 None\n"


def test_a_secret_file_opens_the_database(folder: Path) -> None:
    (folder / "url").write_text(f"sqlite:///{folder}/secret.db\n")
    env = {"MOORING_DATABASE_FILE": str(folder / "url"), "MOORING_BIND": "tcp://127.0.0.1:0"}
    with PythonProcess(*MOORING, "serve", cwd=folder, env=env) as process:
        process.wait_for_line("Ctrl-C")
    assert (folder / "secret.db").exists()


def test_the_database_commands_use_the_database_of_the_settings(folder: Path) -> None:
    (folder / "mooring.toml").write_text('database = "sqlite:///of_the_file.db"\n')
    run_command("database", "migrate", cwd=folder)
    run_command("database", "migrate", cwd=folder, env={"MOORING_DATABASE": "sqlite:///of_the_environment.db"})
    assert {path.name for path in folder.glob("*.db")} == {"of_the_file.db", "of_the_environment.db"}
    assert "MOORING_DATABASE__URL" in run_command("database", "migrate", "--help", cwd=folder)
    (folder / "mooring.toml").write_text("thraeds = 1\n")
    assert "did you mean threads?" in run_command("database", "migrate", cwd=folder, returncode=78)


CHECKED = """
from mooring import Server

def echo(connection, message):
    return message

server = Server(echo, name="good")
nowhere = Server(echo, name="nowhere", bind=["tcp://no-such-host.invalid:1", "unix:/no/such/folder/s"])
foreign = Server(echo, name="foreign", bind="tcp://192.0.2.1:7000", database="sqlite:////no/such/folder/x.db")
"""


def test_check_finds_everything_that_is_wrong_and_binds_nothing(folder: Path) -> None:
    (folder / "app.py").write_text(CHECKED)
    (folder / "broken.py").write_text("1 / 0\n")
    env = {"MOORING_LOG__LEVEL": "loud"}
    targets = ("app", "app:nowhere", "app:foreign", "app:missing", "broken")
    with PythonProcess(*MOORING, "check", *targets, cwd=folder, env=env) as process:
        assert process.wait() == 78
        shown = process.output
    assert "MOORING_LOG__LEVEL: 'loud' is none of debug, info, warning, error" in shown
    assert "nowhere: tcp://no-such-host.invalid:1: " in shown
    assert "nowhere: unix:/no/such/folder/s: the folder /no/such/folder does not exist" in shown
    assert "foreign: tcp://192.0.2.1:7000: no interface of this machine has that address" in shown
    assert (
        "foreign: sqlite:////no/such/folder/x.db: the folder /no/such/folder does not exist; create it first" in shown
    )
    assert "app has no attribute 'missing'" in shown
    assert "ZeroDivisionError" in shown
    assert "importing broken failed" in shown
    assert shown.endswith("7 problems\n")


def test_check_says_what_would_be_served(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # as if the server ran already
        port = taken.getsockname()[1]
        shown = run_command("check", "--bind", f"tcp://127.0.0.1:{port}", cwd=folder)
    assert f"listening on tcp://127.0.0.1:{port}, storing into sqlite:///mooring.db" in shown
    assert "no problem found; --probe tries the database" in shown
    assert not list(folder.iterdir())


def test_check_tries_the_database_if_it_is_asked_to(folder: Path, mariadb_url: str) -> None:
    assert "no problem found\n" in run_command("check", "--probe", "--database", mariadb_url, cwd=folder)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    shown = run_command(
        "check", "--probe", "--database", f"mysql://u:hunter2@127.0.0.1:{port}/d", cwd=folder, returncode=78
    )
    assert "onnection refused" in shown
    assert "hunter2" not in shown
    assert shown.endswith("1 problem\n")


def test_show_is_toml_that_the_server_takes_again(folder: Path) -> None:
    env = {"MOORING_THREADS": "3:4", "MOORING_BIND": "tcp://127.0.0.1:0"}
    (folder / "mooring.toml").write_text(run_command("config", "show", cwd=folder, env=env))
    again = run_command("config", "show", "--origin", cwd=folder)
    assert re.search(r'^bind = \["tcp://127.0.0.1:0"\] +# mooring.toml:\d+$', again, re.MULTILINE)
    assert json.dumps("3:4") in again
