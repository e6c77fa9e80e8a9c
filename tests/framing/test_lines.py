from __future__ import annotations

import pytest
from framing.drawing import drawn

from mooring.errors import FrameError
from mooring.framing import Lines
from mooring.testing import check_framing


def test_the_drawing_is_true() -> None:
    before = drawn(Lines, "50 49 4E 47 0D 0A 50 49 4E 47 0D 0A 50 49")
    message = drawn(Lines, "50 49 4E 47 |")
    assert Lines(b"\r\n").split(before) == ([message, message], drawn(Lines, "50 49"), 0)


@pytest.mark.parametrize(
    ("framing", "stream", "messages"),
    [
        (Lines(), b"one\ntwo\r\n\n\r\nfive\r\r\nsix", [b"one", b"two", b"", b"", b"five"]),
        (Lines(b"\r\n"), b"PING\r\nPI\rNG\r\n\nx\r\r\n\r\nrest\r", [b"PING", b"PI\rNG", b"\nx\r", b""]),
        (Lines(b"\0"), b"one\r\0two\n\0", [b"one\r", b"two\n"]),
        (Lines(b"--"), b"a--b---c-- -", [b"a", b"b", b"-c"]),
        (Lines(max_size=4), b"four\nfour\nfiver", [b"four", b"four"]),
        (Lines(b"\r\n", max_size=4), b"four\r\nfour\r\nfour\rx", [b"four", b"four"]),
    ],
)
def test_any_cut_gives_the_same_lines(framing: Lines, stream: bytes, messages: list[bytes]) -> None:
    check_framing(framing, stream, messages)


def test_netcat_and_telnet_give_the_same_message() -> None:
    assert Lines().split(b"hello\n")[0] == Lines().split(b"hello\r\n")[0] == [b"hello"]


def test_another_ending_is_taken_to_the_letter() -> None:
    assert Lines(b"\r\n").split(b"a\nb\r\n") == ([b"a\nb"], b"", 0)
    assert Lines(b";").split(b"a\r;") == ([b"a\r"], b"", 0)


def test_join_adds_exactly_the_ending() -> None:
    assert Lines().join(b"+PONG") == b"+PONG\n"
    assert Lines(b"\r\n").join(b"+PONG") == b"+PONG\r\n"


def test_a_line_of_max_size_is_taken_and_one_byte_more_refused() -> None:
    framing = Lines(max_size=4)
    assert framing.split(b"abcd\nabcd") == ([b"abcd"], b"abcd", 0)
    for stream in (b"ok\nabcde", b"ok\r\nabcde\n", b"ok\nabcde\nmore\n"):
        with pytest.raises(FrameError, match="more than 4 bytes") as caught:
            framing.split(stream)
        assert caught.value.messages == (b"ok",)


def test_an_ending_that_has_only_begun_does_not_count() -> None:
    assert Lines(b"\r\n", max_size=4).split(b"abcd\r") == ([], b"abcd\r", 0)
    # Both tails of this begin the ending; the longer one decides.
    assert Lines(b"aab", max_size=4).split(b"xxxxaa") == ([], b"xxxxaa", 0)
    for stream in (b"abcde", b"abcd\rx"):
        with pytest.raises(FrameError):
            Lines(b"\r\n", max_size=4).split(stream)


def test_many_short_lines_may_be_longer_together_than_max_size() -> None:
    assert Lines(max_size=4).split(b"abc\n" * 1000) == ([b"abc"] * 1000, b"", 0)


@pytest.mark.parametrize(
    ("framing", "message"),
    [
        (Lines(), b"two\nlines"),
        (Lines(), b"two\n"),
        (Lines(), b"return\r"),
        (Lines(b"\r\n"), b"two\r\nlines"),
        (Lines(b"--"), b"tail-"),
        (Lines(max_size=4), b"abcde"),
    ],
)
def test_join_refuses_what_would_be_read_as_something_else(framing: Lines, message: bytes) -> None:
    with pytest.raises(FrameError):
        framing.join(message)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="ending must not be empty"):
        Lines(b"")
    with pytest.raises(TypeError, match="ending must be bytes"):
        Lines("\n")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_size must be at least 1"):
        Lines(max_size=0)
    with pytest.raises(TypeError, match="max_size must be an integer"):
        Lines(max_size=1.5)  # type: ignore[arg-type]
