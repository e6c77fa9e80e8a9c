"""The JSON lines codec: bytes of one line to a message, and answers to bytes. Pure: no socket, clock or database."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..framing import Framing, Lines
from .errors import ErrorCode, ProtocolError
from .json_text import DEEPEST, find_infinite, find_invalid_utf8, is_deeper
from .messages import LARGEST_SEQ, FromDevice, Hello, Ping, Push, ToDevice
from .names import check_name

MAX_MESSAGE: Final = 65536
FRAMING: Final[Framing] = Lines(max_size=MAX_MESSAGE)
OPS: Final = frozenset({"hello", "push", "ping", "pong", "bye"})
LONGEST_ECHO: Final = 64
"""Characters of an unknown ``op`` that an error repeats."""
TOO_DEEP: Final = f"arrays and objects nested more than {DEEPEST} deep"

_decoder: Final[msgspec.json.Decoder[FromDevice]] = msgspec.json.Decoder(FromDevice)
_encoder: Final = msgspec.json.Encoder()


class _Head(msgspec.Struct):
    """What an error repeats of a message that could not be read as a whole."""

    op: Any = None
    seq: Any = None


_head_decoder: Final = msgspec.json.Decoder(_Head)
_any_decoder: Final = msgspec.json.Decoder(msgspec.Raw)


def decode(line: bytes) -> FromDevice:
    """Read a message of a device and check all of it, so that no later floor can refuse it.

    Unknown fields are ignored. Of a field that comes twice the last one counts.

    Args:
        line: without its ending.

    Raises:
        ProtocolError: the answer that the device shall get.
    """
    try:
        message = _decoder.decode(line)
    except msgspec.ValidationError as exc:
        raise _explain(line, exc) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ProtocolError(ErrorCode.BAD_JSON, f"not JSON: {exc}") from None
    except RecursionError:
        raise ProtocolError(ErrorCode.BAD_JSON, TOO_DEEP) from None
    # Fields that nobody reads are skipped by the parser; a line is UTF-8 as a whole or not at all. How deep the parser
    # goes differs from one Python to the next, so the depth of the whole line is looked at, too.
    fault = find_invalid_utf8(line) or (TOO_DEEP if is_deeper(line, DEEPEST + 1) else None)
    if fault is not None:
        raise _refuse(ErrorCode.BAD_JSON, fault, message)
    if isinstance(message, Push):
        fault = find_infinite(bytes(message.data))
        if fault is not None:
            raise _refuse(ErrorCode.BAD_JSON, f"data: {fault}", message)
    elif isinstance(message, Hello):
        fault = check_name(message.device)
        if fault is not None:
            raise _refuse(ErrorCode.BAD_MESSAGE, fault, message)
    return message


def encode(message: FromDevice | ToDevice) -> bytes:
    """Write a message: one line, without its ending."""
    return _encoder.encode(message)


PING: Final = encode(Ping())


def route_of(line: bytes) -> str:
    """Tell messages that need the database from those that do not, by a glance at the line.

    A guess is enough: it only says whose measurements count, and each message is decoded in its turn anyway.
    """
    head = line[:256]
    return "database" if b'"push"' in head or b'"hello"' in head else "answer"


def _refuse(code: ErrorCode, detail: str, message: FromDevice) -> ProtocolError:
    of = str(message.__struct_config__.tag)
    return ProtocolError(code, detail, of=of, seq=message.seq if isinstance(message, Push) else None)


def _explain(line: bytes, exc: msgspec.ValidationError) -> ProtocolError:
    """The parser stopped at the first thing that is no message of ours; is it at least JSON to its end?"""
    try:
        _any_decoder.decode(line)
        fault = find_invalid_utf8(line) or (TOO_DEEP if is_deeper(line, DEEPEST + 1) else None)
    except msgspec.DecodeError as not_json:
        fault = f"not JSON: {not_json}"
    except RecursionError:
        fault = TOO_DEEP
    if fault is not None:
        return ProtocolError(ErrorCode.BAD_JSON, fault)
    try:
        head = _head_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ProtocolError(ErrorCode.BAD_MESSAGE, str(exc))
    if not isinstance(head.op, str):
        return ProtocolError(ErrorCode.BAD_MESSAGE, 'a message is an object with a text "op"')
    seq = head.seq if type(head.seq) is int and 1 <= head.seq <= LARGEST_SEQ else None
    of = head.op[:LONGEST_ECHO]
    if head.op not in OPS:
        return ProtocolError(ErrorCode.UNKNOWN_OP, f"the gateway knows {', '.join(sorted(OPS))}", of=of, seq=seq)
    return ProtocolError(ErrorCode.BAD_MESSAGE, str(exc), of=of, seq=seq)
