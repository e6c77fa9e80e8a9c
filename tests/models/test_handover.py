"""The loop's threads by themselves: tokens, spares, takings and the watchdog, led by a role of the test's own."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waiting import wait_until

from mooring.models import handover as handover_module
from mooring.models.handover import SPARES_KEPT, Handover, LoopThread
from mooring.net.loop.leading import RoleLost
from mooring.net.rare import RareLog
from mooring.threads.blocking import about_to_block, blocking

logger = logging.getLogger("mooring")


class Role:
    """A loop that does what the test orders: one service after the other.

    ``leads`` has the threads that are in ``run`` and hold the role; more than one is what must never be.
    """

    def __init__(self) -> None:
        self.leader: int | None = None
        self.handover: Handover
        self.leads: list[LoopThread] = []
        self.led: list[str] = []
        self._orders: list[Callable[[], None] | None] = []
        self._ordered = threading.Semaphore(0)

    def order(self, service: Callable[[], None] | None) -> None:
        """Have the leader run this in a service; None: end."""
        self._orders.append(service)
        self._ordered.release()

    def run(self) -> None:
        thread = self.handover.leader
        assert thread is not None
        self.begin(thread)
        while True:
            self._ordered.acquire()
            service = self._orders.pop(0)
            if service is None:
                self.leads.remove(thread)
                self.handover.end()
                return
            self.leads.remove(thread)
            thread.open_service()
            if self.handover.watchdog_parked:
                self.handover.wake_watchdog()
            service()
            if not thread.end_service():
                raise RoleLost
            self.begin(thread)

    def begin(self, thread: LoopThread) -> None:
        assert not self.leads, "two lead"
        assert self.leader is None or self.leader == threading.get_ident()
        self.leads.append(thread)
        self.led.append(thread.name)


@pytest.fixture
def role() -> Iterator[Role]:
    """A started engine without a server; ended after the test."""
    with contextlib.ExitStack() as stack:
        yield make(stack, limit=2)


def make(stack: contextlib.ExitStack, limit: int) -> Role:
    role = Role()
    role.handover = Handover(role, role.run, limit=limit, name="test", rare=RareLog(logger))
    role.handover.start()
    stack.callback(role.order, None)
    wait_until(lambda: role.handover.parked, what="the first spare")
    return role


def waiting_for(event: threading.Event) -> Callable[[], None]:
    """A service that lasts until then."""

    def service() -> None:
        event.wait(10)

    return service


def unstarted(threads: int) -> tuple[Handover, list[LoopThread]]:
    """The transitions alone: nothing runs."""
    role = Role()
    handover = Handover(role, role.run, limit=8, name="test", rare=RareLog(logger))
    made = [LoopThread(f"t{number}") for number in range(threads)]
    handover.leader = made[0]
    return handover, made


# The transitions -----------------------------------------------------------------------------------------------------


def test_the_token_is_free_exactly_while_its_thread_serves_as_the_leader() -> None:
    """Invariant 2."""
    thread = LoopThread("t")
    assert not thread.is_serving
    thread.open_service()
    assert thread.is_serving
    assert thread.end_service()
    assert not thread.is_serving


def test_of_server_and_takers_exactly_one_gets_the_role() -> None:
    """Invariants 3 and 4."""
    handover, (server, spare, other) = unstarted(3)
    server.open_service()
    assert handover.win_role(server, spare, announced=False)
    assert not handover.win_role(server, other, announced=True), "a second taker"
    assert not server.end_service(), "the server itself"
    assert handover.leader is spare
    assert (handover.taken, handover.announced, handover.late) == (1, 0, 1)


def race() -> list[str]:
    """A server that ends its service and three takers, all at the same moment; returns who won."""
    handover, (server, *spares) = unstarted(4)
    server.open_service()
    barrier = threading.Barrier(4)
    won: list[str] = []

    def take(spare: LoopThread) -> None:
        barrier.wait()
        if handover.win_role(server, spare, announced=False):
            won.append(spare.name)

    def end() -> None:
        barrier.wait()
        if server.end_service():
            won.append("server")

    threads = [threading.Thread(target=take, args=(spare,)) for spare in spares]
    threads.append(threading.Thread(target=end))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_of_threads_that_try_at_the_same_moment_one_wins() -> None:
    """Invariant 4, with real threads."""
    for _ in range(200):
        assert len(race()) == 1


def test_a_service_that_has_ended_cannot_be_taken_and_the_spare_is_parked_again() -> None:
    """Invariant 3: first a spare in hand, then one try; lost: parked again."""
    handover, (server, spare) = unstarted(2)
    assert handover.park(spare)
    server.open_service()
    assert server.end_service()
    assert not handover.take_role(server, announced=False)
    assert handover.parked == [spare]
    assert spare.baton.locked(), "a spare that does not lead sleeps"
    assert handover.leader is server


def test_without_a_spare_nobody_takes_the_role() -> None:
    """Invariant 3."""
    handover, (server,) = unstarted(1)
    server.open_service()
    assert not handover.take_role(server, announced=False)
    assert server.end_service()


def test_a_late_thread_cannot_win_the_token_of_its_successor() -> None:
    """Invariant 4: each has a token of its own (ABA)."""
    handover, (first, second, third) = unstarted(3)
    first.open_service()
    assert handover.win_role(first, second, announced=False)
    second.open_service()
    assert not first.end_service()
    assert second.end_service()
    second.open_service()
    assert handover.win_role(second, third, announced=False)
    assert not first.end_service()
    assert not second.end_service()


def test_a_stale_look_costs_a_needless_hand_over_and_never_a_second_leader() -> None:
    """Invariant 4: the watchdog saw a service that is over, another is open."""
    handover, (server, spare) = unstarted(2)
    server.open_service()
    assert server.end_service()
    server.open_service()  # not the one that was looked at
    assert handover.win_role(server, spare, announced=False)
    assert not server.end_service()


def test_no_more_spares_are_kept_than_needed() -> None:
    handover, threads = unstarted(SPARES_KEPT + 2)
    assert [handover.park(thread) for thread in threads[1:]] == [True] * SPARES_KEPT + [False]


# With threads --------------------------------------------------------------------------------------------------------


def test_a_quick_service_keeps_the_role(role: Role) -> None:
    served = threading.Event()
    for _ in range(100):
        role.order(lambda: None)
    role.order(served.set)
    assert served.wait(10)
    assert role.handover.taken + role.handover.announced <= 1  # one may have been descheduled
    assert len(role.led) >= 101


def test_the_watchdog_takes_the_role_from_a_service_that_lasts(role: Role) -> None:
    """Invariant 14; and invariant 5: the late thread comes back to its outermost function and parks."""
    go_on = threading.Event()
    role.order(waiting_for(go_on))
    wait_until(lambda: role.handover.taken == 1)
    wait_until(lambda: len(role.leads) == 1, what="the spare leads")
    assert role.handover.late == 1
    first = role.led[0]
    assert role.leads[0].name != first
    go_on.set()
    wait_until(lambda: role.handover.late == 0)
    wait_until(lambda: first in [thread.name for thread in role.handover.parked], what="the late thread is a spare")


def test_an_announced_wait_moves_the_role_before_it_begins(role: Role) -> None:
    """Invariant 3: the serving thread is a taker itself."""
    go_on, waits = threading.Event(), threading.Event()

    def service() -> None:
        with blocking():
            waits.set()
            go_on.wait(10)

    role.order(service)
    assert waits.wait(10)
    assert (role.handover.announced, role.handover.taken) == (1, 0)
    assert role.handover.leader is not None
    assert role.handover.leader.name != role.led[0]
    wait_until(lambda: len(role.leads) == 1)
    go_on.set()
    wait_until(lambda: role.handover.late == 0)


def test_announcements_after_the_role_is_gone_do_nothing(role: Role) -> None:
    done = threading.Event()

    def service() -> None:
        for _ in range(5):
            about_to_block()
        with blocking(), blocking():
            done.set()

    role.order(service)
    assert done.wait(10)
    assert role.handover.announced == 1


def test_an_announcement_outside_a_service_does_nothing(role: Role) -> None:
    """Invariant 1: the leader that touches the role's state does not give it away."""
    handover = role.handover
    told = []

    def run_in_loop_thread(thread: LoopThread) -> None:
        handover._announce(thread)
        told.append(handover.announced)

    assert handover.leader is not None
    run_in_loop_thread(handover.leader)
    assert told == [0]


def test_many_threads_may_be_late_and_each_next_service_is_led_by_another(role: Role) -> None:
    go_on = threading.Event()
    for _ in range(2):
        role.order(waiting_for(go_on))
    wait_until(lambda: role.handover.late == 2)
    wait_until(lambda: len(role.leads) == 1)
    go_on.set()
    wait_until(lambda: role.handover.late == 0)
    assert len(role.led) == len(set(role.led)) == 3


def test_late_threads_are_bounded_and_the_shortage_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Invariant 11."""
    with caplog.at_level(logging.WARNING, "mooring"), contextlib.ExitStack() as stack:
        role = make(stack, limit=1)
        go_on = threading.Event()
        role.order(waiting_for(go_on))
        wait_until(lambda: role.handover.late == 1)
        wait_until(lambda: "no spare thread for the loop: 1 of its threads are late" in caplog.text)
        assert role.handover.parked == []
        assert role.handover._total == 2
        go_on.set()
        wait_until(lambda: role.handover.parked, what="the late one is the next spare")


def test_when_the_system_gives_no_thread_the_loop_goes_on_without_spare(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant 11."""
    with caplog.at_level(logging.WARNING, "mooring"), contextlib.ExitStack() as stack:
        role = make(stack, limit=8)
        real, refused = threading.Thread.start, threading.Event()

        def start(thread: threading.Thread) -> None:
            if thread.name.startswith("test-"):
                refused.set()
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        go_on = threading.Event()
        role.order(waiting_for(go_on))
        assert refused.wait(10)
        wait_until(lambda: "no spare thread for the loop" in caplog.text)
        go_on.set()
        wait_until(lambda: role.handover.parked)


def test_the_watchdog_parks_when_nothing_is_served_and_a_service_wakes_it(role: Role) -> None:
    """Invariant 14."""
    wait_until(lambda: role.handover.watchdog_parked)
    go_on = threading.Event()
    role.order(waiting_for(go_on))
    wait_until(lambda: role.handover.taken == 1)
    go_on.set()


def test_two_looks_at_once_take_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 14: looks lie 3 ms apart, however often the watchdog is woken."""
    monkeypatch.setattr(handover_module, "LOOK_INTERVAL", 3600.0)
    with contextlib.ExitStack() as stack:
        role = Role()
        role.handover = handover = Handover(role, role.run, limit=2, name="test", rare=RareLog(logger))
        handover.start()
        stack.callback(role.order, None)
        wait_until(lambda: handover.parked)
        go_on, serves = threading.Event(), threading.Event()

        def service() -> None:
            serves.set()
            go_on.wait(10)

        role.order(service)
        assert serves.wait(10)
        for _ in range(20):
            handover.wake_watchdog()
            wait_until(lambda: handover._watchdog_baton.locked(), what="it has looked")
        assert handover.taken == 0
        go_on.set()


def test_the_end_ends_spares_watchdog_and_leader(role: Role) -> None:
    """Invariant 17; threads that are left over fail the test by themselves."""
    role.order(None)
    wait_until(lambda: role.handover._total == 0)
    assert role.handover.parked == []


def test_a_thread_that_is_late_at_the_end_ends_when_it_is_back(role: Role) -> None:
    go_on = threading.Event()
    role.order(waiting_for(go_on))
    wait_until(lambda: role.handover.taken == 1)
    role.order(None)
    wait_until(lambda: role.handover._total == 1)
    go_on.set()
    wait_until(lambda: role.handover._total == 0)


def test_a_first_thread_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="no thread can be started for the loop"):
        Handover(role := Role(), role.run, limit=1, name="test", rare=RareLog(logger)).start()
