from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mooring.framing import Raw


def test_a_read_is_a_message() -> None:
    assert Raw().split(b"hel") == ([b"hel"], b"", 0)
    assert Raw().split(b"") == ([], b"", 0)
    assert Raw().join(b"\x00any\n") == b"\x00any\n"


@given(pieces=st.lists(st.binary()))
def test_the_sum_of_the_messages_is_the_stream(pieces: list[bytes]) -> None:
    assert b"".join(b"".join(Raw().split(piece)[0]) for piece in pieces) == b"".join(pieces)
