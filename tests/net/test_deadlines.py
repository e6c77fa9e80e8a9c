"""The deadline ring: looks come in time, never early, once, and cost nothing while nothing is due."""

from __future__ import annotations

import math
import random
import weakref

from mooring.net.deadlines.ring import LONGEST_LOOK, TICK, DeadlineRing


class Entry:
    """Something to be looked at."""

    def __init__(self) -> None:
        self._tick = 0


def test_an_entry_is_due_at_its_time_and_not_before() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entry = Entry()
    ring.arm(entry, when=101.0, now=100.0)
    assert ring.due(100.99) == []
    assert ring.due(101.0 + TICK) == [entry]
    assert ring.due(200.0) == []


def test_no_look_is_early_and_none_is_later_than_the_ring_promises() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    chance = random.Random(7)
    waiting = {}
    for _ in range(500):
        entry = Entry()
        waiting[entry] = 100.0 + chance.uniform(0.0, LONGEST_LOOK)
        ring.arm(entry, waiting[entry], now=100.0)
    now = 100.0
    while waiting:
        now += 0.01
        for entry in ring.due(now):
            when = waiting.pop(entry)
            late = now - when
            assert late >= 0
            assert late <= (2 * TICK if when < 105 else 11 * TICK)
        assert now < 100.0 + LONGEST_LOOK + 1


def test_a_deadline_that_moved_closer_brings_the_look_forward_and_the_old_one_is_passed_over() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entry = Entry()
    ring.arm(entry, when=110.0, now=100.0)
    ring.arm(entry, when=101.0, now=100.0)
    assert ring.due(101.1) == [entry]
    assert ring.due(111.0) == []


def test_a_deadline_that_moved_away_costs_nothing_until_the_planned_look() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entry = Entry()
    ring.arm(entry, when=101.0, now=100.0)
    for _ in range(1000):
        ring.arm(entry, when=105.0, now=100.0)
    assert len(ring._slots) == 1
    assert ring.due(101.1) == [entry]  # too early for 105: the owner looks, and arms it again


def test_an_entry_can_be_armed_again_after_its_look() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entry = Entry()
    for now in (100.0, 102.0, 104.0):
        ring.arm(entry, when=now + 1, now=now)
        assert ring.due(now + 1.1) == [entry]


def test_a_time_that_has_passed_is_due_at_once() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entry = Entry()
    ring.arm(entry, when=50.0, now=100.0)
    assert ring.due(100.0) == [entry]


def test_no_look_is_planned_far_ahead() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entry = Entry()
    ring.arm(entry, when=100.0 + 3600, now=100.0)
    look = ring.next_look
    assert look is not None
    assert look <= 100.0 + LONGEST_LOOK + 1
    assert ring.due(look) == [entry]


def test_the_ring_remembers_no_more_entries_that_are_gone_than_such_that_are_not() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    kept = Entry()
    ring.arm(kept, when=130.0, now=100.0)
    gone = []
    for _ in range(50):
        entry = Entry()
        ring.arm(entry, when=130.0, now=100.0)
        ring.arm(entry, when=102.0, now=100.0)
        ring.forget(entry)
        gone.append(weakref.ref(entry))
    del entry
    assert sum(ref() is not None for ref in gone) <= 1
    assert ring.due(131.0) == [kept]


def test_of_many_that_are_due_so_many_are_taken_at_a_time_in_their_order_and_the_others_stay_due() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    entries = [Entry() for _ in range(10)]
    for entry in entries:
        ring.arm(entry, when=101.0, now=100.0)
    ring.forget(entries[1])
    later = Entry()
    ring.arm(later, when=101.5, now=100.0)
    now = 102.0
    assert ring.due(now, 4) == [entries[0], *entries[2:5]]
    assert ring.next_look <= now
    ring.arm(entries[0], when=now, now=now)
    assert ring.due(now, 4) == entries[5:9]
    assert ring.due(now, 4) == [entries[9], later, entries[0]]
    assert ring.next_look == math.inf


def test_the_next_look_is_the_earliest_and_none_when_the_ring_is_empty() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    assert ring.next_look == math.inf
    for when in (103.0, 101.0, 102.0):
        ring.arm(Entry(), when=when, now=100.0)
    look = ring.next_look
    assert look is not None
    assert 101.0 <= look <= 101.0 + TICK
    assert len(ring.due(104.0)) == 3
    assert ring.next_look == math.inf


def test_far_deadlines_share_their_slots() -> None:
    ring: DeadlineRing[Entry] = DeadlineRing()
    for number in range(1000):
        ring.arm(Entry(), when=110.0 + number / 1000, now=100.0)
    assert len(ring._slots) <= 3
