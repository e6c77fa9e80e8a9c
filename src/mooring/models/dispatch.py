"""The verdict: does a route run on the loop thread, or in the pool? Learnt from what its calls cost.

On the loop a call that is quick costs nothing extra, one that is late holds up everybody, for as long as it lasts or
until the watchdog takes the role from it, and one that announces its wait costs a hand-over of the role. In the pool
every call costs a hand-over of the message. So what is compared is an *expected* cost per call: the share of dear
calls times their price, against the price of the pool. One late call among a hundred thousand changes nothing; every
tenth one sends the route to the pool at once.

A route in the pool is watched there: when a whole trial of its calls would have been cheap on the loop it comes back.
If it fails again soon, the next trial is twice as long, so that it does not flap.

The verdict is per route: a Router's key, a ``route=`` key, or the whole function. Where calls of one route differ it
belongs to the connection, too: one whose last call was dear is served by the pool until its own calls have been quick
again, while the others stay on the loop. If these are calls of other routes, the one that was dear pays for them, until
it is sent to the pool itself.

Everything here is arithmetic on numbers that are handed in: no clock, no thread.
"""

from __future__ import annotations

from dataclasses import dataclass

POOL_PRICE = 20e-6
"""Seconds: what a message costs more in the pool, two switches of thread included."""

ANNOUNCED_PRICE = 60e-6
"""Seconds: what everybody pays for a hand-over of the role that was announced."""

LATE = 0.001
"""Seconds: a call that takes longer on the loop is late; others wait for it noticeably."""

LONGEST_STALL = 0.006
"""Seconds after which the watchdog has taken the role, so that a late call costs the others no more than this."""

WINDOW = 1024
"""Calls after which old experience counts half."""

FEW = 400
"""Calls below which experience is thin: a first late call is judged as if so many had been made, so that one alone
does not decide, and a few do."""

FIRST_TRIAL = 64
LONGEST_TRIAL = 1 << 16
"""Quick calls in the pool that bring a route back to the loop: the first time, and at most."""

QUICK_AGAIN = 8
"""Quick calls in a row that clear a connection after a late one."""

QUICK_AGAIN_ANNOUNCED = 3
"""The same after an announced one: so many calls in the pool cost about as much as another hand-over of the role."""

FIRST_SHARE = 0.05
"""Weight of a connection's first late call in the judgement of its route: from then on the connection is served by the
pool by itself, and if only few connections are slow nothing more happens to the others."""

SLOW_SETBACK = 16
"""Quick calls in the pool that one slow call outweighs."""


@dataclass(slots=True)
class Experience:
    """What is known of a route's calls. Numbers only; who writes them sees to it that there is one writer at a time.

    Attributes:
        on_loop: the verdict.
        calls: calls on the loop that count, old ones half.
        cost: seconds that these cost all others, old ones half.
        trial: quick calls that the pool must see before the route comes back, doubled at each failure.
        quick: such calls so far, less what slow ones among them took away.
    """

    on_loop: bool = True
    calls: float = 0.0
    cost: float = 0.0
    trial: int = FIRST_TRIAL // 2
    quick: int = 0


def price(seconds: float, *, announced: bool, taken: bool) -> float:
    """What a call on the loop cost everybody else.

    Args:
        seconds: how long it took, by the wall clock.
        announced: it said that it would wait, and the role moved.
        taken: the watchdog took the role from it.

    Returns:
        Seconds. A call that was late for longer than the watchdog needs, and from which the role was not taken all the
        same, costs nothing: then the watchdog did not run either, be it that the whole process did not, or that the
        call kept the GIL. The pool would have helped in neither case.
    """
    if announced:
        return ANNOUNCED_PRICE
    if seconds <= LATE:
        return 0.0
    if taken:
        return LONGEST_STALL
    return seconds if seconds <= 2 * LONGEST_STALL else 0.0


def dear_share(*, first: bool, announced: bool) -> float:
    """The weight of a dear call for its route: full, if its connection had one before.

    A call that announced its wait always counts in full: it costs little, and on connections that are short all
    calls may be the first.
    """
    return FIRST_SHARE if first and not announced else 1.0


def quick_calls_owed(*, announced: bool) -> int:
    """How many quick calls in the pool clear a connection after a dear one."""
    return QUICK_AGAIN_ANNOUNCED if announced else QUICK_AGAIN


def displaced_price(owed: int, *, announced: bool) -> float:
    """What a dear call in the pool cost, if its route's verdict is the loop, and other routes have the connection, too.

    The quick calls since the last dear one were served by the pool for its sake, which would not be if the route's
    verdict were the pool.

    Args:
        owed: quick calls that the connection still owed when it came.
        announced: it said that it would wait.
    """
    return max(0, quick_calls_owed(announced=announced) - owed) * POOL_PRICE


def count_on_loop(experience: Experience, calls: int, cost: float) -> None:
    """Some calls were served on the loop, and cost the others so much together; changes the verdict if need be."""
    experience.calls += calls
    while experience.calls > WINDOW:  # before the new cost, which is not old yet
        experience.calls /= 2
        experience.cost /= 2
    experience.cost += cost
    if cost and experience.on_loop and experience.cost > POOL_PRICE * max(experience.calls, FEW):
        experience.on_loop = False
        experience.quick = 0
        # Failing soon after it came back: the next trial is longer. Staying long on the loop makes up for it. (Of a
        # long stay, half a window at least is counted.)
        if experience.calls < WINDOW // 2:
            experience.trial = min(experience.trial * 2, LONGEST_TRIAL)
        else:
            experience.trial = FIRST_TRIAL


def count_in_pool(experience: Experience, seconds: float, *, announced: bool) -> None:
    """A call was served in the pool; brings the route back if its trial is over.

    Args:
        seconds: how long it took, by the wall clock.
        announced: it said that it would wait.
    """
    if announced or seconds > LATE:
        experience.quick = max(0, experience.quick - SLOW_SETBACK)
        return
    experience.quick += 1
    if experience.quick >= experience.trial:
        experience.on_loop = True
        experience.quick = 0
        experience.calls = experience.cost = 0.0
