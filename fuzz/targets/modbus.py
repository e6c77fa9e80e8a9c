"""The Modbus example: every request is answered or refused, and one that is refused changes nothing."""

from __future__ import annotations

from fuzz.examples import load_example
from fuzz.streams import Case, check_stream, outcome_of
from mooring.errors import FrameError

modbus = load_example("modbus")
CASE = Case(modbus.Modbus.framing, largest=260, kept=260)
EXCEPTION = 0x80


def check(data: bytes) -> None:
    """See fuzz.targets."""
    check_stream(CASE, data)
    served = modbus.Modbus({number: modbus.Unit(16) for number in (0, 1)})
    for message in outcome_of(CASE, [data], waits=False)[0]:
        before = {number: _state(unit) for number, unit in served.units.items()}
        try:
            answer = served.received(None, message)
        except FrameError:
            answer = None
        if answer is None or answer[7] & EXCEPTION:
            assert before == {number: _state(unit) for number, unit in served.units.items()}
        if answer is not None:
            assert answer[:2] == message[:2], "an answer has the number of its request"
            assert len(answer) <= 260
            assert answer[7] & 0x7F == message[7] & 0x7F


def _state(unit: object) -> dict[str, list[object]]:
    return {name: list(value) for name, value in vars(unit).items() if isinstance(value, list)}
