"""The syslog example: its two framings in one, and what it reads of each message."""

from __future__ import annotations

from fuzz.examples import load_example
from fuzz.streams import Case, check_stream, outcome_of
from mooring.errors import FrameError

syslog = load_example("syslog")
LARGEST = 8192
CASE = Case(syslog.Rfc6587(LARGEST), largest=LARGEST, kept=LARGEST + len(f"{LARGEST} "))


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_stream(CASE, data)
    for message in outcome_of(CASE, [data], waits=False)[0]:
        try:
            entry = syslog.Entry.parse(message)
        except FrameError:
            continue
        assert 0 <= entry.facility <= 23
        assert 0 <= entry.severity <= 7
        assert max(len(entry.host), len(entry.app)) <= 255
