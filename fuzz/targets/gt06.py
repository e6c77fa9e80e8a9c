"""The GT06 example: its framing, and what its codec makes of each message for the gateway."""

from __future__ import annotations

from fuzz.examples import load_example
from fuzz.streams import Case, check_stream, outcome_of
from mooring.errors import FrameError
from mooring.gateway import Session
from mooring.gateway.checks import check_all
from mooring.gateway.errors import ProtocolError

gt06 = load_example("gt06")
CASE = Case(gt06.Gt06(), largest=0xFFFF - 2, kept=0xFFFF + 8)
CODEC = gt06.Gt06Codec()


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_stream(CASE, data)
    session = Session()
    for message in outcome_of(CASE, [data], waits=False)[0]:
        try:
            decoded = CODEC.decode(message, session)
            if decoded is not None:
                check_all(decoded)
        except (FrameError, ProtocolError):
            pass
