"""The JSON lines codec: bytes of one line to a message, and answers to bytes. Pure: no socket, clock or database."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..framing import Framing, Lines
from ..heartbeat import Heartbeat
from .checks import TOO_DEEP, check, is_plain_push
from .codec import Session
from .errors import ErrorCode, ProtocolError, refusal
from .json_text import DEEPEST, find_invalid_utf8, is_deeper
from .messages import LARGEST_SEQ, FromDevice, Ping, Push, ToDevice

MAX_MESSAGE: Final = 65536
OPS: Final = frozenset({"hello", "push", "done", "upload", "version", "pull", "ping", "pong", "bye"})
LONGEST_ECHO: Final = 64
"""Characters of an unknown ``op`` that an error repeats."""

_decoder: Final[msgspec.json.Decoder[FromDevice]] = msgspec.json.Decoder(FromDevice)
_encoder: Final = msgspec.json.Encoder()


class _Head(msgspec.Struct):
    """What an error repeats of a message that could not be read as a whole."""

    op: Any = None
    seq: Any = None
    id: Any = None
    name: Any = None


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
    if type(message) is Push and line.isascii() and not is_deeper(line, DEEPEST + 1) and is_plain_push(message, line):
        return message  # nearly all that ever comes
    # Fields that nobody reads are skipped by the parser; a line is UTF-8 as a whole or not at all. How deep the parser
    # goes differs from one Python to the next, so the depth of the whole line is looked at, too.
    deepest = DEEPEST + 1 if not isinstance(message, Push) or message.batch is None else DEEPEST + 3
    fault = find_invalid_utf8(line) or (TOO_DEEP if is_deeper(line, deepest) else None)
    if fault is not None:
        raise refusal(ErrorCode.BAD_JSON, fault, message)
    check(message)
    return message


def encode(message: FromDevice | ToDevice) -> bytes:
    """Write a message: one line, without its ending."""
    return _encoder.encode(message)


PING: Final = encode(Ping())


class JSONLines:
    """See Codec."""

    framing: Framing = Lines(max_size=MAX_MESSAGE)
    heartbeat: Heartbeat | None = Heartbeat(timeout=90.0, interval=30.0, message=PING)
    name = "JSON lines"
    checks_itself = True

    def decode(self, message: bytes, session: Session) -> FromDevice:
        """See Codec."""
        return decode(message)

    def encode(self, answer: ToDevice, session: Session) -> bytes:
        """See Codec."""
        return _encoder.encode(answer)

    def route(self, message: bytes) -> str:
        """Tell messages that need the database from those that do not, by a glance at the line.

        A guess is enough: it only says whose measurements count, and each message is decoded in its turn anyway.
        """
        find = message[:256].find  # three times as quick as `in`, which CPython first tries to do with a number
        if find(b'"push"') >= 0:
            return "push"
        return "answer" if find(b'"ping"') >= 0 or find(b'"pong"') >= 0 else "database"


JSON_LINES: Final = JSONLines()


def _explain(line: bytes, exc: msgspec.ValidationError) -> ProtocolError:
    """The parser stopped at the first thing that is no message of ours; is it at least JSON to its end?"""
    try:
        _any_decoder.decode(line)
        fault = find_invalid_utf8(line) or (TOO_DEEP if is_deeper(line, DEEPEST + 3) else None)
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
    code, detail = ErrorCode.BAD_MESSAGE, str(exc)
    if head.op not in OPS:
        code, detail = ErrorCode.UNKNOWN_OP, f"the gateway knows {', '.join(sorted(OPS))}"
    return ProtocolError(
        code,
        detail,
        of=head.op[:LONGEST_ECHO],
        seq=_number(head.seq),
        id=_number(head.id),
        name=head.name[:LONGEST_ECHO] if isinstance(head.name, str) else None,
    )


def _number(value: Any) -> int | None:
    return value if type(value) is int and 1 <= value <= LARGEST_SEQ else None
