"""A run of measurements: who takes part, on which cores, round after round."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from .contenders import Contender, Package
from .process import Process, ProcessFailed, ServerProcess
from .results import Key, Results
from .settings import Settings

Report = Callable[[str], None]


@dataclass(frozen=True)
class Cores:
    """Where servers and loads run; None: wherever the kernel likes, as there is but one core."""

    server: int | None
    load: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first core that we may use is the servers', the last one the loads'."""
        ours = sorted(os.sched_getaffinity(0))
        return cls(ours[0], ours[-1]) if len(ours) > 1 else cls(None, None)


class Session:
    """What all measurements of a run share.

    Args:
        settings: sizes and times.
        report: called with one line for each step.

    Attributes:
        results: where the figures are put.
    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self.settings = settings
        self.report = report
        self.results = Results()
        self.cores = Cores.of_this_machine()

    def available(self, contenders: Iterable[Contender]) -> list[Contender]:
        """Those whose packages are installed; of the others is noted what is missing."""
        return [one for one in contenders if one.package is None or self.has(one.package, one.name)]

    def has(self, package: Package, name: str) -> bool:
        """Whether a package is there; if not, it is noted for ``name``, what to do about it."""
        missing = package.missing()
        if not missing:
            self.results.about[package.name] = package.version()
        elif name not in self.results.left_out:
            self.leave_out(name, f"not installed: {missing}")
        return not missing

    def leave_out(self, name: str, reason: str) -> None:
        """Note that, and why, something is not measured."""
        self.results.left_out[name] = reason
        self.report(f"{name} is left out: {reason}")

    def rounds(self, title: str, contenders: Sequence[Contender], measure: Callable[[Contender], str]) -> None:
        """Measure all contenders in each round, every other round in the opposite order.

        Args:
            title: of the measurement, for the progress.
            contenders: those that take part.
            measure: does one contender once, and says in a few words what came out. One that fails is left out of
                the rounds that follow.
        """
        alive = list(contenders)
        for number in range(1, self.settings.rounds + 1):
            for contender in alive[:: 1 if number % 2 else -1]:
                head = f"{title}, round {number} of {self.settings.rounds}: {contender.name}"
                try:
                    self.report(f"{head}: {measure(contender)}")
                except ProcessFailed as exc:
                    alive.remove(contender)
                    self.leave_out(f"{contender.name} ({title})", str(exc))

    def keep(self, benchmark: str, case: str, contender: str) -> Callable[[str, str, float], None]:
        """A function that keeps (measure, unit, value) of one contender under one load."""
        return partial(self._keep, benchmark, case, contender)

    def _keep(self, benchmark: str, case: str, contender: str, measure: str, unit: str, value: float) -> None:
        self.results.add(Key(benchmark, case, contender, measure, unit), value)

    def start(self, contender: Contender, *arguments: str) -> ServerProcess:
        """Start a contender on the servers' core."""
        return contender.start(self.cores.server, *arguments)

    def program(self, module: str, task: object, *, core: int | None) -> Process:
        """Start one of our load programs."""
        command = [sys.executable, "-m", f"mooring.bench.{module}", json.dumps(task)]
        return Process(command, core, piped=True)
