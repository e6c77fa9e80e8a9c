"""``mooring simulate``: many devices that push, and the proof that nothing was lost."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import IO

import click

from ..errors import MooringError
from ..gateway.names import check_name
from ..gateway.simulation.fleet import Fleet
from ..gateway.simulation.record import Comparison, Record
from ..gateway.simulation.statistics import Statistics
from ..gateway.simulation.verify import verify as compare
from ..net.address import parse_address
from ..net.tls.client import client_context
from ..running import raise_descriptor_limit
from .exits import Failed
from .logs import set_up_logging
from .options import address, database_url


@click.command
@click.option("--devices", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="How many.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="R",
    help="Pushes a second of each.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long.  [default: until Ctrl-C]",
)
@click.option(
    "--server",
    type=address,
    default="tcp://127.0.0.1:7000",
    show_default=True,
    metavar="ADDRESS",
    help="Where the gateway listens.",
)
@click.option("--prefix", default="sim", show_default=True, help="Devices are called PREFIX-1, PREFIX-2 and so on.")
@click.option(
    "--tokens",
    type=click.File("r"),
    metavar="FILE",
    help="A line for each device, name and token, as `mooring devices add` prints it.",
)
@click.option("--tls-ca", metavar="FILE", help="Whom to believe at a tls:// address.  [default: the system's CAs]")
@click.option("--tls-cert", metavar="FILE", help="The certificate of the devices, PEM; all have the same.")
@click.option("--tls-key", metavar="FILE", help="Its key.  [default: in the file of the certificate]")
@click.option(
    "--figures",
    type=click.File("w"),
    metavar="FILE",
    help="Write a line of JSON there with each line of progress; latencies are those since the line before.",
)
@click.option("--verify", type=database_url, metavar="URL", help="At the end, compare with this database.")
def simulate(
    devices: int,
    rate: float,
    duration: float | None,
    server: str,
    prefix: str,
    tokens: IO[str] | None,
    tls_ca: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    figures: IO[str] | None,
    verify: str | None,
) -> None:
    """Log many devices in to a gateway and have them push; repeat what is not acknowledged.

    With --verify the exit code is 1 if an acknowledged push is missing, altered or stored twice.
    """
    names = [f"{prefix}-{number}" for number in range(1, devices + 1)]
    fault = check_name(names[-1])
    if fault is not None:
        raise click.BadParameter(fault, param_hint="--prefix")
    tls = _tls(server, tls_ca, tls_cert, tls_key)
    set_up_logging("warning")
    raise_descriptor_limit()
    report: Callable[[Statistics, float], None] = _redraw if sys.stderr.isatty() else _write
    if figures is not None:
        report = _and_note(report, figures)
    statistics, records = asyncio.run(_run(names, server, rate, duration, _read_tokens(tokens), tls, report))
    click.echo(statistics.summary())
    if verify is not None:
        comparison = _compare(verify, records)
        if figures is not None:
            _note(figures, asdict(comparison))
        _report(comparison)
    if not statistics.acknowledged:
        raise Failed(f"no push was acknowledged; {statistics.last_error or 'the time was too short'}")


def _tls(server: str, authority: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """The context of all devices; None for an address without TLS."""
    try:
        context = client_context(parse_address(server), authority)
    except (OSError, ValueError) as exc:
        raise click.BadParameter(exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)) from exc
    if certificate is None and key is None:
        return context
    if context is None or certificate is None:
        raise click.BadParameter("--tls-cert and --tls-key go together, and with a tls:// server")
    try:
        context.load_cert_chain(certificate, key)
    except OSError as exc:
        raise click.BadParameter(f"{certificate}: {exc.strerror or exc}", param_hint="--tls-cert") from exc
    return context


def _read_tokens(lines: IO[str] | None) -> dict[str, str]:
    pairs = [line.rsplit(maxsplit=1) for line in lines or () if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise click.BadParameter("a line is the name of a device and its token", param_hint="--tokens")
    return {name.strip(): token for name, token in pairs}


async def _run(
    names: list[str],
    server: str,
    rate: float,
    duration: float | None,
    tokens: dict[str, str],
    tls: ssl.SSLContext | None,
    report: Callable[[Statistics, float], None],
) -> tuple[Statistics, list[Record]]:
    terminal = sys.stderr.isatty()
    interval = 1.0 if terminal else 5.0
    fleet = Fleet(
        names,
        parse_address(server),
        rate,
        tokens=tokens,
        tls=tls,
        report=report,
        report_interval=interval,
    )
    await fleet.run(duration)
    if terminal:
        click.echo(err=True)
    return fleet.statistics, fleet.records


def _redraw(statistics: Statistics, elapsed: float) -> None:
    """The same line again: back to its beginning, and the rest of it cleared."""
    click.echo(f"\r{statistics.line(elapsed)}\x1b[K", nl=False, err=True)


def _write(statistics: Statistics, elapsed: float) -> None:
    click.echo(statistics.line(elapsed), err=True)


def _and_note(report: Callable[[Statistics, float], None], file: IO[str]) -> Callable[[Statistics, float], None]:
    def both(statistics: Statistics, elapsed: float) -> None:
        report(statistics, elapsed)
        _note(file, statistics.figures(elapsed))

    return both


def _note(file: IO[str], figures: dict[str, object]) -> None:
    """One line, at once: somebody reads along."""
    file.write(json.dumps(figures) + "\n")
    file.flush()


def _compare(url: str, records: list[Record]) -> Comparison:
    try:
        return compare(url, records)
    except MooringError as exc:
        raise Failed(f"--verify: {exc}") from exc


def _report(comparison: Comparison) -> None:
    click.echo(
        f"verified: {comparison.acknowledged} acknowledged, {comparison.stored} stored "
        f"({comparison.unacknowledged} of them without an acknowledgement), {comparison.missing} missing, "
        f"{comparison.altered} altered, {comparison.doubled} doubled"
    )
    if not comparison.holds:
        raise Failed("the database does not hold what was acknowledged")
