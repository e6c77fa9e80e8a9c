"""Pending: one result, from any thread."""

from __future__ import annotations

import logging
import threading

import pytest

from mooring.threads.blocking import about_to_block, announce_to, blocking
from mooring.threads.pending import Pending, after_batch, complete_together


def test_result_waits_for_completion_by_another_thread() -> None:
    pending: Pending[int] = Pending()
    assert not pending.done()
    completer = threading.Timer(0.01, pending.complete, [7])
    completer.start()
    assert pending.result(10) == 7
    assert pending.done()
    completer.join()


def test_result_raises_the_error_of_a_failed_one() -> None:
    pending: Pending[int] = Pending()
    pending.fail(KeyError("no such meter"))
    with pytest.raises(KeyError, match="no such meter"):
        pending.result()


def test_result_gives_up_after_its_timeout() -> None:
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        Pending[int]().result(0.01)


def test_none_is_a_result() -> None:
    pending: Pending[None] = Pending()
    pending.complete(None)
    assert pending.done()
    assert pending.result(0) is None


def test_it_can_be_done_once() -> None:
    pending: Pending[int] = Pending()
    pending.complete(1)
    for again in (lambda: pending.complete(2), lambda: pending.fail(ValueError())):
        with pytest.raises(RuntimeError, match="done already"):
            again()
    assert pending.result() == 1


def test_listeners_are_called_in_order_and_late_ones_at_once() -> None:
    pending: Pending[str] = Pending()
    heard: list[str] = []
    pending.add_done_callback(lambda done: heard.append("first " + done.result()))
    pending.add_done_callback(lambda done: heard.append("second"))
    assert heard == []
    pending.complete("x")
    pending.add_done_callback(lambda done: heard.append("late"))
    assert heard == ["first x", "second", "late"]


def test_a_listener_that_raises_is_logged_and_keeps_nobody_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    pending: Pending[int] = Pending()
    heard: list[int] = []
    pending.add_done_callback(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    pending.add_done_callback(lambda done: heard.append(done.result()))
    with caplog.at_level(logging.ERROR):
        pending.complete(3)
    assert heard == [3]
    assert "ZeroDivisionError" in caplog.text


def test_then_makes_an_answer_of_the_result_or_of_the_error() -> None:
    stored: Pending[None] = Pending()
    answer = stored.then(lambda _: b"OK", error=lambda exc: b"AGAIN")
    stored.complete(None)
    assert answer.result() == b"OK"
    refused: Pending[None] = Pending()
    answer = refused.then(lambda _: b"OK", error=lambda exc: b"AGAIN")
    refused.fail(OSError())
    assert answer.result() == b"AGAIN"


def test_then_passes_on_an_error_that_nobody_takes_and_one_of_its_own() -> None:
    refused: Pending[int] = Pending()
    answer = refused.then(lambda value: value + 1)
    refused.fail(OSError("down"))
    with pytest.raises(OSError, match="down"):
        answer.result()
    stored: Pending[int] = Pending()
    broken = stored.then(lambda value: value // 0)
    stored.complete(1)
    with pytest.raises(ZeroDivisionError):
        broken.result()


def test_all_gives_the_results_in_order_when_the_last_is_there() -> None:
    parts: list[Pending[int]] = [Pending() for _ in range(3)]
    whole = Pending.all(*parts)
    for index in (2, 0):
        parts[index].complete(index)
        assert not whole.done()
    parts[1].complete(1)
    assert whole.result() == [0, 1, 2]
    assert Pending.all().result() == []


def test_all_fails_with_the_first_error_when_all_are_done() -> None:
    parts: list[Pending[int]] = [Pending() for _ in range(2)]
    whole = Pending.all(*parts)
    parts[0].fail(ValueError("first"))
    assert not whole.done()
    parts[1].complete(1)
    with pytest.raises(ValueError, match="first"):
        whole.result()


def test_of_many_threads_that_complete_one_exactly_one_wins() -> None:
    for _ in range(200):
        pending: Pending[int] = Pending()
        heard: list[int] = []
        pending.add_done_callback(lambda done, heard=heard: heard.append(done.result()))  # type: ignore[misc]
        lost: list[int] = []
        start = threading.Barrier(3)

        def complete(
            number: int, pending: Pending[int] = pending, lost: list[int] = lost, start: threading.Barrier = start
        ) -> None:
            start.wait()
            try:
                pending.complete(number)
            except RuntimeError:
                lost.append(number)

        threads = [threading.Thread(target=complete, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(lost) == 2
        assert heard == [pending.result()]


def test_waiting_for_a_result_is_announced_and_having_it_is_not() -> None:
    told: list[str] = []
    announce_to(lambda: told.append("about to block"))
    try:
        pending: Pending[int] = Pending()
        pending.complete(1)
        pending.result()
        assert told == []
        with pytest.raises(TimeoutError):
            Pending[int]().result(0)
        assert len(told) == 1
        with blocking():
            about_to_block()
        assert len(told) == 3
    finally:
        announce_to(None)
    about_to_block()
    assert len(told) == 3


def test_of_those_that_complete_together_all_are_done_before_the_first_listener_is_called() -> None:
    pendings: list[Pending[str]] = [Pending() for _ in range(3)]
    seen = []
    for pending in pendings:
        pending.add_done_callback(lambda _: seen.append([other.done() for other in pendings]))
    complete_together(pendings, "stored")
    assert seen == [[True] * 3] * 3
    assert [pending.result() for pending in pendings] == ["stored"] * 3


def test_those_that_complete_together_may_fail_together() -> None:
    pendings: list[Pending[str]] = [Pending(), Pending()]
    complete_together(pendings, error=KeyError("gone"))
    for pending in pendings:
        with pytest.raises(KeyError, match="gone"):
            pending.result()


def test_what_is_put_off_in_a_batch_is_done_once_after_its_last_listener() -> None:
    class Peer:
        def __init__(self) -> None:
            self.events: list[str] = []

        def flush(self) -> None:
            self.events.append("flush")

        def reply(self, _: object) -> None:
            self.events.append("reply")
            after_batch(self.flush)

    one, other = Peer(), Peer()
    pendings: list[Pending[None]] = [Pending() for _ in range(3)]
    for pending, peer in zip(pendings, (one, other, one), strict=True):
        pending.add_done_callback(peer.reply)
    complete_together(pendings)
    assert one.events == ["reply", "reply", "flush"]
    assert other.events == ["reply", "flush"]


def test_outside_of_a_batch_nothing_is_put_off() -> None:
    done: list[int] = []
    after_batch(lambda: done.append(1))
    assert done == [1]


def test_a_listener_that_raises_anything_keeps_nobody_from_being_called(caplog: pytest.LogCaptureFixture) -> None:
    def leave(_: object) -> None:
        after_batch(leave_later)
        raise SystemExit

    def leave_later() -> None:
        raise SystemExit

    done: list[str] = []
    pendings: list[Pending[None]] = [Pending(), Pending()]
    pendings[0].add_done_callback(leave)
    pendings[1].add_done_callback(lambda _: after_batch(lambda: done.append("flushed")))
    complete_together(pendings)
    assert done == ["flushed"]
    assert len(caplog.records) == 2
    after_batch(lambda: done.append("at once"))
    assert done == ["flushed", "at once"]
