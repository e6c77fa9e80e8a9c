"""How many threads a pool should have: a pure function from what it remembers and a sample to a size.

The signal to grow is time spent in the queue, not its length. How far is Little's law: the threads in use are the
arrivals per second times the seconds of one task, and a margin that grows with the square root of that. Three things
hold growth back: a process that has used up its core, a growth that did not raise the throughput, and a probe that
takes threads away and keeps them away while the throughput does not fall. Between the size that is grown to and the
one that is trimmed lies a band in which nothing changes; that is the hysteresis. ``docs/topics/thread-pool-sizing.md``
has the reasons.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace

WAIT_LIMIT, LEAST_WAIT_LIMIT = 0.001, 0.00025
"""Seconds in the queue, in the mean, that ask for threads: at most, and at least (more than a wake-up takes)."""

WAIT_SHARE = 0.1
"""Between those two they are this share of a task's work. Eight callers of 5 ms who find six threads wait for 0.8 ms
and get an eighth less done; with calls of 50 ms nobody would notice."""

LONG_WAIT = 0.1
"""Seconds that the head of the queue has waited which ask for threads whatever the mean says."""

MARGIN = 0.75
"""Threads beyond the load, in square roots of it: the square-root staffing rule of Halfin and Whitt (1981)."""

SLACK = 1.25
"""Threads beyond the load, in square roots of it, that are left alone: above it, the size is trimmed."""

DRAIN_TIME = 1.0
"""Seconds in which a backlog should be gone."""

RECENT = 0.25
"""Seconds over which arrivals and work are smoothed to grow: quick, since tasks are waiting."""

LASTING = 5.0
"""Seconds over which the load is smoothed to trim: slow, since a thread too many costs little."""

TRIM_AFTER = 3.0
"""Seconds that a size must have been too large."""

USED_UP = 0.85
"""Share of its cores at which a process counts as busy computing: the rest goes to switches and to neighbours."""

COMPUTING_SHARE = 0.3
"""Share of the process's CPU time that the pool's threads must have for its being used up to say anything of them: the
loop of a server alone can fill a core while the handlers in the pool only wait."""

EVEN, EVEN_COUNT = 0.05, 2
"""Share, and number, by which the tasks that come and those that end may differ while they count as just as many."""

FULL = 0.9
"""Share of the threads that the law must find in use for them to have no rest."""

PAID = 0.9
"""Share of what further threads should have brought that they must have brought for more of them."""

GIL_RELEASED = 1.25
"""Cores in use beyond which tasks must be computing without the GIL, so that all cores count."""

TRIAL_TIME = 1.0
"""Seconds after which a growth must have raised the throughput."""

PROBE_AFTER = 5.0
"""Seconds with tasks always waiting after which fewer threads are tried."""

PROBE_TIME = 2.0
"""Seconds for which they are tried."""

PAYS = 1.05
"""Ratio of throughputs from which on a growth has helped."""

HARMLESS = 0.97
"""Ratio of throughputs down to which fewer threads have done no harm."""

FIRST_HOLD, LONGEST_HOLD = 5.0, 160.0
"""Seconds without growth, or without a probe, after one that did not help; doubled each time."""

ENOUGH = 20
"""Ended tasks without which a throughput says nothing."""

FAST_INTERVAL = 0.05
"""Seconds between two samples while tasks are queued."""

SLOW_INTERVAL = 1.0
"""Seconds between two samples while nothing is queued but the pool is larger than its least."""

LEAST_WINDOW, LONGEST_WINDOW = 0.02, 1.5
"""Seconds between samples: shorter ones say too little, longer ones mix what was with what is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pool at one moment. Counts are since its beginning.

    Attributes:
        now: monotonic seconds.
        size: threads allowed at present.
        min_size, max_size: the bounds.
        queued: tasks that wait.
        oldest_wait: seconds that the first of them has waited.
        busy: threads that run a task, stuck ones left out.
        idle: threads that do not.
        starting: threads on their way, which will take queued tasks.
        arrived: tasks accepted.
        ended: tasks run to their end.
        waited: seconds that those have waited, in all.
        worked: seconds that those have run, in all.
        running: seconds for which the tasks of now have run, in all, stuck ones left out.
        cpu: CPU seconds of the process.
        computed: CPU seconds of the pool's own threads; None: not known.
        cores: cores that the process may use.
        gil: whether only one thread computes at a time.
        counts: whether the sample says anything: not while paused, nor while what the tasks need is down.
    """

    now: float
    size: int
    min_size: int
    max_size: int
    queued: int = 0
    oldest_wait: float = 0.0
    busy: int = 0
    idle: int = 0
    starting: int = 0
    arrived: int = 0
    ended: int = 0
    waited: float = 0.0
    worked: float = 0.0
    running: float = 0.0
    cpu: float = 0.0
    computed: float | None = None
    cores: int = 1
    gil: bool = True
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """A change whose effect is being measured: from which size, with which throughput, since when.

    ``callers``: it was made because just as many tasks came as ended.
    """

    size: int
    rate: float
    since: float
    ended: int
    callers: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What sizing remembers from sample to sample.

    ``arrivals`` and ``rate`` are tasks a second, ``work`` is seconds of one, ``load`` is threads in use, in the mean.
    """

    size: int
    last: Sample | None = None
    fresh: bool = True
    arrivals: float = 0.0
    rate: float = 0.0
    work: float = 0.0
    cpu: float = 0.0
    computed: float | None = None
    load: float = 0.0
    excess_since: float | None = None
    late: Trial | None = None
    """Since when tasks have been waiting without a pause, and the count of ended ones then."""
    growth: Trial | None = None
    probe: Trial | None = None
    no_growth_before: float = 0.0
    no_probe_before: float = 0.0
    hold: float = FIRST_HOLD


def next_step(memory: Memory, sample: Sample) -> Memory:
    """What to remember after a sample; its ``size`` is the size to have, between ``min_size`` and ``max_size``."""
    size = min(max(sample.size, sample.min_size), sample.max_size)
    last = memory.last
    if last is None or not (last.counts and sample.counts) or sample.now - last.now > LONGEST_WINDOW:
        return _begin_again(memory, sample, size)
    if sample.now - last.now < LEAST_WINDOW:
        return replace(memory, size=size)
    memory = _measure(replace(memory, size=size), last, sample)
    if memory.probe is not None:
        return _judge_probe(memory, memory.probe, sample)
    if memory.growth is not None:
        memory = _judge_growth(memory, memory.growth, sample)
    if memory.late is None:
        return _trim(memory, sample)
    return _probe(_grow(memory, last, sample), sample)


def _begin_again(memory: Memory, sample: Sample, size: int) -> Memory:
    """Nothing can be said of the time since the last sample; what it ended is neither load nor silence."""
    return Memory(
        size,
        sample,
        load=memory.load,
        no_growth_before=memory.no_growth_before,
        no_probe_before=memory.no_probe_before,
        hold=memory.hold,
    )


def _measure(memory: Memory, last: Sample, sample: Sample) -> Memory:
    """Little's law has three terms: arrivals per second, seconds of work, and threads in use."""
    window = sample.now - last.now
    recent = 1.0 if memory.fresh else 1.0 - math.exp(-window / RECENT)
    lasting = 1.0 if memory.fresh and not memory.load else 1.0 - math.exp(-window / LASTING)
    ended = sample.ended - last.ended
    work, late = memory.work, None
    if ended:
        mean = (sample.worked - last.worked) / ended
        work = mean if not work else work + recent * (mean - work)
    if _is_late(last, sample, work):
        late = memory.late or Trial(sample.size, 0.0, sample.now, sample.ended)
    return replace(
        memory,
        last=sample,
        fresh=False,
        arrivals=memory.arrivals + recent * ((sample.arrived - last.arrived) / window - memory.arrivals),
        rate=memory.rate + recent * (ended / window - memory.rate),
        cpu=memory.cpu + recent * ((sample.cpu - last.cpu) / window - memory.cpu),
        computed=_computed(memory, last, sample, recent),
        load=memory.load + lasting * (_load(last, sample, memory.size) - memory.load),
        work=work,
        late=late,
    )


def _load(last: Sample, sample: Sample, size: int) -> float:
    """Threads in use between two samples: the work that was done, by the time it took."""
    done = sample.worked + sample.running - last.worked - last.running
    # What a task was stuck for comes all at once when it ends, and leaves `running` all at once when it is found.
    return min(max(done / (sample.now - last.now), 0.0), float(size))


def _is_late(last: Sample, sample: Sample, work: float) -> bool:
    """Tasks wait, and no thread is about to take them."""
    if not sample.queued or sample.idle or sample.starting:
        return False
    limit = min(WAIT_LIMIT, max(LEAST_WAIT_LIMIT, WAIT_SHARE * work))
    ended = sample.ended - last.ended
    if ended >= ENOUGH and sample.oldest_wait < LONG_WAIT:
        return sample.waited - last.waited >= ended * limit  # how long the first one waits just now is chance
    return sample.oldest_wait >= limit


def _grow(memory: Memory, last: Sample, sample: Sample) -> Memory:
    if sample.now < memory.no_growth_before or memory.size >= sample.max_size:
        return memory
    assert memory.late is not None
    if memory.late.since == sample.now and sample.oldest_wait < LONG_WAIT:
        return memory  # once is chance, or a moment in which the whole machine stood still
    anything_ended = sample.ended > last.ended
    if anything_ended and is_used_up(memory.cpu, sample.cores, sample.gil) and _computes(memory):
        return memory
    callers = _callers(memory, last, sample) if anything_ended else 0
    wanted = max(callers, _wanted(memory, sample)) if anything_ended else memory.size + max(1, memory.size // 4)
    # Not further than fourfold: the first tasks may not be like the others.
    size = min(wanted, memory.size * 4, memory.size + sample.queued, sample.max_size)
    if size <= memory.size:
        return memory
    # With callers that wait, what the threads there are can do is known exactly.
    rate = memory.size / memory.work if callers else memory.rate
    growth = memory.growth or Trial(memory.size, rate, sample.now, sample.ended, callers > 0)
    # What held tasks back so far must not look like little load to `_trim`.
    load = max(memory.load, min(max(memory.arrivals * memory.work, callers), float(size)))
    return replace(memory, size=size, growth=growth, load=load)


def _wanted(memory: Memory, sample: Sample) -> int:
    load = memory.arrivals * memory.work
    wanted = round(load + max(MARGIN * math.sqrt(load), sample.queued * memory.work / DRAIN_TIME))
    assert memory.late is not None
    lasts = sample.now - memory.late.since >= TRIAL_TIME
    if wanted <= memory.size and lasts and sample.oldest_wait >= max(LONG_WAIT, memory.work / 4):
        return memory.size + max(1, memory.size // 8)  # the law's terms do not tell all: tasks of very different kinds
    return wanted


def _callers(memory: Memory, last: Sample, sample: Sample) -> int:
    """How many tasks are there all the time, if just as many come as end, and they only wait; 0 else.

    Whoever asks again only when he has been answered brings no more tasks than the threads there are can end, and the
    law asks for one thread more at a time. But then the tasks that wait or run are as many as there are callers. To go
    on with that, the threads added so far must have paid: else what the tasks wait for is scarce.
    """
    if memory.computed is None or memory.computed >= COMPUTING_SHARE:
        return 0
    ended, window, growth = sample.ended - last.ended, sample.now - last.now, memory.growth
    is_even = abs(sample.arrived - last.arrived - ended) <= max(EVEN_COUNT, EVEN * ended)
    if growth is None:
        assert memory.late is not None
        is_new = sample.now - memory.late.since < TRIAL_TIME and sample.queued >= memory.size
        goes_on = is_new and _load(last, sample, memory.size) >= FULL * memory.size
    else:
        goes_on = growth.callers and ended * growth.size >= PAID * growth.rate * window * memory.size
    return sample.queued + sample.busy if is_even and ended >= ENOUGH / 2 and goes_on else 0


def _computed(memory: Memory, last: Sample, sample: Sample, recent: float) -> float | None:
    if sample.computed is None or last.computed is None:
        return None
    rate = (sample.computed - last.computed) / (sample.now - last.now)
    return rate if memory.computed is None else memory.computed + recent * (rate - memory.computed)


def _computes(memory: Memory) -> bool:
    """Whether it is the tasks that use up the core. If others do, and the tasks wait, more of them can wait at once."""
    return memory.computed is None or memory.computed >= COMPUTING_SHARE * memory.cpu


def is_used_up(cpu: float, cores: int, gil: bool) -> bool:
    """Whether a process that uses ``cpu`` cores has none left for another thread."""
    usable = 1 if gil and cpu < GIL_RELEASED else cores
    return cpu >= USED_UP * usable


def _judge_growth(memory: Memory, growth: Trial, sample: Sample) -> Memory:
    """Take back a growth that has not raised the throughput though tasks were always waiting."""
    if sample.now - growth.since < TRIAL_TIME:
        return memory
    if memory.late is None:
        return replace(memory, growth=None, hold=FIRST_HOLD)
    ended = sample.ended - growth.ended
    rate = ended / (sample.now - growth.since)
    if ended < ENOUGH or not growth.rate or rate >= PAYS * growth.rate:
        return replace(memory, growth=None)
    return replace(
        memory,
        size=max(min(growth.size, memory.size), sample.min_size),
        growth=None,
        no_growth_before=sample.now + memory.hold,
        hold=min(2 * memory.hold, LONGEST_HOLD),
    )


def _probe(memory: Memory, sample: Sample) -> Memory:
    """Try fewer threads when tasks have been waiting for long and more threads were no answer."""
    late = memory.late
    if (
        late is None
        or memory.growth is not None
        or memory.size <= sample.min_size
        or sample.now < memory.no_probe_before
    ):
        return memory
    ended, seconds = sample.ended - late.ended, sample.now - late.since
    if seconds < PROBE_AFTER or ended < ENOUGH:
        return memory
    size = max(sample.min_size, memory.size - max(1, memory.size // 4))
    return replace(memory, size=size, probe=Trial(memory.size, ended / seconds, sample.now, sample.ended))


def _judge_probe(memory: Memory, probe: Trial, sample: Sample) -> Memory:
    if memory.late is not None and sample.now - probe.since < PROBE_TIME:
        return memory
    seconds = sample.now - probe.since
    if memory.late is None or (sample.ended - probe.ended) / seconds >= HARMLESS * probe.rate:
        # Kept; and growth must not take it back before the next probe has been made.
        quiet = sample.now + 2 * PROBE_AFTER
        return replace(memory, probe=None, late=None, no_growth_before=max(memory.no_growth_before, quiet))
    return replace(
        memory,
        size=min(max(probe.size, sample.min_size), sample.max_size),
        probe=None,
        late=None,
        no_probe_before=sample.now + 2 * memory.hold,
        hold=min(2 * memory.hold, LONGEST_HOLD),
    )


def _trim(memory: Memory, sample: Sample) -> Memory:
    """Give back the threads beyond the load and its slack, once that has lasted."""
    excess = memory.size > max(sample.min_size, memory.load + SLACK * math.sqrt(memory.load) + 0.5)
    if not excess:
        return replace(memory, excess_since=None)
    if memory.excess_since is None:
        return replace(memory, excess_since=sample.now)
    if sample.now - memory.excess_since < TRIM_AFTER:
        return memory
    size = max(sample.min_size, min(memory.size - 1, round(memory.load + MARGIN * math.sqrt(memory.load))))
    return replace(memory, size=size, excess_since=None)


def checked_sizes(min_size: int, max_size: int | None) -> tuple[int, int]:
    """The two bounds of a pool; ``max_size`` None is the same as ``min_size``.

    Raises:
        ValueError: ``min_size`` below 1, or ``max_size`` below ``min_size``.
        TypeError: not integers.
    """
    lowest = operator.index(min_size)
    highest = lowest if max_size is None else operator.index(max_size)
    if lowest < 1:
        raise ValueError(f"min_size must be 1 or more, not {lowest}")
    if highest < lowest:
        raise ValueError(f"max_size ({highest}) is smaller than min_size ({lowest})")
    return lowest, highest
