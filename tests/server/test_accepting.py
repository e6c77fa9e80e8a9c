"""Which listeners accept, by themselves and all together."""

from __future__ import annotations

import pytest

from mooring import Address
from mooring.server.accepting import Accepting

FIRST, SECOND, THIRD = (Address("127.0.0.1", port) for port in (7001, 7002, 7003))


@pytest.fixture
def accepting() -> Accepting:
    accepting = Accepting()
    accepting.addresses = (FIRST, SECOND, THIRD)
    return accepting


def test_all_accept_at_first(accepting: Accepting) -> None:
    assert accepting.open_addresses() == [FIRST, SECOND, THIRD]


def test_one_is_suspended_and_resumed_by_its_address_or_its_text(accepting: Accepting) -> None:
    accepting.set(SECOND, False)
    accepting.set("tcp://127.0.0.1:7003", False)
    accepting.set("tcp://127.0.0.1:7003", False)
    assert accepting.open_addresses() == [FIRST]
    accepting.set(SECOND, True)
    assert accepting.open_addresses() == [FIRST, SECOND]
    assert THIRD not in accepting


def test_all_are_suspended_and_one_of_them_resumed(accepting: Accepting) -> None:
    accepting.set(None, False)
    assert accepting.open_addresses() == []
    accepting.set(SECOND, True)
    assert accepting.open_addresses() == [SECOND]


def test_resuming_all_resumes_those_that_were_suspended_alone(accepting: Accepting) -> None:
    accepting.set(FIRST, False)
    accepting.set(None, True)
    assert accepting.open_addresses() == [FIRST, SECOND, THIRD]


def test_an_address_where_nobody_listens_is_refused_with_those_there_are(accepting: Accepting) -> None:
    with pytest.raises(ValueError, match=r"does not listen on tcp://127\.0\.0\.1:9; it listens on tcp://.*7001, tcp:"):
        accepting.set("tcp://127.0.0.1:9", False)
    with pytest.raises(ValueError, match=r"it listens on nowhere yet; call initialize\(\)"):
        Accepting().set(FIRST, True)


def test_before_there_are_listeners_all_can_be_suspended() -> None:
    accepting = Accepting()
    accepting.set(None, False)
    accepting.addresses = (FIRST,)
    assert accepting.open_addresses() == []
