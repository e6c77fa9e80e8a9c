"""check_framing finds what is wrong with a framing; each class below is wrong in one way."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mooring.errors import FrameError
from mooring.framing import LengthPrefixed, Lines, Raw
from mooring.testing import check_framing


class Good:
    """Messages of up to nine bytes after one digit that says how many."""

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages: list[bytes] = []
        while data:
            if not data[:1].isdigit():
                raise FrameError("no digit", messages)
            size = 1 + int(data[:1])
            if len(data) < size:
                return messages, data, size - len(data)
            messages.append(data[1:size])
            data = data[size:]
        return messages, b"", 1

    def join(self, message: bytes) -> bytes:
        if len(message) > 9:
            raise FrameError("more than nine bytes")
        return b"%d" % len(message) + message


STREAM = b"3abc01x2de5fghij9klm"
MESSAGES = [b"abc", b"", b"x", b"de", b"fghij"]


class GivesOneMessagePerCall(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages, rest, missing = super().split(data)
        if len(messages) > 1:
            return messages[:1], data[1 + len(messages[0]) :], 0
        return messages, rest, missing


class TakesPiecesForMessages(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        return ([data[1:]], b"", 0) if data else ([], b"", 0)


class LosesTheRest(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        try:
            messages, _, missing = super().split(data)
        except FrameError:
            return [], b"", 0
        return messages, b"", missing


class NeedsTheHeaderInOnePiece(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        if len(data) == 1:
            raise FrameError("header cut")
        return super().split(data)


class KeepsAState(Good):
    def __init__(self) -> None:
        self.calls = 0

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        self.calls += 1
        messages, rest, missing = super().split(data)
        return (messages if self.calls < 40 else messages[1:]), rest, missing


class PromisesTooMuch(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages, rest, missing = super().split(data)
        return messages, rest, missing + (1 if rest else 0)


class PromisesTooMuchAtFirst(Good):
    """Says ten for a header, and the truth from then on."""

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages, rest, missing = super().split(data)
        return messages, rest, 10 if len(rest) == 1 else missing


class RaisesIndexError(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        if data and not data[:1].isdigit():
            raise IndexError("digit out of range")
        return super().split(data)


class LooksAtTheLastByte(Good):
    """Looks at the last byte of what it gets, and which one that is depends on the cut."""

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        if data and not data[-1:].isascii():
            raise FrameError("not ASCII")
        return super().split(data)


class ForgetsTheMessagesBeforeAFault(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        try:
            return super().split(data)
        except FrameError as exc:
            raise FrameError(str(exc)) from exc


class JoinsAWrongLength(Good):
    def join(self, message: bytes) -> bytes:
        return b"%d" % (len(message) + 1) + message


class JoinsTooMuch(Good):
    def join(self, message: bytes) -> bytes:
        return super().join(message) + b"0"


class JoinRefusesEmptyMessages(Good):
    def join(self, message: bytes) -> bytes:
        if not message:
            raise FrameError("empty")
        return super().join(message)


class JoinsAList(Good):
    def join(self, message: bytes) -> Any:
        return [super().join(message)]


class ReturnsATupleOfTwo(Good):
    def split(self, data: bytes) -> Any:
        return super().split(data)[:2]


class ReturnsAGenerator(Good):
    def split(self, data: bytes) -> Any:
        messages, rest, missing = super().split(data)
        return (message for message in messages), rest, missing


class ReturnsBytearrays(Good):
    def split(self, data: bytes) -> Any:
        messages, rest, missing = super().split(data)
        return [bytearray(message) for message in messages], rest, missing


class ReturnsARestOfNone(Good):
    def split(self, data: bytes) -> Any:
        messages, rest, missing = super().split(data)
        return messages, rest or None, missing


class ReturnsANegativeMissing(Good):
    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages, rest, missing = super().split(data)
        return messages, rest, -missing


def test_a_right_framing_passes() -> None:
    check_framing(Good(), STREAM, MESSAGES)
    check_framing(Good(), b"", [])


def test_a_stream_may_end_with_a_fault() -> None:
    check_framing(Good(), b"3abc!", [b"abc"])


@pytest.mark.parametrize(
    ("framing", "text"),
    [
        (GivesOneMessagePerCall(), "split of the whole stream gave the wrong messages"),
        (TakesPiecesForMessages(), "split of the whole stream gave the wrong messages"),
        (LosesTheRest(), "cutting at 1 of 20 bytes changes the outcome"),
        (NeedsTheHeaderInOnePiece(), "cutting at 1 of 20 bytes changes the outcome"),
        (KeepsAState(), r"cutting at \d+( and \d+)? of 20 bytes changes the outcome"),
        (PromisesTooMuch(), "after 1 bytes split said that 4 bytes were missing, but 3 were enough for 1 messages"),
        (PromisesTooMuchAtFirst(), "after 1 bytes split said that 10 bytes were missing, but 3 were enough"),
        (RaisesIndexError(), r"raised IndexError\('digit out of range'\); only FrameError is allowed"),
        (LooksAtTheLastByte(), "changes the outcome of garbage"),
        (ForgetsTheMessagesBeforeAFault(), "changes the outcome of garbage"),
        (JoinsAWrongLength(), r"join\(b'abc'\) made b'4abc', which splits into 0 messages \[\], then rest b'4abc'"),
        (JoinsTooMuch(), r"join\(b'abc'\) made b'3abc0', which splits into 2 messages"),
        (JoinRefusesEmptyMessages(), "join refused b'', which split gave: FrameError"),
        (JoinsAList(), r"join\(b'abc'\) returned list, not bytes"),
        (ReturnsATupleOfTwo(), r"returned \(\[.*\], b'9klm'\), not \(messages, rest, missing\)"),
        (ReturnsAGenerator(), "gave messages that are no list of bytes"),
        (ReturnsBytearrays(), "gave messages that are no list of bytes"),
        (ReturnsARestOfNone(), "returned a rest of type NoneType, not bytes"),
        (ReturnsANegativeMissing(), r"returned missing=-6, not a number of bytes"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Good) else None,
)
def test_a_wrong_framing_is_found_and_the_text_says_how(framing: Good, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_framing(framing, STREAM, MESSAGES)


def test_wrong_expectations_are_shown_beside_what_came() -> None:
    with pytest.raises(AssertionError) as caught:
        check_framing(Lines(), b"one\ntwo\nthr", [b"one", b"two", b"thr"])
    assert "expected 3 messages [b'one', b'two', b'thr']" in str(caught.value)
    assert "got      2 messages [b'one', b'two'], then rest b'thr'" in str(caught.value)


def test_raw_does_not_pass_because_the_network_draws_its_borders() -> None:
    with pytest.raises(AssertionError, match="cutting at 1 of 5 bytes changes the outcome"):
        check_framing(Raw(), b"hello", [b"hello"])


def test_long_messages_are_shortened_in_the_text() -> None:
    with pytest.raises(AssertionError) as caught:
        check_framing(Lines(), b"x" * 5000 + b"\n", [])
    assert len(str(caught.value)) < 500
    assert "(5000 bytes)" in str(caught.value)


class CountsItsWork:
    """Passes calls on and counts the bytes that it is asked to split."""

    def __init__(self, inner: LengthPrefixed | Lines) -> None:
        self.inner = inner
        self.calls = 0
        self.bytes = 0

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        self.calls += 1
        self.bytes += len(data)
        return self.inner.split(data)

    def join(self, message: bytes) -> bytes:
        return self.inner.join(message)


def test_a_short_stream_is_cut_at_every_point_and_every_pair_of_points() -> None:
    framing = CountsItsWork(Lines())
    seen: set[bytes] = set()
    split = framing.split
    framing.split = lambda data: (seen.add(data), split(data))[1]  # type: ignore[method-assign,func-returns-value]
    stream = bytes(range(65, 95))
    check_framing(framing, stream, [])
    assert {stream[:end] for end in range(1, 31)} <= seen
    assert framing.calls > 30 * 29 // 2 * 3


@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
def test_the_work_for_a_long_stream_is_bounded(size: int) -> None:
    message = random.Random(0).randbytes(size)
    framing = CountsItsWork(LengthPrefixed())
    check_framing(framing, framing.join(message), [message])
    assert framing.calls < 40_000
    assert framing.bytes < 200_000_000
