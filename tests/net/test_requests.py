"""The open requests of a connection, by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mooring.net.connection.items import CONNECTED
from mooring.net.connection.requests import Request, Requests


@pytest.fixture
def requests() -> Requests:
    return Requests(threading.Lock())


def begin(requests: Requests, match: Callable[[bytes], bool]) -> Request:
    request = Request(match)
    requests.add_locked(request)
    return request


def is_over(request: Request) -> bool:
    return request.baton.acquire(blocking=False)


def test_a_message_goes_to_the_oldest_request_that_it_fits_and_the_others_to_the_handler(requests: Requests) -> None:
    other = begin(requests, lambda message: message == b"other")
    older, younger = (begin(requests, lambda message: message.startswith(b"re")) for _ in range(2))
    assert requests.offer([CONNECTED, b"re 1", b"news", b"re 2", b"re 3"]) == [CONNECTED, b"news", b"re 3"]
    assert (older.answer, younger.answer) == (b"re 1", b"re 2")
    assert is_over(older)
    assert is_over(younger)
    assert not is_over(other)
    assert len(requests) == 1


def test_only_one_can_decide_how_a_request_ends(requests: Requests) -> None:
    request = begin(requests, lambda message: True)
    assert requests.withdraw(request)
    assert not requests.withdraw(request)
    assert requests.offer([b"late"]) == [b"late"]
    requests.fail(request, ValueError())
    assert request.error is None
    assert not is_over(request)


def test_a_match_that_raises_fails_its_own_request_and_the_message_goes_on(requests: Requests) -> None:
    broken = begin(requests, lambda message: bool(1 // 0))
    sound = begin(requests, lambda message: True)
    assert requests.offer([b"x"]) == []
    assert isinstance(broken.error, ZeroDivisionError)
    assert is_over(broken)
    assert sound.answer == b"x"


def test_when_no_answer_can_come_each_fails_with_an_error_of_its_own(requests: Requests) -> None:
    both = [begin(requests, lambda message: True) for _ in range(2)]
    requests.fail_all(lambda: ValueError("closed"))
    assert all(map(is_over, both))
    assert both[0].error is not both[1].error
    assert not requests
