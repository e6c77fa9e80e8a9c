"""How much is measured: the sizes and times of one run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes and times of one run; ``quick()`` is for trying out, its figures mean nothing.

    Args:
        rounds: how often each figure is taken; the rounds of all contenders are interleaved.
        warm_up: seconds of load before a window.
        window: seconds over which is counted; CPU needs 5 s, as the kernel counts it in steps of 10 ms.
        callers: connections of the quick load.
        waiters: connections whose calls wait or compute.
        surprises: handlers that sleep unexpectedly, one after another, in one round.
        surprise_interval: seconds between two of them.
        idle_memory: connections over which memory is spread.
        thread_memory: the same where each connection has a thread.
        idle_connections: connections that are held and answer their heartbeats.
        settle: seconds of rest before memory is looked at.
        idle_window: seconds for which they are held.
        heartbeat: seconds between two heartbeats of a silent connection.
        many_connections: connections over several server processes; 0: left out.
        many_per_process: the most of them in one process.
        pool_tasks: tasks through one thread pool, one after another.
        pool_seconds: seconds of a load on a thread pool that finds its size.
        pool_silence: the most seconds of silence after it.
        pool_burst: tasks queued at once.
        pool_operations: operations at random on thread pools.
    """

    rounds: int = 5
    warm_up: float = 1.0
    window: float = 5.0
    callers: int = 50
    waiters: int = 8
    surprises: int = 20
    surprise_interval: float = 0.2
    idle_memory: int = 10_000
    thread_memory: int = 2_000
    idle_connections: int = 15_000
    settle: float = 0.5
    idle_window: float = 30.0
    heartbeat: float = 30.0
    many_connections: int = 100_000
    many_per_process: int = 15_000
    pool_tasks: int = 10_000_000
    pool_seconds: float = 63.0
    pool_silence: float = 60.0
    pool_burst: int = 10_000
    pool_operations: int = 100_000

    @classmethod
    def quick(cls, rounds: int = 1) -> Settings:
        """A few seconds in all: shows that everything runs."""
        return cls(
            rounds=rounds,
            warm_up=0.05,
            window=0.1,
            callers=10,
            waiters=2,
            surprises=2,
            surprise_interval=0.02,
            idle_memory=100,
            thread_memory=50,
            idle_connections=100,
            settle=0.05,
            idle_window=0.5,
            heartbeat=0.2,
            many_connections=100,
            many_per_process=50,
            pool_tasks=20_000,
            pool_seconds=1.0,
            pool_silence=0.2,
            pool_burst=200,
            pool_operations=800,
        )
