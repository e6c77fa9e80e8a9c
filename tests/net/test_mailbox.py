"""Requests to the loop: none is overlooked, whatever comes in between."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from mooring.net.loop.mailbox import Mailbox


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """For a thread that does not lead."""
    mailbox = Mailbox(lambda: False)
    yield mailbox
    mailbox.close()


def is_awake(mailbox: Mailbox) -> bool:
    return bool(select.select([mailbox.fd], [], [], 0)[0])


def request() -> None:
    """What somebody asks of the loop."""


def test_a_request_is_in_the_queue_before_the_wake_up(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 1: woken any sooner the loop might look, find nothing and sleep."""
    at_wake_up: list[int] = []
    write = os.eventfd_write

    def wake(fd: int, value: int) -> None:
        at_wake_up.append(len(mailbox.requests))
        write(fd, value)

    monkeypatch.setattr(os, "eventfd_write", wake)
    mailbox.post(request)
    assert is_awake(mailbox)
    mailbox.clear_wake()
    mailbox.attend(None)  # type: ignore[arg-type]
    assert is_awake(mailbox)
    assert at_wake_up == [1, 2]


def test_many_requests_wake_the_loop_once(mailbox: Mailbox) -> None:
    for _ in range(3):
        mailbox.post(request)
    mailbox.clear_wake()
    assert not is_awake(mailbox)
    assert len(mailbox.requests) == 3


def test_a_request_in_the_middle_of_clearing_costs_no_later_one_its_wake_up(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1: said to be asleep before the wake-up is cleared, the loop would not be woken again."""
    read = os.eventfd_read

    def read_late(fd: int) -> int:
        mailbox.post(request)
        return read(fd)

    monkeypatch.setattr(os, "eventfd_read", read_late)
    mailbox.post(request)
    mailbox.clear_wake()
    assert len(mailbox.requests) == 2, "the loop looks at them next"
    mailbox.post(request)
    assert is_awake(mailbox)


def test_who_leads_needs_no_wake_up() -> None:
    mailbox = Mailbox(lambda: True)
    mailbox.post(request)
    assert not is_awake(mailbox)
    assert list(mailbox.requests) == [request]
    mailbox.close()
