"""What a simulated device remembers, and the comparison with the database: it must see every fault."""

from __future__ import annotations

import pytest

from mooring.gateway.json_lines import decode
from mooring.gateway.messages import Push
from mooring.gateway.simulation.record import Comparison, Record
from mooring.gateway.times import to_text

Row = tuple[int, str, str]


@pytest.fixture
def record() -> Record:
    """Pushes 6 to 10: 8 is unacknowledged, 9 is refused."""
    record = Record("sim-1", 0.5)
    record.begin(5, 1763880000.1234)
    for _ in range(5):
        record.make(0.0)
    for seq in (6, 7, 10):
        record.settle(seq)
    record.settle(9, refused=True)
    return record


def rows(record: Record, *seqs: int) -> list[Row]:
    return [(seq, to_text(record.at(seq)), record.data(seq)) for seq in seqs]


def compare(record: Record, found: list[Row]) -> Comparison:
    comparison = Comparison()
    comparison.add(record, found)
    return comparison


def test_a_push_on_the_wire_is_what_the_record_expects_in_the_table(record: Record) -> None:
    push = decode(record.line(7).rstrip())
    assert isinstance(push, Push)
    assert push.at is not None
    assert (push.seq, to_text(push.at), bytes(push.data).decode()) == (7, to_text(record.at(7)), record.data(7))
    assert record.data(7) != record.data(8)


def test_all_that_was_acknowledged_and_nothing_else_holds(record: Record) -> None:
    comparison = compare(record, rows(record, 6, 7, 10))
    assert comparison == Comparison(acknowledged=3, stored=3)
    assert comparison.holds


def test_what_was_stored_without_an_answer_holds(record: Record) -> None:
    comparison = compare(record, rows(record, 6, 7, 8, 10))
    assert comparison == Comparison(acknowledged=3, stored=4, unacknowledged=1)
    assert comparison.holds


@pytest.mark.parametrize("lost", [6, 7, 10])
def test_an_acknowledged_push_that_is_not_there_is_missing(record: Record, lost: int) -> None:
    comparison = compare(record, rows(record, *sorted({6, 7, 10} - {lost})))
    assert (comparison.missing, comparison.holds) == (1, False)


def test_an_empty_table_misses_all(record: Record) -> None:
    assert compare(record, []).missing == 3


def test_a_row_that_is_there_twice_is_doubled(record: Record) -> None:
    comparison = compare(record, rows(record, 6, 7, 7, 10))
    assert (comparison.doubled, comparison.missing, comparison.holds) == (1, 0, False)


@pytest.mark.parametrize("part", [1, 2])
def test_a_row_with_another_time_or_content_is_altered(record: Record, part: int) -> None:
    found = rows(record, 6, 7, 10)
    other = record.data(7).replace(" ", "") if part == 2 else to_text(0)
    found[1] = (7, other, found[1][2]) if part == 1 else (7, found[1][1], other)
    comparison = compare(record, found)
    assert (comparison.altered, comparison.missing, comparison.holds) == (1, 0, False)


def test_a_push_is_settled_once(record: Record) -> None:
    assert record.settle(8) == 0.0
    assert record.settle(8) is None
