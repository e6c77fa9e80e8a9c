"""What all simulated devices did together, and the lines that tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .latencies import Latencies


@dataclass
class Statistics:
    """Counters of one run; for one thread.

    Args:
        connected: devices that are logged in now.
        pushed: different pushes made.
        repeated: pushes sent again because they were not acknowledged.
        acknowledged: pushes that the gateway has said to be stored.
        refused: pushes that it will never take.
        unavailable: times that it asked to be sent a push again later.
        reconnects: logins after the first one of each device.
        commands: that were run.
        latencies: from the making of a push to its acknowledgement, outages included.
        recent: the same since ``figures`` was called last.
        last_error: why a connection failed or ended last.
    """

    connected: int = 0
    pushed: int = 0
    repeated: int = 0
    acknowledged: int = 0
    refused: int = 0
    unavailable: int = 0
    reconnects: int = 0
    commands: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    recent: Latencies = field(default_factory=Latencies)
    last_error: str = ""

    def note_latency(self, seconds: float) -> None:
        """A push was acknowledged so long after it was made."""
        self.latencies.add(seconds)
        self.recent.add(seconds)

    def line(self, elapsed: float) -> str:
        """One line for people.

        Args:
            elapsed: seconds since the beginning.
        """
        percentiles = "/".join(f"{self.latencies.percentile(percent) * 1000:.1f}" for percent in (50, 95, 99))
        return (
            f"{elapsed:6.1f} s  connected {self.connected}  pushed {self.pushed}  acknowledged {self.acknowledged}  "
            f"ms p50/p95/p99 {percentiles} max {self.latencies.longest * 1000:.1f}  reconnects {self.reconnects}"
        )

    def figures(self, elapsed: float) -> dict[str, Any]:
        """The same for programs; latencies in seconds, of the pushes that were acknowledged since the last call."""
        recent, self.recent = self.recent, Latencies()
        return {
            "elapsed": round(elapsed, 3),
            "connected": self.connected,
            "pushed": self.pushed,
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "repeated": self.repeated,
            "reconnects": self.reconnects,
            **{f"p{percent}": round(recent.percentile(percent), 6) for percent in (50, 95, 99)},
            "max": round(recent.longest, 6),
        }

    def summary(self) -> str:
        """The end of a run, with what was out of the ordinary."""
        rest = self.pushed - self.acknowledged - self.refused
        parts = [
            f"{self.pushed} pushed, {self.acknowledged} acknowledged, {self.refused} refused, {rest} unanswered",
            f"{self.repeated} sent again, {self.unavailable} times unavailable, {self.reconnects} reconnects",
        ]
        if self.commands:
            parts.append(f"{self.commands} commands")
        return "; ".join(parts)
