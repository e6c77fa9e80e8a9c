"""Who is read first in a turn."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from mooring.net.loop.descriptors import IN
from mooring.net.loop.precedence import Precedence

ROLE: Any = SimpleNamespace(leader=threading.get_ident())


def connection(fd: int) -> Any:
    return SimpleNamespace(_socket=SimpleNamespace(fileno=lambda: fd))


def events(*descriptors: int) -> list[tuple[int, int]]:
    return [(fd, IN) for fd in descriptors]


def test_those_that_were_handed_on_come_first_once_and_the_others_as_they_came() -> None:
    precedence = Precedence(ROLE)
    for fd in (7, 5, 9):
        precedence.give(connection(fd))
    assert precedence.in_order(events(3, 5, 4, 7, 6)) == events(5, 7, 3, 4, 6)
    assert precedence.in_order(events(3, 5, 4, 7, 6)) == events(3, 5, 4, 7, 6)
    assert precedence.in_order(events(3, 9)) == events(9, 3)  # it was not ready before
