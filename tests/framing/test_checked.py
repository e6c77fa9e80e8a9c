from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from framing.drawing import drawn

from mooring.errors import FrameError
from mooring.framing import CRC16_ARC, CRC16_X25, CRC32, XOR8, Checked, Delimited, LengthPrefixed, Lines
from mooring.testing import check_framing

JT_808 = Checked(Delimited(b"\x7e", b"\x7e", escapes={b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"}), XOR8)
TELTONIKA = Checked(LengthPrefixed(4, offset=4, adjustment=4, whole=True), replace(CRC16_ARC, size=4), skip=8)
GB_T_32960 = Checked(LengthPrefixed(2, offset=22, adjustment=1, whole=True), XOR8, skip=2)

# The example record of Teltonika's description of codec 8.
AVL_RECORD = bytes.fromhex(
    "000000000000003608010000016B40D8EA30010000000000000000000000000000000105021503010101425E0F01F10000601A014E"
    "0000000000000000010000C7CF"
)


def spoil(frame: bytes) -> bytes:
    """Return the frame with another second byte of content."""
    return frame[:2] + bytes([frame[2] ^ 0x10]) + frame[3:]


def test_the_drawing_of_jt_808_is_true() -> None:
    frame = drawn(Checked, "7E 00 02 00 00 01 23 45 67 89 01 00 0B 81 7E")
    message = drawn(Checked, "      00 02 00 00 01 23 45 67 89 01 00 0B")
    assert JT_808.split(frame) == ([message], b"", 0)
    assert JT_808.join(message) == frame


def test_the_drawing_of_teltonika_is_true() -> None:
    begin = drawn(Checked, ["00 00 00 00 00 00 00 36 08 01", " 01 00 00 C7 CF"][0])
    end = drawn(Checked, "01 00 00 C7 CF")
    assert AVL_RECORD.startswith(begin)
    assert AVL_RECORD.endswith(end)
    assert TELTONIKA.split(AVL_RECORD)[0] == [AVL_RECORD[:-4]]
    check_framing(TELTONIKA, AVL_RECORD * 2 + AVL_RECORD[:-1], [AVL_RECORD[:-4]] * 2)


def test_the_frame_drawn_for_gb_t_32960_has_a_right_sum() -> None:
    frame = drawn(
        LengthPrefixed,
        "23 23 04 FE 4C 53 56 41 41 34 39 4A 31 33 32 30 30 30 30 30 31 01 00 08 19 0B 17 08 0F 1E 00 07 D7",
    )
    check_framing(GB_T_32960, frame * 2 + frame[:30], [frame[:-1]] * 2)


@pytest.mark.parametrize("on_error", ["close", "drop"])
@pytest.mark.parametrize("byteorder", ["big", "little"])
def test_any_cut_gives_the_same_messages(on_error: Any, byteorder: Any) -> None:
    framing = Checked(LengthPrefixed(1), CRC16_X25, byteorder=byteorder, skip=1, on_error=on_error)
    frames = [framing.join(message) for message in (b"a", b"bcd", b"ef")]
    assert CRC16_X25(b"cd").to_bytes(2, byteorder) == frames[1][-2:]
    check_framing(framing, b"".join(frames), [b"a", b"bcd", b"ef"])
    damaged = frames[0] + spoil(frames[1]) + frames[2] + b"\x02ab"
    check_framing(framing, damaged, [b"a"] if on_error == "close" else [b"a", b"ef"])


def test_close_raises_with_the_messages_before_the_wrong_sum() -> None:
    framing = Checked(LengthPrefixed(1), CRC32)
    with pytest.raises(FrameError, match=r"checksum .{8} should be .{8} \(CRC32\)") as caught:
        framing.split(framing.join(b"one") + spoil(framing.join(b"two")) + framing.join(b"three"))
    assert caught.value.messages == (b"one",)


def test_drop_leaves_the_message_out() -> None:
    framing = Checked(LengthPrefixed(1), CRC32, on_error="drop")
    stream = framing.join(b"one") + spoil(framing.join(b"two")) + framing.join(b"three")
    assert framing.split(stream)[0] == [b"one", b"three"]


@pytest.mark.parametrize(("on_error", "expected"), [("close", (b"one",)), ("drop", (b"one", b"three"))])
def test_messages_before_a_fault_of_the_inner_framing_are_checked_too(
    on_error: Any, expected: tuple[bytes, ...]
) -> None:
    framing = Checked(LengthPrefixed(1, max_size=20), XOR8, on_error=on_error)
    stream = framing.join(b"one") + spoil(framing.join(b"two")) + framing.join(b"three") + b"\xff"
    with pytest.raises(FrameError, match="checksum" if on_error == "close" else "more than 20") as caught:
        framing.split(stream)
    assert caught.value.messages == expected


def test_the_sum_is_taken_off_messages_before_a_fault_of_the_inner_framing() -> None:
    framing = Checked(LengthPrefixed(1, max_size=20), XOR8)
    with pytest.raises(FrameError, match="more than 20") as caught:
        framing.split(framing.join(b"one") + b"\xff")
    assert caught.value.messages == (b"one",)


@pytest.mark.parametrize("message", [b"", b"a", b"ab"])
def test_a_message_too_short_for_its_sum_is_a_wrong_one(message: bytes) -> None:
    inner = LengthPrefixed(1)
    with pytest.raises(FrameError, match="no room for a checksum"):
        Checked(inner, CRC16_X25, skip=1).split(inner.join(message))
    assert Checked(inner, CRC16_X25, skip=1, on_error="drop").split(inner.join(message)) == ([], b"", 1)


def test_missing_is_that_of_the_inner_framing() -> None:
    assert Checked(LengthPrefixed(2), XOR8).split(b"\x00\x09abc") == ([], b"\x00\x09abc", 6)


def test_join_refuses_what_it_cannot_sum_and_what_the_inner_framing_refuses() -> None:
    with pytest.raises(FrameError, match="fewer than the 2 before the sum"):
        Checked(LengthPrefixed(1), XOR8, skip=2).join(b"a")
    with pytest.raises(FrameError, match="ending"):
        Checked(Lines(), XOR8).join(b"\x0a\x00")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="inner must be a framing"):
        Checked(XOR8, XOR8)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="check must be a Checksum"):
        Checked(Lines(), sum)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="byteorder must be 'big' or 'little'"):
        Checked(Lines(), XOR8, byteorder="native")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="skip must be at least 0"):
        Checked(Lines(), XOR8, skip=-1)
    with pytest.raises(ValueError, match="on_error must be 'close' or 'drop', not 'ignore'"):
        Checked(Lines(), XOR8, on_error="ignore")  # type: ignore[arg-type]
