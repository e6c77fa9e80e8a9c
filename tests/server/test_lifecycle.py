"""The life of a server by itself: which steps there are, and who waits for whom."""

from __future__ import annotations

import threading

import pytest
from waiting import wait_until

from mooring.server.lifecycle import Lifecycle, ServerState


@pytest.fixture
def life() -> Lifecycle:
    return Lifecycle()


def initialize(life: Lifecycle) -> None:
    with life.initializing() as mine:
        assert mine


def test_a_life_in_order(life: Lifecycle) -> None:
    assert life.state is ServerState.NEW
    with life.initializing() as mine:
        assert mine
        assert life.state is ServerState.INITIALIZING
    assert life.state is ServerState.INITIALIZED
    assert life.begin_running()
    assert life.state is ServerState.RUNNING
    assert life.begin_stopping(None) is ServerState.RUNNING
    with life.releasing():
        assert life.state is ServerState.STOPPING
    assert life.state is ServerState.STOPPED
    life.wait_stopped()


def test_a_step_that_has_been_taken_is_not_taken_again(life: Lifecycle) -> None:
    initialize(life)
    with life.initializing() as mine:
        assert not mine
    assert life.begin_running()
    assert not life.begin_running()
    assert life.state is ServerState.RUNNING


def test_an_opening_that_fails_leaves_it_new(life: Lifecycle) -> None:
    with pytest.raises(ZeroDivisionError), life.initializing():
        raise ZeroDivisionError
    assert life.state is ServerState.NEW
    assert not life.is_busy_here
    initialize(life)


def test_a_release_that_fails_leaves_it_stopped_and_nobody_waiting(life: Lifecycle) -> None:
    assert life.begin_stopping(None) is ServerState.NEW
    with pytest.raises(ZeroDivisionError), life.releasing():
        raise ZeroDivisionError
    life.wait_stopped()


def test_nothing_leads_out_of_stopped(life: Lifecycle) -> None:
    life.begin_stopping(None)
    with life.releasing():
        pass
    with pytest.raises(RuntimeError, match="this server is stopped; make a new Server"), life.initializing():
        pass
    with pytest.raises(RuntimeError, match="this server is stopped; make a new Server"):
        life.begin_running()
    assert life.begin_stopping(None) is None


def test_whoever_opens_it_cannot_ask_for_the_next_step_meanwhile(life: Lifecycle) -> None:
    with life.initializing():
        assert life.is_busy_here
        with pytest.raises(RuntimeError, match="let the lifespan return first"):
            life.begin_running()


def test_a_second_stop_waits_for_the_first_and_not_longer_than_it_may(life: Lifecycle) -> None:
    life.begin_stopping(None)
    assert life.begin_stopping(0.0) is None  # not yet stopped, and not waited for
    assert life.state is ServerState.STOPPING
    waiting = threading.Thread(target=life.begin_stopping, args=(None,))
    waiting.start()
    with life.releasing():
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_stop_waits_until_what_is_being_opened_is_open(life: Lifecycle) -> None:
    stopped: list[ServerState | None] = []
    stopping = threading.Thread(target=lambda: stopped.append(life.begin_stopping(None)))
    with life.initializing():
        stopping.start()
        assert not stopped
    wait_until(lambda: stopped)
    stopping.join()
    assert stopped == [ServerState.INITIALIZED]


def test_what_is_possible_only_before_initialize_says_so(life: Lifecycle) -> None:
    life.check_new("it can be painted")
    initialize(life)
    with pytest.raises(RuntimeError, match=r"the server is initialized: it can be painted only before initialize\(\)"):
        life.check_new("it can be painted")
