from __future__ import annotations

import pytest
from framing.drawing import drawn

from mooring.errors import FrameError
from mooring.framing import FixedLength
from mooring.testing import check_framing


def test_the_drawing_is_true() -> None:
    before = drawn(FixedLength, "83 AA 7E 80 83 AA 7E 81 83")
    first, second = drawn(FixedLength, "83 AA 7E 80 |"), drawn(FixedLength, "| 83 AA 7E 81")
    assert FixedLength(4).split(before) == ([first, second], b"\x83", 3)


def test_any_cut_gives_the_same_messages() -> None:
    check_framing(FixedLength(3), b"abcdefghijk", [b"abc", b"def", b"ghi"])
    check_framing(FixedLength(1), b"abc", [b"a", b"b", b"c"])


def test_missing_counts_down_to_the_next_message() -> None:
    assert [FixedLength(3).split(b"abc"[:size])[2] for size in range(4)] == [3, 2, 1, 3]


@pytest.mark.parametrize("message", [b"", b"ab", b"abcd"])
def test_join_refuses_any_other_size(message: bytes) -> None:
    with pytest.raises(FrameError, match=f"message of {len(message)} bytes, not 3"):
        FixedLength(3).join(message)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="size must be at least 1"):
        FixedLength(0)
    with pytest.raises(TypeError, match="size must be an integer, not bool"):
        FixedLength(True)
