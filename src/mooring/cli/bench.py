"""``mooring bench``: what a server costs, beside others that do the same work."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ..bench import goals as reach
from ..bench.about import describe
from ..bench.measurements import abuse as abuse_measurement
from ..bench.measurements import admin as admin_measurement
from ..bench.measurements import database as database_measurement
from ..bench.measurements import faults as faults_measurement
from ..bench.measurements import idle as idle_measurement
from ..bench.measurements import ingest as ingest_measurement
from ..bench.measurements import mixed as mixed_measurement
from ..bench.measurements import models as models_measurement
from ..bench.measurements import peers as peers_measurement
from ..bench.measurements import relogin as relogin_measurement
from ..bench.measurements import soak as soak_measurement
from ..bench.measurements import stampede as stampede_measurement
from ..bench.measurements import threads as threads_measurement
from ..bench.measurements import tls as tls_measurement
from ..bench.plot import write_plots
from ..bench.process import ProcessFailed
from ..bench.report import tables
from ..bench.results import Results, read
from ..bench.session import Session
from ..bench.settings import Settings
from .exits import Failed

Options = dict[str, Any]
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group
def bench() -> None:
    """Measure servers: CPU, latency, memory; ours beside others.

    Each server runs in a process of its own on one core, the load on another. A peer that is not installed is named,
    and left out; `pip install 'mooring[bench]'` has them all.
    """


def _with(options: list[Callable[..., Any]], function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(options):
        function = option(function)
    return function


def _measurement(function: Callable[..., None]) -> Callable[..., None]:
    """The options that all measurements have."""
    options = [
        click.option("--rounds", type=click.IntRange(1, 100), help="Interleaved rounds.  [default: 5, quick: 1]"),
        click.option("--quick", is_flag=True, help="Some seconds only: shows that it runs; the figures mean nothing."),
    ]
    return _with(options, _files(function))


def _files(function: Callable[..., None]) -> Callable[..., None]:
    """Where the figures go besides the screen."""
    options = [
        click.option("--json", "json_file", type=FILE, metavar="FILE", help="Write all figures there."),
        click.option(
            "--plot", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Draw SVG charts there."
        ),
    ]
    return _with(options, function)


@bench.command
@_measurement
def models(**options: Any) -> None:
    """One set of handlers under threads, epoll and hybrid."""
    _run(options, models_measurement.measure)


@bench.command
@click.option("--tls", is_flag=True, help="Over TLS: ours, asyncio, uvloop, and stunnel in front of ours.")
@_measurement
def peers(tls: bool, **options: Any) -> None:
    """The same PING on ours, asyncio, uvloop, gevent, Twisted, threads and Redis."""
    _run(options, tls_measurement.measure_peers if tls else peers_measurement.measure)


@bench.command
@click.option("--cpu", is_flag=True, help="The slow calls compute for 5 ms instead of waiting.")
@_measurement
def mixed(cpu: bool, **options: Any) -> None:
    """Quick calls beside slow ones, and a handler that sleeps unexpectedly."""
    _run(options, mixed_measurement.measure_computing if cpu else _waiting_and_surprises)


@bench.command
@click.option("--tls", is_flag=True, help="Memory of a TLS connection and the cost of its handshake, beside others.")
@_measurement
def idle(tls: bool, **options: Any) -> None:
    """Connections that say nothing: memory, CPU, time to accept them."""
    _run(options, tls_measurement.measure_idle if tls else idle_measurement.measure)


@bench.command
@_measurement
def admin(**options: Any) -> None:
    """PING beside idle connections, with the dashboard open and without; judged against its goals."""
    _judge(_run(options, admin_measurement.measure), admin_measurement.GOALS)


@bench.command
@_measurement
def database(**options: Any) -> None:
    """The database pool beside others: cost of a loan, fairness, a query; judged against its goals."""
    _judge(_run(options, database_measurement.measure), database_measurement.GOALS)


@bench.command
@click.argument("parts", nargs=-1, type=click.Choice(["pool", "relogin"]))
@_measurement
def faults(parts: tuple[str, ...], **options: Any) -> None:
    """The pool whose database restarts, is away, wears out; the fleet whose gateway is killed; judged, too.

    PARTS: measure only these.
    """
    devices = 0

    def measure(session: Session) -> None:
        nonlocal devices
        devices = session.settings.idle_connections
        if not parts or "pool" in parts:
            faults_measurement.measure(session)
        if not parts or "relogin" in parts:
            relogin_measurement.measure(session)

    results = _run(options, measure)
    pool = faults_measurement.GOALS if not parts or "pool" in parts else ()
    _judge(results, (*pool, *(relogin_measurement.goals(devices) if not parts or "relogin" in parts else ())))


@bench.command
@click.argument("parts", nargs=-1, type=click.Choice(list(threads_measurement.PARTS)))
@_measurement
def threads(parts: tuple[str, ...], **options: Any) -> None:
    """The thread pool beside the standard library's, the sizes that it finds, and whether it holds; judged, too.

    PARTS: measure only these.
    """
    _judge(_run(options, lambda session: threads_measurement.measure(session, parts)), threads_measurement.GOALS)


@bench.command
@click.argument("parts", nargs=-1, type=click.Choice(list(ingest_measurement.PARTS)))
@_measurement
def ingest(parts: tuple[str, ...], **options: Any) -> None:
    """Pushes that are acknowledged when they are stored in MariaDB, ours beside others; judged, too.

    PARTS: measure only these; courses are rate and latency over depth and connections.
    """
    _judge(_run(options, lambda session: ingest_measurement.measure(session, parts)), ingest_measurement.GOALS)


@bench.command
@click.option("--only", multiple=True, metavar="TEXT", help="Measure those that have this in their name; repeatable.")
@_measurement
def abuse(only: tuple[str, ...], **options: Any) -> None:
    """What healthy devices feel of thousands that are silent, slow, greedy or lost; judged, too.

    Each kind takes about 15 s with the default limits, and as much with those that an operator would set. The first is
    no abuse: it shows what is the machine's doing. For some kinds alone:

    \b
        mooring bench abuse --rounds 1 --only flood --only "wrong authority"
    """
    names = "; ".join(one.name for one in abuse_measurement.ABUSES)
    for text in only:
        if not any(text in one.name for one in abuse_measurement.ABUSES):
            raise click.BadParameter(f"none of these has {text!r} in it: {names}", param_hint="--only")
    abuses = [one for one in abuse_measurement.ABUSES if not only or any(text in one.name for text in only)]
    if options["quick"]:
        abuses = abuse_measurement.smaller(abuses, 0.01)
    results = _run(options, lambda session: abuse_measurement.measure(session, abuses))
    _judge(results, abuse_measurement.goals(abuses))


@bench.command
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="How long under each model; a quarter more warms it up.",
)
@click.option(
    "--connections", type=click.IntRange(1, 15_000), default=1000, show_default=True, help="At the same time."
)
@click.option(
    "--model",
    "models",
    type=click.Choice(stampede_measurement.MODELS),
    multiple=True,
    help="Only this one; may be given several times.  [default: all]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Do the same again as in an earlier run.  [default: another one]"
)
@_files
def stampede(seconds: float, connections: int, models: tuple[str, ...], seed: int | None, **options: Any) -> None:
    """Everything at random on many connections, over a MariaDB that is killed now and then; every byte is verified.

    Clients connect, ask in bursts, read slowly, half-close, reset, break off in the middle of a message; handlers wait,
    announced and not; the pool is resized and paused. Exit code 1 if a sentence does not hold: a message that is lost,
    altered or out of order, an acknowledged row that is not stored, descriptors, threads or memory that are not back.
    """
    size = stampede_measurement.Size(seconds, connections, random.randrange(1 << 32) if seed is None else seed)
    click.echo(f"seed {size.seed}", err=True)

    violations = []

    def measure(session: Session) -> None:
        with stampede_measurement.own_database(session) as database:
            url = database.url if database is not None else ""
            try:
                stampede_measurement.measure(session, size, models or stampede_measurement.MODELS, url, database)
            except (stampede_measurement.Violation, ProcessFailed) as exc:
                violations.append(str(exc))  # the figures until then are shown first

    _run({**options, "rounds": 1, "quick": False}, measure)
    for violation in violations:
        raise Failed(violation)


@bench.command
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How long; fractions are allowed.",
)
@click.option("--devices", type=click.IntRange(min=1), default=10_000, show_default=True, help="How many.")
@_files
def soak(hours: float, devices: int, **options: Any) -> None:
    """A fleet on the gateway over MariaDB for hours, with a restart now and then; at the end nothing may be missing.

    Memory, descriptors, threads, database connections and latencies over time go into `--json` and `--plot`.
    """
    try:
        results = _run({**options, "rounds": 1, "quick": False}, lambda s: soak_measurement.measure(s, hours, devices))
    except ProcessFailed as exc:
        raise Failed(str(exc)) from exc
    _judge(results, soak_measurement.goals(devices, hours))


@bench.command
@click.argument("parts", nargs=-1, type=click.Choice(list(reach.PARTS)))
@click.option(
    "--from",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Measure nothing; judge the figures of an earlier run. May be repeated: later files win.",
)
@_measurement
def goals(parts: tuple[str, ...], files: tuple[Path, ...], **options: Any) -> None:
    """Measure what the goals are about, and judge it; exit code 1 if one is missed or could not be measured.

    PARTS: measure and judge only these.
    """
    if files:
        results = _read(files)
        _write(results, options)
    else:
        results = _run(options, lambda session: reach.measure(session, parts))
    outcomes = reach.evaluate(results, reach.goals_of(parts))
    click.echo(reach.table(outcomes))
    if not all(outcome.reached for outcome in outcomes):
        raise Failed("not all goals are reached")


def _judge(results: Results, goals: Iterable[reach.Goal]) -> None:
    """Say which goals are reached; a missed one is no failure of the command."""
    click.echo(reach.table(reach.evaluate(results, goals)))


def _waiting_and_surprises(session: Session) -> None:
    mixed_measurement.measure_waiting(session)
    mixed_measurement.measure_surprise(session)


def _run(options: Options, measure: Callable[[Session], None]) -> Results:
    """Measure, print the tables, write the files."""
    _require_folder(options["json_file"])
    rounds = options["rounds"]
    settings = Settings.quick(rounds or 1) if options["quick"] else Settings(rounds=rounds or Settings.rounds)
    session = Session(settings, _progress)
    session.results.about.update(describe(session, _command()))
    interrupted = False
    try:
        measure(session)
    except KeyboardInterrupt:
        interrupted = True
    _end_progress()
    click.echo(tables(session.results) + "\n")
    _write(session.results, options)
    if interrupted:
        raise Failed("interrupted; what had been measured by then is above")
    return session.results


def _require_folder(file: Path | None) -> None:
    """Before an hour is spent on what could not be written then."""
    if file is not None and not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(file.parent)!r}", param_hint="--json")


def _write(results: Results, options: Options) -> None:
    try:
        if options["json_file"] is not None:
            options["json_file"].write_text(results.to_json())
        if options["plot"] is not None:
            write_plots(results, options["plot"])
    except OSError as exc:
        raise Failed(f"the results cannot be written: {exc}") from exc


def _read(files: tuple[Path, ...]) -> Results:
    try:
        return read(files)
    except (OSError, ValueError) as exc:
        raise click.BadParameter(str(exc), param_hint="--from") from exc


def _command() -> str:
    return " ".join(["mooring", *sys.argv[1:]])


def _progress(line: str) -> None:
    """One line, over the last one where somebody watches."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        click.echo(f"\r{line.splitlines()[0][:width]}\x1b[K", nl=False, err=True)
    else:
        click.echo(line, err=True)


def _end_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
