"""Where settings come from, which goes before which, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.gateway.server import AUTHS
from mooring.server.arguments import MODELS, OVERFLOWS
from mooring.settings import BindAddress, Loaded, changes, fields, load

LOG = "log.level, log.format, log.payload, log.repeats"


def written(folder: Path, text: str, name: str = "mooring.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def problems_of(loaded: Loaded) -> list[str]:
    return [str(problem) for problem in loaded.problems]


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(folder: Path) -> None:
    file = written(folder, 'threads = "1:2"\nbacklog = 10\nmodel = "epoll"\n[log]\nlevel = "error"\n')
    environ = {"MOORING_THREADS": "3:4", "MOORING_MODEL": "threads"}
    loaded = load(config=file, environ=environ, options={("model",): "hybrid"})
    settings = loaded.settings
    assert not loaded.problems
    assert (settings.model, settings.threads, settings.backlog, settings.log.level) == ("hybrid", (3, 4), 10, "error")
    origins = [str(loaded.origin((name,))) for name in ("model", "threads", "backlog", "drain_timeout")]
    assert origins == ["--model", "environment MOORING_THREADS", f"{file}:2", "default"]


def test_two_underscores_go_into_a_group(folder: Path) -> None:
    loaded = load(environ={"MOORING_DATABASE__MAX_SIZE": "20", "MOORING_BIND": "tcp://a:1, unix:/b"}, config=None)
    assert loaded.settings.database.max_size == 20
    assert loaded.settings.bind == ("tcp://a:1", "unix:/b")


def test_a_file_may_begin_with_the_mark_of_its_encoding(folder: Path) -> None:
    loaded = load(config=written(folder, '\ufeffmodel = "epoll"\n'), environ={})
    assert not loaded.problems
    assert loaded.settings.model == "epoll"


def test_a_plain_value_in_the_place_of_the_database_is_its_url(folder: Path) -> None:
    file = written(folder, 'database = "sqlite:///file.db"')
    assert load(config=file, environ={}).settings.database.url == "sqlite:///file.db"
    environ = {"MOORING_DATABASE": "sqlite:///environment.db"}
    assert load(config=file, environ=environ).settings.database.url == "sqlite:///environment.db"


def test_secrets_come_from_files(folder: Path) -> None:
    written(folder, "hunter2\n", "password")
    written(folder, "mysql://app@db/meters", "url")
    environ = {
        "MOORING_DATABASE__PASSWORD_FILE": str(folder / "password"),
        "MOORING_DATABASE_FILE": str(folder / "url"),
    }
    database = load(environ=environ).settings.database
    assert database.password.reveal() == "hunter2"  # type: ignore[union-attr]
    assert database.url == "mysql://app@db/meters"
    # A name in the settings' file counts from its folder.
    file = written(folder, '[database]\npassword_file = "password"')
    assert load(config=file, environ={}).settings.database.password.reveal() == "hunter2"  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 100_000])
def test_a_secret_that_cannot_be_read_is_a_problem_that_does_not_show_it(folder: Path, content: bytes | None) -> None:
    if content is not None:
        (folder / "password").write_bytes(content)
    loaded = load(environ={"MOORING_DATABASE__PASSWORD_FILE": str(folder / "password")})
    (problem,) = problems_of(loaded)
    assert problem.startswith("MOORING_DATABASE__PASSWORD_FILE: the file ")
    assert "xxx" not in problem


def test_a_secret_does_not_belong_on_the_command_line() -> None:
    loaded = load(environ={}, assignments={"database.password": "hunter2"})
    (problem,) = problems_of(loaded)
    assert "MOORING_DATABASE__PASSWORD_FILE" in problem
    assert "hunter2" not in problem


def test_all_problems_are_found_at_once_each_with_its_place(folder: Path) -> None:
    file = written(
        folder,
        """\
thraeds = "2:4"
max_size = 3
backlog = "many"
log = "info"
drain_timeout = "soon"   # a comment
idle_timeout = "off"

[database]
max_size = 0
url = 7
[databse]
timeout = "5s"
""",
    )
    loaded = load(
        config=file,
        environ={"MOORING_LOG__LEVEL": "wanring", "MOORING_THREDS": "2", "PATH": "/bin"},
        assignments={"database.max_sise": "3"},
        options={("model",): "hybird"},
    )
    assert sorted(problems_of(loaded)) == sorted(
        [
            f"{file}:1: there is no setting thraeds; did you mean threads?",
            f"{file}:2: there is no setting max_size; did you mean database.max_size?",
            f"{file}:3: backlog: 'many': expected a whole number, got a text",
            f"{file}:4: there is no setting log: it is a group of settings, {LOG}",
            f"{file}:5: drain_timeout: 'soon' is not a time such as 30s, 5m or 1h30m, more than 0",
            f"{file}:9: database.max_size: 0: expected a whole number >= 1",
            f"{file}:10: database.url: expected a text",
            f"{file}:12: there is no setting databse.timeout; did you mean database.timeout?",
            "MOORING_LOG__LEVEL: 'wanring' is none of debug, info, warning, error; did you mean warning?",
            "MOORING_THREDS: there is no setting MOORING_THREDS; did you mean MOORING_THREADS?",
            "--set database.max_sise: there is no setting database.max_sise; did you mean database.max_size?",
            "--model: 'hybird' is none of hybrid, epoll, threads; did you mean hybrid?",
        ]
    )
    assert loaded.settings.idle_timeout is None  # what is right is taken


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("a = 1\nbind = [\n  'x'\nmodel = 'epoll'\n", ":4:1: ", "unclosed array"),
        ("model 'epoll'\n", ":1:7: ", "expected '=' after a key"),
        ("[log\nlevel = 'info'", ":1:5: ", "expected ']'"),
        ("model = 'epoll'\nmodel = 'threads'\n", ":2:", "cannot overwrite a value"),
        ("threads = ", ":1", "invalid value"),
    ],
)
def test_a_line_that_is_no_toml_is_named_with_what_was_expected(
    folder: Path, text: str, place: str, expected: str
) -> None:
    file = written(folder, text)
    (problem,) = problems_of(load(config=file, environ={}))
    assert problem.startswith(f"{file}{place}")
    assert expected in problem
    assert "the line is" in problem


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"# " + b"x" * (1 << 20)])
def test_a_file_that_is_no_text_or_too_large_is_one_problem(folder: Path, content: bytes) -> None:
    (folder / "mooring.toml").write_bytes(content)
    (problem,) = problems_of(load(config=str(folder / "mooring.toml"), environ={}))
    assert "is no settings' file" in problem


HOSTILE = [
    "a = " + "9" * 5000,
    "a = " + "[" * 5000,
    "a." * 500 + "b = 1",
    "x" * 100_000 + " = 1",
    f"model = '{'y' * 9999}'",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["digits", "brackets", "dots", "long key", "long value"])
def test_hostile_toml_is_one_short_problem(folder: Path, text: str) -> None:
    (problem,) = problems_of(load(config=written(folder, text), environ={}))
    assert len(problem) < 500


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(fields())), VALUES, st.booleans())
def test_no_value_whatever_makes_it_raise(path: tuple[str, ...], value: object, from_text: bool) -> None:
    field = fields()[path]
    try:
        field.convert(value, from_text=from_text)
    except ValueError as exc:
        length = len(str(exc))
    else:
        length = 0
    assert length < 400


@given(st.dictionaries(st.text(st.characters(codec="ascii"), max_size=12), st.text(max_size=9), max_size=4))
def test_no_environment_whatever_makes_it_raise(variables: dict[str, str]) -> None:
    load(environ={f"MOORING_{name}": value for name, value in variables.items()})


def test_a_file_that_is_not_there_is_a_problem_if_somebody_named_it(folder: Path) -> None:
    for arguments in ({"config": "/no/such.toml", "environ": {}}, {"environ": {"MOORING_CONFIG": "/no/such.toml"}}):
        (problem,) = problems_of(load(**arguments))  # type: ignore[arg-type]
        assert problem == "/no/such.toml: cannot be read: No such file or directory"


def test_the_file_is_looked_for_where_people_expect_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load(environ={}).file is None
    written(folder, "[tool.mooring]\nbacklog = 5\n", "pyproject.toml")
    loaded = load(environ={})
    assert loaded.settings.backlog == 5
    assert str(loaded.origin(("backlog",))) == "pyproject.toml:2"
    written(folder, "backlog = 6\n")
    assert load(environ={}).settings.backlog == 6
    other = written(folder, "backlog = 7\n", "other.toml")
    assert load(environ={"MOORING_CONFIG": other}).settings.backlog == 7


def test_a_pyproject_without_our_table_is_no_settings_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    written(folder, "[tool.ruff]\n", "pyproject.toml")
    assert load(environ={}).file is None


def test_the_admin_side_has_names_that_commands_share(folder: Path) -> None:
    written(folder, "sesame", "token")
    token = str(folder / "token")
    environ = {"MOORING_ADMIN": "off", "MOORING_ADMIN_TOKEN_FILE": token, "MOORING_ADMIN_HOST": "a,b"}
    loaded = load(environ={**environ, "MOORING_ADMIN_URL": "http://x"}, files={("admin", "viewer_token"): token})
    assert not loaded.problems
    admin = loaded.settings.admin
    assert (admin.listen, admin.hosts) == ("off", ("a", "b"))
    assert admin.token.reveal() == admin.viewer_token.reveal() == "sesame"  # type: ignore[union-attr]
    assert str(loaded.origin(("admin", "viewer_token"))) == "--admin-viewer-token-file"
    (problem,) = problems_of(load(environ={}, files={("admin", "token"): "/no/such"}))
    assert problem.startswith("--admin-token-file: the file '/no/such' of admin.token cannot be read: No such file")


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_no_mistake() -> None:
    names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_DEVICES", "PORT", "PORT_7000_TCP", "PORT_7000_TCP_ADDR")
    assert not load(environ={f"MOORING_{name}": "x" for name in names}).problems


def test_what_others_open_is_checked_by_them() -> None:
    def refuse(text: str) -> None:
        raise ValueError(f"{text} is no address")

    loaded = load(environ={"MOORING_BIND": "a,b"}, checks={BindAddress: refuse})
    assert problems_of(loaded) == ["MOORING_BIND: a is no address"]


def test_changes_names_what_differs() -> None:
    before, after = load(environ={}), load(environ={"MOORING_BACKLOG": "7", "MOORING_LOG__LEVEL": "debug"})
    assert [field.key for field in changes(before, after)] == ["backlog", "log.level"]
    assert not changes(before, load(environ={"MOORING_LOG__LEVEL": "info"}))


def test_the_choices_are_those_of_the_server() -> None:
    choices: dict[Any, Any] = {field.key: field.choices for field in fields().values()}
    assert choices["model"] == MODELS
    assert choices["overflow"] == OVERFLOWS
    assert choices["gateway.auth"] == AUTHS
