"""What valid JSON is refused for nevertheless."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.gateway.json_text import depth, find_infinite, find_invalid_utf8, is_deeper


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b'{"a":[1,{"b":2}],"c":[[]]}', 3),
        (b'"[[[["', 0),
        (rb'["\"[[[",[]]', 2),
        (rb'["\\",[]]', 2),
    ],
)
def test_depth_counts_brackets_outside_of_strings(text: bytes, expected: int) -> None:
    assert depth(text) == expected


def test_text_may_be_nested_as_deep_as_the_limit_and_no_deeper() -> None:
    assert not is_deeper(b"[" * 64 + b"]" * 64, 64)
    assert is_deeper(b"[" * 65 + b"]" * 65, 64)
    assert not is_deeper(b"[[" + b"{}," * 1000 + b"{}]]", 3)


@pytest.mark.parametrize("number", ["1e999", "-1e309", "1.5E+400", "9" * 400, "1" * 250 + "e99", "1e0000000400"])
def test_numbers_that_no_double_holds_are_refused(number: str) -> None:
    for text in (number, f"[{number}]", f'{{"a":{number}}}'):
        fault = find_infinite(text.encode())
        assert fault is not None
        assert "larger than any double" in fault


@pytest.mark.parametrize(
    "number", ["1e308", "1e-999", "0.0e999", "9" * 300, "1e0000000001", "123456789012345678901234"]
)
def test_numbers_that_a_double_holds_or_rounds_pass(number: str) -> None:
    assert find_infinite(number.encode()) is None


def test_what_stands_in_a_string_is_no_number() -> None:
    assert find_infinite(b'{"1e999":"1e999"}') is None


@given(st.recursive(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists, max_leaves=20))
def test_whatever_python_writes_passes(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            continue  # a lone surrogate
        assert find_infinite(encoded) is None
        assert find_invalid_utf8(encoded) is None


@given(st.binary())
def test_any_bytes_are_looked_through_without_an_error(text: bytes) -> None:
    depth(text)
    find_infinite(text)
    assert (find_invalid_utf8(text) is None) == (text.decode(errors="ignore").encode() == text)


def test_a_line_full_of_quotes_takes_one_pass() -> None:
    # With a pattern that starts anew at each quote this takes minutes: 2 x 10**9 steps.
    assert depth(b'"' + rb"\"" * 32_000 + b"[" * 100) == 0


def test_runs_of_digits_are_looked_through_once() -> None:
    # From each digit on again, they take twelve times as long as text. Processor time, so that others do not count.
    def time_of(item: bytes) -> float:
        line = b"[" + b",".join([item] * 3_000) + b"]"
        times = []
        for _ in range(5):
            before = time.process_time()
            assert find_infinite(line) is None
            times.append(time.process_time() - before)
        return min(times)

    assert time_of(b"1" * 199) < 4 * time_of(b'"' + b"a" * 197 + b'"')
