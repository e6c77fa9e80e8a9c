"""The user's page: its examples run, and its framing of one's own is a right one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mooring.errors import FrameError
from mooring.testing import check_framing

PAGE = Path(__file__).parents[2] / "docs" / "framing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def names_of(word: str) -> dict[str, Any]:
    """Run the block with this word in it and return what it defines."""
    (block,) = [block for block in BLOCKS if word in block]
    names: dict[str, Any] = {"FrameError": FrameError}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"5:hello,0:,12:hello, world,3:ab", [b"hello", b"", b"hello, world"]),
        (b"3:abc,3:abcd", [b"abc"]),
        (b"3:abc,123456", [b"abc"]),
        (b"0:,:,", [b""]),
    ],
)
def test_the_framing_on_the_page_is_right(stream: bytes, messages: list[bytes]) -> None:
    check_framing(names_of("class Netstrings")["Netstrings"](), stream, messages)


def test_the_proof_on_the_page_runs() -> None:
    names = names_of("def test_netstrings")
    names["Netstrings"] = names_of("class Netstrings")["Netstrings"]
    names["test_netstrings"]()


def test_the_framings_composed_on_the_page_work() -> None:
    names = names_of("gb_t_32960 =")
    assert names["jt_808"].split(bytes.fromhex("7E 00 02 00 00 01 23 45 67 89 01 00 0B 81 7E"))[0][0][-1] == 0x0B
    assert names["gb_t_32960"].split(b"##")[1] == b"##"
