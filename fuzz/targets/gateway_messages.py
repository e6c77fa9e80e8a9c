"""Lines of JSON from devices: commands, pushes, uploads with their base64, times and names.

Each line is a message or a refusal. A message holds what every later floor takes for granted, and means the same to
Python's own parser; a refusal can be sent as it is.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from mooring.gateway.checks import check_all
from mooring.gateway.errors import ErrorCode, ProtocolError
from mooring.gateway.json_lines import JSON_LINES, MAX_MESSAGE, OPS, decode, encode
from mooring.gateway.json_text import DEEPEST
from mooring.gateway.messages import LARGEST_BATCH, LARGEST_SEQ, Done, Error, FromDevice, Hello, Push, Upload
from mooring.gateway.tables.devices import Device
from mooring.gateway.tables.pushes import rows_of

MOST_LINES = 50
CODES = {code.code for code in ErrorCode}


def check(data: bytes) -> None:
    """See fuzz.targets."""
    for line in data.split(b"\n")[:MOST_LINES]:
        _check_line(line[:MAX_MESSAGE])


def _check_line(line: bytes) -> None:
    assert JSON_LINES.route(line) in ("push", "answer", "database")
    try:
        message = decode(line)
    except ProtocolError as exc:
        _check_refusal(exc)
        return
    assert decode(encode(message)) == message, line
    check_all(message)
    # A field that comes twice counts by its last value in both parsers.
    fields = json.loads(line, parse_constant=_no_number, parse_int=_whole)
    assert fields["op"] in OPS
    _check_message(message, fields)


def _check_refusal(exc: ProtocolError) -> None:
    assert exc.code.code in CODES
    assert len(exc.detail) < 300, exc.detail
    error = Error(
        of=exc.of, seq=exc.seq, name=exc.name, id=exc.id, code=exc.code.code, retry=exc.code.retry, detail=exc.detail
    )
    said = encode(error)
    assert len(said) < 2000
    assert b"\n" not in said
    assert json.loads(said)["code"] == exc.code.code


def _check_message(message: FromDevice, fields: dict[str, Any]) -> None:
    if isinstance(message, Hello):
        assert message.device == fields["device"]
        assert 1 <= len(message.device.encode()) <= 256
    elif isinstance(message, Push):
        _check_push(message, fields)
    elif isinstance(message, Done):
        assert 1 <= message.id <= LARGEST_SEQ
        result = bytes(message.result).decode()
        assert not result or _loaded(result) == fields["result"]
    elif isinstance(message, Upload):
        if message.data is not None:
            assert message.data == base64.b64decode(fields["data"], validate=True)
            assert 1 <= len(message.data) <= 32768
        assert 0 <= message.offset <= LARGEST_SEQ


def _check_push(push: Push, fields: dict[str, Any]) -> None:
    rows = rows_of(Device(1, "d"), push, 1_700_000_000.0)
    assert 1 <= len(rows) <= LARGEST_BATCH
    assert 1 <= rows[0].seq <= rows[-1].seq == push.last_seq <= LARGEST_SEQ
    given = [fields] if push.batch is None else fields["batch"]
    for row, item in zip(rows, given, strict=True):
        assert len(row.at) == 23
        assert row.data.count("[") + row.data.count("{") <= DEEPEST or _depth(item["data"]) <= DEEPEST
        assert _loaded(row.data) == item["data"], row.data


def _loaded(text: str) -> Any:
    return json.loads(text, parse_constant=_no_number, parse_int=_whole)


def _whole(digits: str) -> Any:
    """Python refuses to make numbers of more than 4,300 digits; the texts are as good for a comparison."""
    return int(digits) if len(digits) < 100 else digits


def _no_number(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 + max(map(_depth, inner), default=0) if inner is not None else 0
