"""The verdict, as a table of cases: numbers in, "loop" or "pool" out. No clock and no thread."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from mooring.models.dispatch import (
    ANNOUNCED_PRICE,
    FIRST_TRIAL,
    LATE,
    LONGEST_STALL,
    LONGEST_TRIAL,
    POOL_PRICE,
    QUICK_AGAIN,
    Experience,
    count_in_pool,
    count_on_loop,
    dear_share,
    displaced_price,
    price,
    quick_calls_owed,
)


@dataclass(frozen=True)
class Made:
    """One call, as the engine sees it."""

    seconds: float = 20e-6
    announced: bool = False
    taken: bool = False


QUICK = Made()
SLEPT = Made(0.1, taken=True)
LATE_UNTAKEN = Made(0.004)
STALLED = Made(0.5)
ANNOUNCED = Made(30e-6, announced=True)
ANNOUNCED_LONG = Made(0.02, announced=True)


@dataclass
class Route:
    """A route that is dispatched as the hybrid model does it, and counts where its calls ran.

    Several routes on the same connections share ``trials`` and are not ``alone``.
    """

    alone: bool = True
    experience: Experience = field(default_factory=Experience)
    trials: dict[int, int] = field(default_factory=dict)
    on_loop: int = 0
    changes: int = 0

    def call(self, made: Made, connection: int = 0) -> None:
        trial = self.trials.get(connection, 0)
        before = self.experience.on_loop
        if before and trial <= 0:
            self.on_loop += 1
            cost = price(made.seconds, announced=made.announced, taken=made.taken)
            if cost:
                cost *= dear_share(first=trial == 0, announced=made.announced)
                self.trials[connection] = quick_calls_owed(announced=made.announced)
            count_on_loop(self.experience, 1, cost)
        else:
            quick = made.seconds <= LATE and not made.announced
            if trial > 0:
                if quick:
                    self.trials[connection] = trial - 1 or -1
                elif before:
                    if not self.alone:
                        count_on_loop(self.experience, 0, displaced_price(trial, announced=made.announced))
                    self.trials[connection] = quick_calls_owed(announced=made.announced)
            if not before:
                count_in_pool(self.experience, made.seconds, announced=made.announced)
        self.changes += self.experience.on_loop is not before

    def calls(self, made: Iterable[Made], connections: int = 1) -> Route:
        for call, connection in zip(made, itertools.cycle(range(connections)), strict=False):
            self.call(call, connection)
        return self

    @property
    def place(self) -> str:
        return "loop" if self.experience.on_loop else "pool"


def every(period: int, made: Made, total: int) -> list[Made]:
    return [made if number % period == period - 1 else QUICK for number in range(total)]


# The price of one call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (QUICK, 0.0),
        (Made(LATE), 0.0),
        (LATE_UNTAKEN, 0.004),
        (SLEPT, LONGEST_STALL),  # however long: the others have waited only until the role was taken
        (Made(3600.0, taken=True), LONGEST_STALL),
        (Made(30e-6, taken=True), 0.0),  # a needless taking, or one between two calls: not the call's doing
        (STALLED, 0.0),  # nobody took the role in half a second: the process was stopped, or the GIL was kept
        (ANNOUNCED, ANNOUNCED_PRICE),
        (ANNOUNCED_LONG, ANNOUNCED_PRICE),  # the others did not wait for it
    ],
)
def test_a_call_costs_what_the_others_waited_for_it(made: Made, expected: float) -> None:
    assert price(made.seconds, announced=made.announced, taken=made.taken) == expected


# The verdict ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "connections", "place"),
    [
        pytest.param([QUICK] * 1000, 1, "loop", id="all quick"),
        pytest.param([SLEPT], 1, "loop", id="the very first call slept"),
        pytest.param([LATE_UNTAKEN], 1, "loop", id="the very first call was late, by its own or the machine's doing"),
        pytest.param([*[QUICK] * 50, LATE_UNTAKEN, *[QUICK] * 50], 1, "loop", id="one late call, descheduled"),
        pytest.param([*[QUICK] * 50, SLEPT, *[QUICK] * 50], 1, "loop", id="one late call, waited"),
        pytest.param([*[QUICK] * 50_000, SLEPT, *[QUICK] * 50_000], 1, "loop", id="one among 100,000"),
        pytest.param(every(10_000, SLEPT, 100_000), 47, "loop", id="one in 10,000"),
        pytest.param(every(1_000, SLEPT, 20_000), 47, "loop", id="one in 1,000: 6 us a call, less than the pool's 20"),
        pytest.param(every(100, SLEPT, 5_000), 1, "pool", id="one in 100: 60 us a call"),
        pytest.param(every(10, SLEPT, 1_000), 47, "pool", id="every tenth, on all connections"),
        pytest.param(every(10, LATE_UNTAKEN, 1_000), 47, "pool", id="every tenth on all connections, by 4 ms"),
        pytest.param([SLEPT] * 100, 100, "pool", id="all sleep, each on a connection of its own"),
        pytest.param([ANNOUNCED] * 1000, 200, "pool", id="announces every time but takes 30 us"),
        pytest.param([ANNOUNCED] * 1000, 1000, "pool", id="announces every time, each on a connection of its own"),
        pytest.param(every(10, ANNOUNCED, 5_000), 47, "loop", id="every tenth announces: 6 us a call"),
        pytest.param([STALLED] * 100, 1, "loop", id="the machine stood still"),
    ],
)
def test_the_verdict_follows_what_calls_cost_on_the_average(made: list[Made], connections: int, place: str) -> None:
    assert Route().calls(made, connections).place == place


def test_every_tenth_call_late_is_noticed_soon() -> None:
    route = Route()
    dear = 0
    for number, call in enumerate(every(10, SLEPT, 10_000)):
        route.call(call, number % 7)
        dear += call is SLEPT
        if route.place == "pool":
            break
    assert dear <= 10


def test_a_connection_that_always_announces_is_served_by_the_pool_and_the_others_are_not() -> None:
    route = Route()
    for _ in range(1000):
        route.call(ANNOUNCED, connection=1)
        route.call(QUICK, connection=2)
    assert route.place == "loop"
    assert route.on_loop == 1000 + 1


def test_fast_and_slow_on_different_connections_of_one_function_are_told_apart() -> None:
    route = Route()
    for _ in range(500):
        for slow in range(8):
            route.call(SLEPT, connection=slow)
        for quick in range(100, 150):
            route.call(QUICK, connection=quick)
    assert route.place == "loop"
    assert route.on_loop == 500 * 50 + 8, "each slow connection was on the loop once"


def test_a_connection_that_became_quick_again_comes_back() -> None:
    route = Route().calls([SLEPT, *[QUICK] * QUICK_AGAIN])
    assert route.trials[0] <= 0
    before = route.on_loop
    route.call(QUICK)
    assert route.on_loop == before + 1


def test_a_slow_call_in_the_pool_keeps_its_connection_there() -> None:
    route = Route().calls([SLEPT, *[QUICK, QUICK, SLEPT] * 100])
    assert route.on_loop == 1


@pytest.mark.parametrize(
    ("owed", "announced", "calls"),
    [
        (QUICK_AGAIN, False, 0),
        (QUICK_AGAIN - 4, False, 4),
        (1, True, 2),
        (QUICK_AGAIN, True, 0),  # a late one came before, and no quick call since
    ],
)
def test_a_dear_call_in_the_pool_costs_what_the_quick_ones_before_it_paid(
    owed: int, announced: bool, calls: int
) -> None:
    assert displaced_price(owed, announced=announced) == calls * POOL_PRICE


@pytest.mark.parametrize(("quick_calls", "dear"), [(4, SLEPT), (2, ANNOUNCED)])
def test_a_slow_route_among_quick_calls_of_a_few_connections_goes_to_the_pool_and_they_do_not(
    quick_calls: int, dear: Made
) -> None:
    trials: dict[int, int] = {}
    quick, slow = Route(alone=False, trials=trials), Route(alone=False, trials=trials)

    def calls(rounds: int) -> None:
        for number in range(rounds):
            for _ in range(quick_calls):
                quick.call(QUICK, connection=number % 4)
            slow.call(dear, connection=number % 4)

    calls(300)
    assert (quick.place, slow.place) == ("loop", "pool")
    calls(16)  # until the connections have cleared themselves
    before = quick.on_loop
    calls(1000)
    assert quick.on_loop == before + quick_calls * 1000
    assert slow.changes == 1


# Coming back ----------------------------------------------------------------------------------------------------------


def slow_route() -> Route:
    route = Route().calls([SLEPT] * 100, 100)
    route.trials.clear()
    assert route.place == "pool"
    return route


def test_a_slow_route_that_became_quick_comes_back_and_stays() -> None:
    route = slow_route()
    assert route.calls([QUICK] * 5_000, 10).place == "loop"
    assert route.changes == 2


def test_a_route_that_announces_in_the_pool_does_not_come_back() -> None:
    assert slow_route().calls([ANNOUNCED] * 10_000, 10).place == "pool"


@pytest.mark.parametrize("period", [2, 5, 10])
def test_a_route_that_is_partly_slow_does_not_come_back(period: int) -> None:
    route = slow_route()
    route.calls(every(period, SLEPT, 10_000), 50)
    assert route.place == "pool"
    assert route.changes == 1


def test_a_route_that_changes_its_mind_does_not_flap() -> None:
    """Quick for a while, then slow, again and again: each time it must be quick for twice as long."""
    route = slow_route()
    for _ in range(100):
        route.calls([QUICK] * 100, 10)
        route.trials.clear()
        route.calls([SLEPT] * 40, 40)
        route.trials.clear()
    assert route.changes <= 6
    assert route.experience.trial >= 128


def test_the_trial_grows_no_further_than_its_limit() -> None:
    route = slow_route()
    for _ in range(30):
        while route.place == "pool":
            route.call(QUICK)
        while route.place == "loop":
            route.trials.clear()
            route.call(SLEPT)
    assert route.experience.trial == LONGEST_TRIAL


def test_a_long_stay_on_the_loop_makes_up_for_failures() -> None:
    route = slow_route()
    for _ in range(3):
        while route.place == "pool":
            route.call(QUICK)
        while route.place == "loop":
            route.trials.clear()
            route.call(SLEPT)
    assert route.experience.trial > FIRST_TRIAL
    while route.place == "pool":
        route.call(QUICK)
    route.calls([QUICK] * 10_000)
    while route.place == "loop":
        route.trials.clear()
        route.call(SLEPT)
    assert route.experience.trial == FIRST_TRIAL


def test_old_calls_count_less_than_new_ones() -> None:
    route = Route().calls([QUICK] * 1_000_000)
    for dear in range(1, 1000):
        route.call(SLEPT, connection=dear)
        if route.place == "pool":
            break
    assert dear < 150, "a million quick calls of long ago do not outweigh what is so now"


def test_the_price_of_the_pool_is_between_nothing_and_a_hand_over_of_the_role() -> None:
    assert 0 < POOL_PRICE < ANNOUNCED_PRICE < LONGEST_STALL
