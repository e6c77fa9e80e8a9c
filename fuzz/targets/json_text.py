"""What is stored as JSON, against Python's own parser: what passes can be read by everybody."""

from __future__ import annotations

import json
import math
from typing import Any

from mooring.gateway.checks import find_fault
from mooring.gateway.json_text import DEEPEST, depth, is_deeper


def check(data: bytes) -> None:
    """See fuzz.targets."""
    fault = find_fault(data)
    if fault is not None:
        assert len(fault) < 200, fault
        return
    value = json.loads(data.decode(), parse_constant=_no_number, parse_int=float)
    assert _depth(value) == depth(data) <= DEEPEST
    assert not is_deeper(data, DEEPEST)
    assert not _has_infinite(value)


def _no_number(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 + max(map(_depth, inner), default=0) if inner is not None else 0


def _has_infinite(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_infinite, value.values()))
    if isinstance(value, list):
        return any(map(_has_infinite, value))
    return isinstance(value, float) and math.isinf(value)
