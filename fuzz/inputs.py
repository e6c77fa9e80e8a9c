"""Inputs made of a corpus by Hypothesis: seeds, and what comes of them by changes as a network or a foe makes them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st


@st.composite
def inputs(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 4096) -> bytes:
    """Bytes at random, or a seed with pieces cut out, doubled, replaced, or taken from another one."""
    if not seeds or draw(st.integers(0, 7)) == 0:
        return draw(st.binary(max_size=min(most, 200)))
    data = bytearray(draw(st.sampled_from(seeds))[:most])
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.sampled_from((0, 1, 1, 1, 2, 4, 8, 64))))
        data[begin:end] = draw(_pieces(seeds, bytes(data[begin:end])))
    return bytes(data[:most])


@st.composite
def _pieces(draw: st.DrawFn, seeds: Sequence[bytes], old: bytes) -> bytes:
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return b""
    if kind == 1:
        return old * draw(st.sampled_from((2, 3, 40)))
    if kind == 2:
        return draw(st.binary(min_size=1, max_size=4))
    if kind == 3:
        return draw(
            st.sampled_from((b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\n", b"\r\n", b'"', b"\\", b"[", b"9" * 20))
        )
    other = draw(st.sampled_from(seeds))
    begin = draw(st.integers(0, len(other)))
    return other[begin : begin + draw(st.integers(1, 64))]
