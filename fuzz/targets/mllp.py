"""The MLLP example: what it reads of an HL7 message, and that its answer names it."""

from __future__ import annotations

from fuzz.examples import load_example

mllp = load_example("mllp")


def check(data: bytes) -> None:
    """See fuzz.targets."""
    try:
        header = mllp.Header.parse(data)
    except ValueError:
        return
    msh, msa, end = header.answer("AE", "a text").decode("latin-1").split("\r")
    assert end == ""
    assert msh.split(header.separator)[9] == header[10], "an answer has the control id of its question"
    assert msa.split(header.separator)[:3] == ["MSA", "AE", header[10]]
