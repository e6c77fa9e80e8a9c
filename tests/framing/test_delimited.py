from __future__ import annotations

from typing import Any

import pytest
from framing.drawing import drawn

from mooring.errors import FrameError
from mooring.framing import Delimited
from mooring.testing import check_framing

JT_808 = Delimited(b"\x7e", b"\x7e", escapes={b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"})
MLLP = Delimited(b"\x0b", b"\x1c\x0d")
BACKSLASH = Delimited(b"[", b"]", escapes={b"\\": b"\\\\", b"]": b"\\b!"})


def test_the_drawing_of_jt_808_is_true() -> None:
    frame, message = drawn(Delimited, "7E 30 7D 02 08 7D 01 55 7E"), drawn(Delimited, "30 7E 08 7D 55")
    assert JT_808.split(frame) == ([message], b"", 0)
    assert JT_808.join(message) == frame


def test_the_drawing_of_mllp_is_true() -> None:
    stream = drawn(Delimited, "0B 4D 53 48 7C 5E 7E 5C 26 0D 1C 0D 0B")
    message = drawn(Delimited, ["4D 53 48 7C 5E 7E 5C 26 0D", "rest 0B"][0])
    assert message == b"MSH|^~\\&\r"
    assert MLLP.split(stream) == ([message], b"\x0b", 0)
    assert MLLP.join(message) == stream[:-1]


@pytest.mark.parametrize(
    ("framing", "stream", "messages"),
    [
        (JT_808, "7E 30 7D 02 08 7D 01 55 7E 7E 7D 01 02 7E 7E 41", ["30 7E 08 7D 55", "7D 02"]),
        (JT_808, "7E 7E 7E 41 7E 7E 7E 7E", ["41"]),
        (JT_808, "7E 41 7E 42 7E", ["41"]),
        (JT_808, "7E 41 7E 7E 7D 03", ["41"]),
        (JT_808, "7E 41 7E 7E 7D 7E", ["41"]),
        (MLLP, "0B 41 0D 1C 0D 0B 1C 0D 0B 1C 1C 0D 0B 42 1C", ["41 0D", "", "1C"]),
        (MLLP, "0B 0B 41 1C 0B 1C 0D", ["0B 41 1C 0B"]),
        (BACKSLASH, "5B 5C 5C 5C 62 21 5D 5B 5B 41 5D 5B 5C 62", ["5C 5D", "5B 41"]),
        (BACKSLASH, "5B 5D 5B 41 5C 62 41", [""]),
        (Delimited(b"<!", b"!>", max_size=3), "3C 21 61 62 63 21 3E 3C 21 61 62 63 21", ["61 62 63"]),
        (Delimited(b"<!", b"!>", max_size=3), "3C 21 61 62 63 21 3E 3C 21 61 62 63 21 21", ["61 62 63"]),
    ],
)
def test_any_cut_gives_the_same_messages(framing: Delimited, stream: str, messages: list[str]) -> None:
    check_framing(framing, bytes.fromhex(stream), [bytes.fromhex(message) for message in messages])


def test_markers_in_a_row_are_one_start_and_an_idle_line_keeps_one() -> None:
    assert JT_808.split(b"\x7e" * 7) == ([], b"\x7e", 0)
    assert JT_808.split(b"\x7e" * 5 + b"a" + b"\x7e") == ([b"a"], b"", 0)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n", b"a\x7e", b"\x0d"])
def test_bytes_outside_a_frame_are_refused(noise: bytes) -> None:
    with pytest.raises(FrameError, match="expected the start marker 7e, got") as caught:
        JT_808.split(b"\x7ea\x7e" + noise)
    assert caught.value.messages == (b"a",)


def test_a_start_marker_may_be_cut() -> None:
    framing = Delimited(b"<<", b">>")
    assert framing.split(b"<<a>><") == ([b"a"], b"<", 0)
    with pytest.raises(FrameError):
        framing.split(b"<<a>><a")


def test_the_limit_counts_bytes_without_escapes_and_markers() -> None:
    framing = Delimited(b"\x7e", b"\x7e", escapes=JT_808.escapes, max_size=2)
    full = b"\x7e" + b"\x7d\x02" * 2
    assert framing.split(full) == ([], full, 0)
    assert framing.split(full + b"\x7e")[0] == [b"\x7e\x7e"]
    for tail in (b"a", b"\x7d", b"\x7d\x01\x7e"):
        with pytest.raises(FrameError, match="more than 2 bytes"):
            framing.split(full + tail)


def test_an_escape_that_has_only_begun_counts_as_one_byte() -> None:
    framing = Delimited(b"[", b"]", escapes=BACKSLASH.escapes, max_size=2)
    assert framing.split(b"[a\\b") == ([], b"[a\\b", 0)
    with pytest.raises(FrameError, match="more than 2 bytes"):
        framing.split(b"[aa\\b")


@pytest.mark.parametrize(
    ("framing", "message"),
    [
        (MLLP, b"a\x1c\x0db"),
        (Delimited(b"<", b"aa"), b"ba"),
        (JT_808, b""),
        (Delimited(b"aa", b"aa"), b"a"),
        (Delimited(b"<", b">", max_size=2), b"abc"),
    ],
)
def test_join_refuses_what_would_be_read_as_something_else(framing: Delimited, message: bytes) -> None:
    with pytest.raises(FrameError):
        framing.join(message)


def test_escapes_are_copied_from_the_argument() -> None:
    escapes = {b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"}
    framing = Delimited(b"\x7e", b"\x7e", escapes=escapes)
    escapes.clear()
    assert framing == JT_808
    assert hash(framing) == hash(JT_808)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"start": b""}, "start must not be empty"),
        ({"end": b""}, "end must not be empty"),
        ({"max_size": 0}, "max_size must be at least 1"),
        ({"escapes": {}}, "escapes must not be empty"),
        ({"escapes": {b"\x7e": b"\x7d\x02"}}, "must have two bytes or more and begin with a byte that is"),
        ({"escapes": {b"\x7d": b"\x7d"}}, "must have two bytes or more"),
        ({"escapes": {b"\x7e\x7e": b"\x7d\x02"}}, "escapes replace single bytes"),
        ({"escapes": {b"\x7d": b"\x7d\x01", b"\x7e": b"\x7d\x01"}}, "cannot be told from each other"),
        ({"escapes": {b"\x7d": b"\x7d\x01", b"\x7e": b"\x7d\x01\x02"}}, "cannot be told from each other"),
        ({"escapes": {b"\x7d": b"\x7d\x7e"}}, "contains the end marker"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Delimited(**{"start": b"\x7e", "end": b"\x7e"} | arguments)


def test_arguments_of_the_wrong_type_are_named() -> None:
    with pytest.raises(TypeError, match="start must be bytes"):
        Delimited("<", b">")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="escapes must map bytes to bytes"):
        Delimited(b"<", b">", escapes={"<": b"ab"})  # type: ignore[dict-item]
