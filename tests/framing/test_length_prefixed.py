from __future__ import annotations

from typing import Any

import pytest
from framing.drawing import drawn

from mooring.errors import FrameError
from mooring.framing import LengthPrefixed
from mooring.testing import check_framing

MODBUS = LengthPrefixed(2, offset=4, whole=True)
GB_T_32960 = LengthPrefixed(2, offset=22, adjustment=1, whole=True)
LOGOUT = "23 23 04 FE 4C 53 56 41 41 34 39 4A 31 33 32 30 30 30 30 30 31 01 00 08 19 0B 17 08 0F 1E 00 07 D7"


def test_the_drawing_of_teltonika_is_true() -> None:
    frame = drawn(LengthPrefixed, "00 0F 33 35 36 33 30 37 30 34 32 34 34 31 30 31 33")
    message = drawn(LengthPrefixed, "     33 35 36 33 30 37 30 34 32 34 34 31 30 31 33")
    assert message == b"356307042441013"
    assert LengthPrefixed(2).split(frame) == ([message], b"", 2)
    assert LengthPrefixed(2).join(message) == frame


def test_the_drawing_of_modbus_is_true() -> None:
    frame = drawn(LengthPrefixed, "00 01 00 00 00 06 01 03 00 00 00 0A")
    assert MODBUS.split(frame + frame[:5]) == ([frame], frame[:5], 1)
    assert MODBUS.join(frame) == frame


def test_the_drawing_of_gb_t_32960_is_true() -> None:
    frame = drawn(LengthPrefixed, LOGOUT)
    assert frame[:2] == b"##"
    assert len(frame[4:21]) == 17
    assert GB_T_32960.split(frame + frame[:-1]) == ([frame], frame[:-1], 1)


@pytest.mark.parametrize(
    ("framing", "stream", "messages"),
    [
        (LengthPrefixed(1), "02 41 42 00 01 43 03 44", ["41 42", "", "43"]),
        (LengthPrefixed(), "00 00 00 02 41 42 00 00 00 00 00 00 00", ["41 42", ""]),
        (LengthPrefixed(3, byteorder="little"), "02 00 00 41 42 01 00 00 43", ["41 42", "43"]),
        (LengthPrefixed(2, adjustment=-2), "00 04 41 42 00 02 00 01", ["41 42", ""]),
        (LengthPrefixed(1, adjustment=2), "01 41 42 43 00 44 45 01", ["41 42 43", "44 45"]),
        (LengthPrefixed(1, max_size=2), "02 41 42 03", ["41 42"]),
        (MODBUS, "00 01 00 00 00 02 01 03 00 02 00 00 00 00 00 03", ["00 01 00 00 00 02 01 03", "00 02 00 00 00 00"]),
        (GB_T_32960, LOGOUT, [LOGOUT]),
        # The length counts the whole frame, its header included.
        (LengthPrefixed(1, offset=1, adjustment=-2, whole=True), "AA 03 41 AA 02 AA 01", ["AA 03 41", "AA 02"]),
    ],
)
def test_any_cut_gives_the_same_messages(framing: LengthPrefixed, stream: str, messages: list[str]) -> None:
    check_framing(framing, bytes.fromhex(stream), [bytes.fromhex(message) for message in messages])


def test_missing_counts_down_to_the_header_and_then_to_the_end() -> None:
    frame = LengthPrefixed(2).join(b"abc")
    assert [LengthPrefixed(2).split(frame[:size])[2] for size in range(6)] == [2, 1, 3, 2, 1, 2]


def test_an_overlong_message_is_refused_when_its_length_is_known() -> None:
    framing = LengthPrefixed(2, max_size=4)
    assert framing.split(b"\x00\x04abcd")[0] == [b"abcd"]
    with pytest.raises(FrameError, match="length 5 makes a message of 5 bytes, more than 4") as caught:
        framing.split(b"\x00\x01a\x00\x05")
    assert caught.value.messages == (b"a",)


def test_max_size_counts_the_header_of_whole_messages() -> None:
    framing = LengthPrefixed(1, offset=1, whole=True, max_size=4)
    assert framing.split(b"x\x02ab")[0] == [b"x\x02ab"]
    with pytest.raises(FrameError, match="message of 5 bytes"):
        framing.split(b"x\x03")


def test_a_length_that_ends_within_its_own_header_is_refused() -> None:
    with pytest.raises(FrameError, match="length 1 ends the frame within its own header") as caught:
        LengthPrefixed(2, adjustment=-2).split(b"\x00\x03a\x00\x01")
    assert caught.value.messages == (b"a",)


@pytest.mark.parametrize(
    ("framing", "message", "text"),
    [
        (LengthPrefixed(1), b"x" * 256, "does not fit into a field of 1 bytes"),
        (LengthPrefixed(1, adjustment=2), b"x", "length -1 does not fit"),
        (LengthPrefixed(max_size=3), b"abcd", "more than 3"),
        (MODBUS, b"\x00\x01\x00\x00\x00", "ends before its length field"),
        (MODBUS, b"\x00\x01\x00\x00\x00\x03\x01", "says a message of 9 bytes, but it has 7"),
        (MODBUS, b"\x00\x01\x00\x00\x00\x00\x01", "says a message of 6 bytes, but it has 7"),
    ],
)
def test_join_refuses_a_wrong_length(framing: LengthPrefixed, message: bytes, text: str) -> None:
    with pytest.raises(FrameError, match=text):
        framing.join(message)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"prefix_size": 0}, "prefix_size must be at least 1"),
        ({"prefix_size": 9}, "prefix_size must be at most 8"),
        ({"byteorder": "network"}, "byteorder must be 'big' or 'little', not 'network'"),
        ({"offset": -1, "whole": True}, "offset must be at least 0"),
        ({"offset": 4}, "needs whole=True"),
        ({"max_size": 0}, "max_size must be at least 1"),
        ({"max_size": 4, "adjustment": 5}, "max_size must be at least 5"),
        ({"max_size": 7, "offset": 4, "whole": True}, "max_size must be at least 8"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        LengthPrefixed(**arguments)
