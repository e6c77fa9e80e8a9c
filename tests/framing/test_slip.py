from __future__ import annotations

import pytest
import sliplib
from framing.drawing import drawn
from hypothesis import given
from hypothesis import strategies as st

from mooring.errors import FrameError
from mooring.framing import Slip
from mooring.testing import check_framing

payloads = st.lists(st.sampled_from(b"\xc0\xdb\xdc\xdd") | st.integers(0, 255), min_size=1, max_size=30).map(bytes)


def test_the_drawing_is_true() -> None:
    before = drawn(Slip, "C0 01 DB DC 02 C0 C0 03 DB DD C0 04")
    first, second = drawn(Slip, "01 C0 02 |"), drawn(Slip, "| 03 DB")
    assert Slip().split(before) == ([first, second], b"\x04", 0)
    assert Slip().join(first) + Slip().join(second) + b"\x04" == before


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        ("C0 01 DB DC 02 C0 C0 C0 03 DB DD C0 04 DB", ["01 C0 02", "03 DB"]),
        ("41 C0 42 C0", ["41", "42"]),
        ("DB DD DC DB DC DD C0", ["DB DC C0 DD"]),
        ("41 C0 DB 01", ["41"]),
        ("41 C0 42 DB C0", ["41"]),
        ("01 02 03 04 C0 01 DB DC 03 04 C0 01 02 DB DD 04 DB", ["01 02 03 04", "01 C0 03 04"]),
    ],
)
def test_any_cut_gives_the_same_messages(stream: str, messages: list[str]) -> None:
    check_framing(Slip(max_size=4), bytes.fromhex(stream), [bytes.fromhex(message) for message in messages])


@given(payload=payloads)
def test_frames_are_those_of_sliplib(payload: bytes) -> None:
    frame = b"\xc0" + sliplib.encode(payload) + b"\xc0"
    assert Slip().join(payload) == frame
    assert Slip().split(frame) == ([payload], b"", 0)


@given(noise=payloads)
def test_what_sliplib_refuses_is_refused(noise: bytes) -> None:
    content = noise.replace(b"\xc0", b"")
    try:
        expected = [sliplib.decode(content)] if content else []
    except sliplib.ProtocolError:
        with pytest.raises(FrameError):
            Slip().split(content + b"\xc0")
    else:
        assert Slip().split(content + b"\xc0")[0] == expected


@pytest.mark.parametrize("content", ["41 DB 41", "41 DB DB", "DB 00 41 41"])
def test_an_unknown_escape_is_refused_before_the_frame_ends(content: str) -> None:
    with pytest.raises(FrameError, match="unknown escape db") as caught:
        Slip().split(b"first\xc0" + bytes.fromhex(content))
    assert caught.value.messages == (b"first",)


def test_the_limit_counts_bytes_without_escapes() -> None:
    framing = Slip(max_size=3)
    escaped = b"\xdb\xdc" * 3
    assert framing.split(escaped) == ([], escaped, 0)
    assert framing.split(escaped + b"\xc0")[0] == [b"\xc0" * 3]
    for content in (b"abcd", escaped + b"\xdb", escaped + b"\xdb\xdd"):
        with pytest.raises(FrameError, match="more than 3 bytes"):
            framing.split(content)


def test_join_refuses_an_empty_and_an_overlong_message() -> None:
    with pytest.raises(FrameError, match="empty"):
        Slip().join(b"")
    with pytest.raises(FrameError, match="more than 3 bytes"):
        Slip(max_size=3).join(b"abcd")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="max_size must be at least 1"):
        Slip(max_size=0)
