"""What every framing keeps: any cut gives the same, garbage raises only FrameError, split undoes join."""

from __future__ import annotations

import ast
import copy
import dataclasses
import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.streams import Case
from fuzz.streams import outcome_of as outcome_of_case
from mooring import framing as public
from mooring.errors import FrameError
from mooring.framing import (
    CRC16_ARC,
    CRC16_X25,
    SUM8,
    XOR8,
    Checked,
    Delimited,
    FixedLength,
    Framing,
    LengthPrefixed,
    Lines,
    Raw,
    Slip,
)

JT_808 = {b"\x7e": b"\x7d\x02", b"\x7d": b"\x7d\x01"}
BACKSLASH = {b"\\": b"\\\\", b"]": b"\\b!"}

# Small limits and few values, so that random bytes meet every branch.
FRAMINGS: list[Framing] = [
    Lines(max_size=5),
    Lines(b"\r\n", max_size=5),
    Lines(b"aab", max_size=4),
    Lines(b"aa", max_size=4),
    FixedLength(1),
    FixedLength(3),
    Slip(max_size=4),
    LengthPrefixed(1, max_size=5),
    LengthPrefixed(1, adjustment=-1, max_size=5),
    LengthPrefixed(1, adjustment=2, max_size=5),
    LengthPrefixed(2, byteorder="little", max_size=300),
    LengthPrefixed(1, offset=2, whole=True, max_size=8),
    LengthPrefixed(1, offset=1, adjustment=-2, whole=True, max_size=8),
    LengthPrefixed(1, offset=1, adjustment=1, whole=True, max_size=8),
    Delimited(b"\x7e", b"\x7e", escapes=JT_808, max_size=4),
    Delimited(b"\x7e", b"\x7e", max_size=4),
    Delimited(b"aa", b"aa", max_size=4),
    Delimited(b"[", b"]", escapes=BACKSLASH, max_size=4),
    Delimited(b"\x0b", b"\x1c\x0d", max_size=4),
    Delimited(b"ab", b"aab", max_size=4),
    Checked(Lines(max_size=6), SUM8),
    Checked(Lines(max_size=6), XOR8, on_error="drop"),
    Checked(LengthPrefixed(1, max_size=6), CRC16_X25, byteorder="little"),
    Checked(LengthPrefixed(1, offset=1, whole=True, max_size=8), XOR8, skip=1, on_error="drop"),
    Checked(Delimited(b"\x7e", b"\x7e", escapes=JT_808, max_size=5), CRC16_ARC),
    Checked(Checked(Slip(max_size=6), XOR8), SUM8),
]

PLENTY = 1 << 20

all_framings = pytest.mark.parametrize("framing", FRAMINGS, ids=repr)

# Mostly the bytes that mean something to one of the framings above.
ALPHABET = b"\x00\x01\x02\x03\x05\n\r\xc0\xdb\xdc\xdd\x7e\x7d\x0b\x1cab[]\\!"
noise = st.lists(st.sampled_from(ALPHABET) | st.integers(0, 255), max_size=40).map(bytes)
messages = st.lists(st.sampled_from(ALPHABET), max_size=6).map(bytes)


def frames_of(framing: Framing, candidates: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return those of the candidates that the framing can carry, and their frames."""
    carried, frames = [], []
    for candidate in candidates:
        try:
            frames.append(framing.join(candidate))
            carried.append(candidate)
        except FrameError:
            pass
    return carried, frames


def outcome_of(framing: Framing, pieces: list[bytes], *, waits: bool) -> tuple[list[bytes], bytes | None]:
    """What the pieces give; a reader that ``waits`` holds back what is fewer bytes than are missing."""
    return outcome_of_case(Case(framing, largest=PLENTY, kept=PLENTY), pieces, waits=waits)


def cut(stream: bytes, points: set[int]) -> list[bytes]:
    borders = [0, *sorted(point for point in points if point < len(stream)), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(borders)]


@all_framings
@given(stream=noise, points=st.sets(st.integers(0, 40)), waits=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_way_to_cut_any_bytes_gives_the_same_messages_and_the_same_end(
    framing: Framing, stream: bytes, points: set[int], waits: bool
) -> None:
    assert outcome_of(framing, cut(stream, points), waits=waits) == outcome_of(framing, [stream], waits=False)


@all_framings
@given(candidates=st.lists(messages, max_size=6), tail=noise, points=st.sets(st.integers(0, 80)))
@settings(max_examples=40, deadline=None)
def test_joined_messages_come_back_whatever_follows_and_however_they_are_cut(
    framing: Framing, candidates: list[bytes], tail: bytes, points: set[int]
) -> None:
    carried, frames = frames_of(framing, candidates)
    stream = b"".join(frames)
    assert framing.split(stream)[:2] == (carried, b"")
    got, _ = outcome_of(framing, cut(stream + tail, points), waits=True)
    assert got[: len(carried)] == carried


@all_framings
@given(stream=noise)
@settings(max_examples=40, deadline=None)
def test_every_message_that_split_gives_can_be_joined(framing: Framing, stream: bytes) -> None:
    for message in outcome_of(framing, [stream], waits=False)[0]:
        assert framing.split(framing.join(message))[:2] == ([message], b"")


@all_framings
def test_each_framing_in_this_suite_carries_some_message(framing: Framing) -> None:
    candidates = [b"abc", b"a", b"\x00\x01a", b"\x00\x02", b"\x00\x02\x02", b"\x00\x01ab", b"\x00\x00\x01a"]
    carried, _ = frames_of(framing, candidates)
    assert carried


@all_framings
def test_a_framing_is_an_immutable_value(framing: Framing) -> None:
    twin = copy.deepcopy(framing)
    assert twin == framing
    assert hash(twin) == hash(framing)
    assert repr(framing).startswith(type(framing).__name__ + "(")
    name = dataclasses.fields(framing)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(framing, name, getattr(framing, name))


@all_framings
def test_a_framing_survives_pickling(framing: Framing) -> None:
    twin = pickle.loads(pickle.dumps(framing))
    assert twin == framing
    assert twin.split(b"") == framing.split(b"")


def test_other_arguments_make_another_value() -> None:
    assert Lines() != Lines(b"\r\n")
    assert Lines() != Lines(max_size=1)
    assert Delimited(b"[", b"]", escapes=BACKSLASH) != Delimited(b"[", b"]")


def test_the_package_hands_out_what_the_documentation_names() -> None:
    assert all(hasattr(public, name) for name in public.__all__)
    assert {"Framing", "Lines", "FixedLength", "Slip", "Raw", "LengthPrefixed", "Delimited", "Checked"} <= set(
        public.__all__
    )


def test_every_framing_answers_to_the_protocol() -> None:
    assert all(isinstance(framing, Framing) for framing in [*FRAMINGS, Raw()])
    assert not isinstance(object(), Framing)


def test_the_floor_imports_no_socket_thread_clock_or_file() -> None:
    folder = Path(public.__file__).parent
    imported = {name for file in folder.glob("*.py") for name in imports_of(ast.parse(file.read_text()))}
    assert {name for name in imported if name.startswith("mooring")} == {
        "mooring.errors",
        *(f"mooring.framing.{file.stem}" for file in folder.glob("*.py") if file.stem != "__init__"),
    }
    assert {name for name in imported if not name.startswith("mooring")} <= {
        *("__future__", "collections.abc", "dataclasses", "functools", "itertools", "operator", "typing"),
        *("binascii", "re", "zlib"),
    }


def imports_of(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names
