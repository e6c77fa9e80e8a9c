"""What a thread pool tells about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from .histogram import Histogram


@dataclass(frozen=True, slots=True)
class ThreadPoolStats:
    """A consistent picture of a pool at one moment.

    Every task that was accepted is in exactly one of ``queued``, ``busy``, ``completed``, ``failed`` and ``cancelled``.
    A task is counted as ended just after its future has its result: read them after ``wait_for_completion``.

    Attributes:
        size: threads that there are, those still starting included.
        busy: threads that run a task now.
        idle: threads that wait for a task.
        queued: tasks that wait for a thread.
        oldest_wait: seconds that the task at the head of the queue has waited; 0.0 with an empty queue.
        completed: tasks that returned.
        failed: tasks that raised.
        cancelled: tasks that never ran: cancelled by their future, or dropped by ``shutdown``.
        grown: steps of sizing that raised the size.
        shrunk: steps of sizing that lowered it.
        min_size: the fewest threads that sizing keeps.
        max_size: the most threads that sizing allows.
        target: how many threads are allowed at present, between the two; they start when tasks need them.
        paused: whether the pool is paused.
        stuck: tasks that run for longer than ``stuck_after`` now; counted in ``busy``, too.
        stuck_ever: how many there have been.
        waits: how long ended tasks had waited for a thread.
        runs: how long they ran.
    """

    size: int
    busy: int
    idle: int
    queued: int
    oldest_wait: float
    completed: int
    failed: int
    cancelled: int
    grown: int
    shrunk: int
    min_size: int
    max_size: int
    target: int
    paused: bool
    stuck: int = 0
    stuck_ever: int = 0
    waits: Histogram = field(default_factory=Histogram)
    runs: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """One thread of a pool at one moment.

    Attributes:
        name: the thread's.
        ident: ``threading.Thread.ident``.
        task: what it runs, or None if it is idle.
        seconds: for how long; 0.0 if it is idle.
        stuck: whether that has been reported as stuck.
    """

    name: str
    ident: int | None
    task: str | None
    seconds: float
    stuck: bool
