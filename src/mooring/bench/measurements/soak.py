"""``mooring bench soak``: a fleet on a gateway for hours, with a restart now and then."""

from __future__ import annotations

import statistics
from typing import Final

from ..contenders import MOORING
from ..courses import Course, Line
from ..goals import Goal
from ..private_database import PrivateDatabase
from ..session import Session
from ..soaking import PUSH_INTERVAL, Sample, Soak, Soaked

BENCHMARK: Final = "soak"
MIB: Final = 1 << 20
LOST: Final = "acknowledged and not stored, altered or doubled"
GROWTH: Final = "memory more at the end of a life"
OPEN: Final = "descriptors beyond devices, at most"
RETURN: Final = "all devices back after a restart, at most"


def measure(session: Session, hours: float, devices: int, push_interval: float = PUSH_INTERVAL) -> None:
    """One soak on a MariaDB of its own.

    Args:
        session: where figures and courses go.
        hours: how long; fractions are allowed.
        devices: how many there are.
        push_interval: seconds between two pushes of each.

    Raises:
        ProcessFailed: something acknowledged is not stored, or a process ended.
    """
    missing = PrivateDatabase.missing()
    if missing:
        session.leave_out(BENCHMARK, f"not installed: {missing}")
        return
    seconds = hours * 3600
    case = f"{devices:,} devices, {_said(seconds)}"
    with PrivateDatabase(small=False) as database:
        soaked = Soak(session, database, seconds, devices, push_interval).run()
    _keep(session, case, devices, soaked)
    session.results.courses[BENCHMARK, case] = Course(BENCHMARK, case, lines(soaked))


def goals(devices: int, hours: float) -> tuple[Goal, ...]:
    """What is to hold of a soak of this size."""
    case = f"{devices:,} devices, {_said(hours * 3600)}"

    def goal(title: str, measured: str, limit: float) -> Goal:
        return Goal(title, (BENCHMARK, case, MOORING.name, measured), None, limit)

    return (
        goal("soak: acknowledged pushes lost, altered or doubled", LOST, 0),
        goal("soak: memory more at the end of a life", GROWTH, 8.0),
        goal("soak: descriptors beyond the devices'", OPEN, 64),
        goal("soak: all devices back after a restart", RETURN, 60.0),
    )


def lines(soaked: Soaked) -> list[Line]:
    """A panel for each thing that was watched."""

    def of(name: str, value: str, unit: float = 1.0) -> Line:
        return Line(name, [(sample.at, getattr(sample, value) / unit) for sample in soaked.samples])

    def seen(name: str, value: str, unit: float = 1.0) -> Line:
        return Line(name, [(line["elapsed"], line[value] * unit) for line in soaked.fleet])

    return [
        of("resident memory of the server, MiB", "memory", MIB),
        of("descriptors of the server", "descriptors"),
        of("threads of the server", "threads"),
        of("connections to the database", "database_connections"),
        seen("devices connected", "connected"),
        seen("p50 from push to acknowledgement, ms", "p50", 1e3),
        seen("p99 from push to acknowledgement, ms (restarts included)", "p99", 1e3),
        Line(
            "p99 while all are connected, ms",
            [(line["elapsed"], line["p99"] * 1e3) for line in soaked.calm()] or [(0.0, 0.0)],
        ),
    ]


def _keep(session: Session, case: str, devices: int, soaked: Soaked) -> None:
    keep = session.keep(BENCHMARK, case, MOORING.name)
    verified, calm = soaked.verified, soaked.calm()
    keep("acknowledged", "", verified["acknowledged"])
    keep(LOST, "", verified["missing"] + verified["altered"] + verified["doubled"])
    keep("restarts", "", len(soaked.restarts))
    keep(RETURN, "s", max(soaked.returns(), default=0.0))
    keep("memory at most", "MiB", _most(soaked.samples, "memory") / MIB)
    keep(GROWTH, "MiB", soaked.growth() / MIB)
    keep(OPEN, "", _most(soaked.samples, "descriptors") - devices)
    keep("threads at most", "", _most(soaked.samples, "threads"))
    keep("database connections at most", "", _most(soaked.samples, "database_connections"))
    if calm:
        for percentile in ("p50", "p99"):
            keep(f"{percentile}, median of 5 s", "ms", statistics.median(line[percentile] for line in calm) * 1e3)
        keep("worst p99 of 5 s, all connected", "ms", max(line["p99"] for line in calm) * 1e3)
    session.report(f"soak: {verified['acknowledged']:,} acknowledged, all of them stored")


def _most(samples: list[Sample], name: str) -> int:
    return max((getattr(sample, name) for sample in samples), default=0)


def _said(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 360 else f"{seconds:g} s"
