"""The announcement "I am about to wait"."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mooring import blocking as public
from mooring.threads.blocking import about_to_block, announce_to, blocking
from mooring.threads.pending import Pending


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What this thread has announced."""
    told: list[str] = []
    announce_to(lambda: told.append(threading.current_thread().name))
    yield told
    announce_to(None)


def test_off_the_loop_thread_it_does_nothing() -> None:
    about_to_block()
    with blocking():
        pass


def test_it_is_announced_before_the_first_line_inside(told: list[str]) -> None:
    with blocking():
        assert len(told) == 1
    assert len(told) == 1


def test_it_can_be_nested_and_used_again(told: list[str]) -> None:
    announcement = blocking()
    with announcement, announcement:
        pass
    with announcement:
        pass
    assert len(told) == 3


def test_what_is_raised_inside_passes_through(told: list[str]) -> None:
    with pytest.raises(ValueError, match="inside"), blocking():
        raise ValueError("inside")


def test_announcements_are_of_the_thread_that_makes_them(told: list[str]) -> None:
    thread = threading.Thread(target=about_to_block)
    thread.start()
    thread.join()
    assert told == []


def test_waiting_for_a_pending_announces_and_a_finished_one_does_not(told: list[str]) -> None:
    pending: Pending[int] = Pending()
    with pytest.raises(TimeoutError):
        pending.result(0.0)
    assert len(told) == 1
    pending.complete(1)
    assert pending.result() == 1
    assert len(told) == 1


def test_it_is_public() -> None:
    assert public is blocking
