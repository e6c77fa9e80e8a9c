"""Each measurement, in an instant: that it runs to its end and leaves the figures that others look for."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mooring.bench import contenders
from mooring.bench.contenders import (
    COMPUTING,
    CPU_PEERS,
    FOLDER,
    MIXED_PEERS,
    MOORING,
    PING,
    SURPRISED_PEERS,
    TLS_PING,
    WAITING,
    Contender,
    Package,
)
from mooring.bench.goals import GOALS
from mooring.bench.measurements import admin, idle, mixed, models, peers, tls
from mooring.bench.session import Session
from mooring.bench.settings import Settings
from mooring.cli import group

ALL = (
    *PING,
    *WAITING,
    *COMPUTING,
    *MIXED_PEERS,
    *CPU_PEERS,
    *SURPRISED_PEERS,
    *TLS_PING,
    *models.MODELS,
    idle.MOORING,
    admin.WATCHED,
)
NOT_THERE = Contender("Nobody's server", "peers/nobody.py", package=Package("nobody_has_this", "nobody-has-this"))


def sources() -> list[tuple[str, str, str, str]]:
    return [source for goal in GOALS for source in (goal.figure, goal.reference) if source is not None]


def wanted(benchmark: str, case: str, name: str) -> set[str]:
    """What the goals want to know of one contender under one load."""
    return {measure for b, c, n, measure in sources() if (b, c, n) == (benchmark, case, name)}


def found(session: Session, benchmark: str, case: str, name: str) -> set[str]:
    keys = [figure.key for figure in session.results.figures()]
    return {key.measure for key in keys if (key.benchmark, key.case, key.contender) == (benchmark, case, name)}


def median(session: Session, *source: str) -> float:
    figure = session.results.find(*source)
    assert figure is not None, session.results.left_out
    return figure.median


def test_admin_leaves_what_its_goals_want(session: Session) -> None:
    admin.measure(session)
    for goal in admin.GOALS:
        for source in (goal.figure, goal.reference):
            assert source is None or median(session, *source) > 0


def test_admin_compares_the_two_of_each_pair(session: Session) -> None:
    for contender, values in ((admin.WATCHED, (22.0, 10.0, 30.0)), (admin.UNWATCHED, (20.0, 10.0, 20.0))):
        for value in values:
            session.keep("admin", admin.PING_CASE, contender.name)(admin.CPU, "us", value)
    admin._compare_pairs(session, admin.CPU)
    assert median(session, "admin", admin.PAIRS_CASE, "dashboard open", admin.CPU) == 1.1


def test_peers_leaves_what_the_goals_want(session: Session) -> None:
    peers.measure(session, [MOORING])
    assert session.results.left_out == {}
    for depth in peers.DEPTHS:
        case = peers.case(depth)
        assert {peers.CPU} == wanted("peers", case, "Mooring") <= found(session, "peers", case, "Mooring")
        assert median(session, "peers", case, "Mooring", "throughput") > 0


def test_tls_leaves_memory_handshakes_and_pings(session: Session) -> None:
    tls.measure_idle(session, TLS_PING[:1])
    tls.measure_peers(session, TLS_PING[:1])
    assert session.results.left_out == {}
    idle_figures = {"memory per connection", "CPU per handshake", "handshakes"}
    assert found(session, "tls", "idle", "Mooring") == idle_figures
    for depth in tls.DEPTHS:
        assert median(session, "tls", f"depth {depth}", "Mooring", "throughput") > 0


def test_models_compares_all_three(session: Session) -> None:
    models.measure(session, ["mixed", "memory"])
    assert session.results.left_out == {}
    for model in ("threads", "epoll", "hybrid"):
        assert median(session, "models", "mixed", model, "throughput") > 0
        assert median(session, "models", "mixed", model, "waiting p50") >= 5
        assert {
            "quick p99",
            "waiting p99",
            "quick calls",
            "waiting calls",
            "CPU per request",
            "threads",
            "switches per request",
        } <= found(session, "models", "mixed", model)
    threads = median(session, "models", "mixed", "threads", "threads")
    assert threads > median(session, "models", "mixed", "epoll", "threads")
    assert median(session, "models", "memory", "threads", "memory per connection") > 0


def test_models_has_quick_and_waiting_calls_alone_too(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MODELS", models.MODELS[-1:])
    models.measure(session, set(models.CASES) - {"mixed", "memory"})
    assert median(session, "models", "quick", "hybrid", "throughput") > 0
    assert median(session, "models", "waiting", "hybrid", "p50") >= 5


def test_mixed_leaves_what_the_goals_want_and_the_slow_calls_wait(session: Session) -> None:
    session.settings = replace(session.settings, window=1.0)  # so that a busy machine has time for some slow calls
    mixed.measure_waiting(session, WAITING[1:2])
    name = WAITING[1].name
    assert wanted("mixed", mixed.WAITING_CASE, name) <= found(session, "mixed", mixed.WAITING_CASE, name)
    most = session.settings.waiters / 0.005
    assert 0 < median(session, "mixed", mixed.WAITING_CASE, name, mixed.SLOW_RATE) <= most * 1.5


def test_mixed_cpu_leaves_what_the_goals_want(session: Session) -> None:
    mixed.measure_computing(session, COMPUTING[:1])
    name = COMPUTING[0].name
    assert wanted("mixed", mixed.COMPUTING_CASE, name) <= found(session, "mixed", mixed.COMPUTING_CASE, name)
    assert "5 ms are" in session.results.about["mixed --cpu"]


def test_a_surprise_shows_where_nothing_is_done_about_it(session: Session) -> None:
    unprotected = contenders.UNPROTECTED
    mixed.measure_surprise(session, [unprotected, COMPUTING[1]])
    assert median(session, "mixed", mixed.SURPRISE_CASE, unprotected.name, mixed.LONGEST) >= 90
    assert {mixed.LONGEST} == wanted("mixed", mixed.SURPRISE_CASE, COMPUTING[1].name)
    assert median(session, "mixed", mixed.SURPRISE_CASE, COMPUTING[1].name, mixed.LONGEST) > 0


def test_idle_leaves_what_the_goals_want(session: Session) -> None:
    idle.measure(session, peers=False)
    assert session.results.left_out == {}
    for case in (idle.MEMORY_CASE, idle.BEATING_CASE, idle.NOBODY_CASE):
        assert wanted("idle", case, "Mooring") <= found(session, "idle", case, "Mooring") != set()
    beats = median(session, "idle", idle.BEATING_CASE, "Mooring", "heartbeats answered")
    assert beats >= session.settings.idle_connections
    assert median(session, "idle", "several processes (2)", "Mooring", "connections") == 20


def test_too_little_memory_for_the_most_connections_is_said(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mooring.bench.measurements.idle.available_memory", lambda: 0)
    idle._many(session)
    assert "0 are free" in session.results.left_out["idle, 20 connections"]


def test_connections_are_shared_out_evenly() -> None:
    assert idle.shares(100_000, 15_000) == [14_286] * 5 + [14_285] * 2
    assert idle.shares(10, 10) == [10]


def test_rounds_are_interleaved_and_turn_round(session: Session) -> None:
    session.settings = Settings(rounds=3)
    order: list[str] = []
    three = [Contender(name) for name in "abc"]

    def measure(contender: Contender) -> str:
        order.append(contender.name)
        return "done"

    session.rounds("title", three, measure)
    assert "".join(order) == "abccbaabc"


def test_a_contender_that_fails_is_left_out_and_the_others_go_on(session: Session, progress: list[str]) -> None:
    broken = contenders.mooring("broken", "no_such_file")
    mixed.measure_surprise(session, [broken, contenders.UNPROTECTED])
    assert "no_such_file" in session.results.left_out["broken (mixed, surprise)"]
    assert found(session, "mixed", mixed.SURPRISE_CASE, contenders.UNPROTECTED.name)


# Peers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contender", MIXED_PEERS, ids=lambda contender: contender.name)
def test_each_peer_answers_quick_waiting_and_computing_calls(contender: Contender) -> None:
    require(contender)
    assert conversation(contender, [b"PING", b"SLOW", b"CPU 10"]) == [b"+PONG", b"+DONE", b"+DONE"]


@pytest.mark.parametrize("contender", PING, ids=lambda contender: contender.name)
def test_each_server_answers_a_pipeline_of_pings(contender: Contender) -> None:
    require(contender)
    assert conversation(contender, [b"PING"] * 16, pipelined=True) == [b"+PONG"] * 16


def test_a_pool_of_processes_ends_with_its_server() -> None:
    assert conversation(contenders.ASYNCIO_PROCESSES, [b"CPU 10", b"PING"]) == [b"+DONE", b"+PONG"]


def require(contender: Contender) -> None:
    missing = contender.package.missing() if contender.package is not None else ""
    assert not missing, f"{contender.name} is not installed; script/test does it: {missing}"


def conversation(contender: Contender, requests: list[bytes], *, pipelined: bool = False) -> list[bytes]:
    with contender.start(None) as server, socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        replies = connection.makefile("rb")
        if pipelined:
            connection.sendall(b"".join(request + b"\r\n" for request in requests))
            return [replies.readline().rstrip() for _ in requests]
        answers = []
        for request in requests:
            connection.sendall(request + b"\r\n")
            answers.append(replies.readline().rstrip())
        return answers


def test_a_peer_that_is_not_installed_is_named_with_what_to_do(session: Session, progress: list[str]) -> None:
    assert session.available([NOT_THERE, MOORING]) == [MOORING]
    assert session.results.left_out == {"Nobody's server": "not installed: pip install nobody-has-this"}
    assert progress == ["Nobody's server is left out: not installed: pip install nobody-has-this"]


def test_without_redis_benchmark_peers_says_how_to_get_it(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders.shutil, "which", lambda program: None)
    peers.measure(session)
    assert session.results.left_out == {"bench peers": "not installed: apt-get install redis-tools"}
    assert session.available([contenders.REDIS]) == []
    assert session.results.left_out["redis-server"] == "not installed: apt-get install redis-server"


def test_what_was_installed_is_in_the_report_with_its_version(session: Session) -> None:
    assert session.has(Package("click", "click"), "click")
    assert re.fullmatch(r"\d+\.\d+.*", session.results.about["click"])


def test_the_version_of_a_program_is_what_it_says() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", contenders.REDIS_SERVER.version())


@pytest.mark.parametrize("contender", ALL, ids=lambda contender: f"{contender.name} {contender.script}")
def test_the_source_of_each_server_is_there_and_says_how_it_is_run(contender: Contender) -> None:
    if contender.script:
        path = FOLDER / contender.script
        assert path.name in (ast.get_docstring(ast.parse(path.read_text())) or "")


def test_the_peers_need_nothing_of_ours() -> None:
    for path in (FOLDER / "peers").glob("*.py"):
        assert "mooring" not in re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE), path


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_shows_a_table_and_writes_figures_and_charts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = functools.partial(mixed.measure_computing, contenders=(COMPUTING[0], contenders.ASYNCIO_TO_THREAD))
    monkeypatch.setattr("mooring.cli.bench.mixed_measurement.measure_computing", two)
    run = ["bench", "mixed", "--cpu", "--quick", "--json", f"{folder}/run.json", "--plot", f"{folder}/plots"]
    shown = CliRunner().invoke(group, run)
    assert shown.exit_code == 0, shown.output
    assert "a quick run: the figures mean nothing" in shown.output
    assert "Mooring, function" in shown.output
    assert list((folder / "plots").glob("*.svg"))
    judged = CliRunner().invoke(group, ["bench", "goals", "--from", f"{folder}/run.json"])
    assert judged.exit_code == 1
    assert "there is no CPU per request of Mooring (peers, depth 1)" in judged.output
    assert "asyncio + to_thread" in judged.output


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "measure", lambda session: pytest.fail("it measures"))
    done = CliRunner().invoke(group, ["bench", "peers", "--json", str(folder / "nowhere" / "peers.json")])
    assert done.exit_code == 2
    assert f"there is no folder '{folder}/nowhere'" in done.output


def test_goals_of_a_file_that_is_none_is_a_usage_error(folder: Path) -> None:
    (folder / "wrong.json").write_text("{}")
    shown = CliRunner().invoke(group, ["bench", "goals", "--from", f"{folder}/wrong.json"])
    assert shown.exit_code == 2
    assert "wrong.json" in shown.output


def test_a_run_can_be_interrupted_and_shows_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(session: Session) -> None:
        session.keep("idle", "memory", "Mooring")("memory per connection", "B", 512.0)
        raise KeyboardInterrupt

    monkeypatch.setattr("mooring.cli.bench.idle_measurement.measure", interrupted)
    shown = CliRunner().invoke(group, ["bench", "idle", "--quick"])
    assert shown.exit_code == 1
    assert "512" in shown.output
    assert "interrupted" in shown.output


def test_optional_packages_are_not_needed_to_load_the_command() -> None:
    assert importlib.util.find_spec("mooring.cli.bench") is not None
    for path in [*FOLDER.glob("*.py"), *(FOLDER / "measurements").glob("*.py")]:
        assert not re.search(r"^\s*(?:from|import) (uvloop|gevent|twisted)", path.read_text(), re.MULTILINE), path
