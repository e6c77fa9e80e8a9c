"""What a message must keep to so that no later floor can refuse it: checked at the edge, whichever codec made it.

The database would refuse a seq or a time out of range, invalid UTF-8, or a name that is too long; and one refused row
would make all others of its batch wait.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .errors import ErrorCode, refusal
from .json_text import DEEPEST, find_infinite, find_invalid_utf8, is_deeper, may_be_infinite
from .messages import (
    LARGEST_BATCH,
    LARGEST_BLOCK,
    LARGEST_SEQ,
    LEAST_BLOCK,
    NOTHING,
    Done,
    FromDevice,
    Hello,
    Item,
    Push,
    Upload,
)
from .names import check_name, check_upload_name

TOO_DEEP: Final = f"arrays and objects nested more than {DEEPEST} deep"
_any_decoder: Final = msgspec.json.Decoder(msgspec.Raw)


def check(message: FromDevice) -> None:
    """Check what the types and the parser of the JSON lines codec have not checked already.

    Raises:
        ProtocolError: the answer that the device shall get.
    """
    if isinstance(message, Push):
        _check_push(message)
    elif isinstance(message, Hello):
        _refuse_fault(ErrorCode.BAD_MESSAGE, check_name(message.device), message)
    elif isinstance(message, Done):
        if message.error is not None and len(bytes(message.result)):
            raise refusal(ErrorCode.BAD_MESSAGE, "done has either a result or an error", message)
        _refuse_infinite(message.result, "result", message)
    elif isinstance(message, Upload):
        _check_upload(message)


def is_plain_push(push: Push, line: bytes) -> bool:
    """Whether a push has one item, and ``check`` has nothing to refuse in it; a no says nothing.

    Args:
        line: valid JSON that ``data`` is a part of.
    """
    return push.batch is None and push.data is not NOTHING and not may_be_infinite(line)


def check_all(message: FromDevice) -> None:
    """Check everything: types and ranges, and that what shall be stored as JSON is JSON. For codecs of others.

    Raises:
        ProtocolError: the answer that the device shall get.
    """
    try:
        msgspec.convert(msgspec.to_builtins(message, builtin_types=(msgspec.Raw, bytes)), type(message))
    except (msgspec.ValidationError, TypeError, ValueError) as exc:
        raise refusal(ErrorCode.BAD_MESSAGE, f"the codec gave a wrong message: {exc}", message) from exc
    texts = [item.data for item in message.items] if isinstance(message, Push) else []
    if isinstance(message, Done) and len(bytes(message.result)):
        texts.append(message.result)
    for text in texts:
        _refuse_fault(ErrorCode.BAD_JSON, find_fault(bytes(text)), message)
    check(message)


def find_fault(text: bytes) -> str | None:
    """Say why a text cannot be stored as JSON, or None: syntax, UTF-8, nesting, numbers."""
    try:
        _any_decoder.decode(text)
    except RecursionError:
        return TOO_DEEP
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        return f"not JSON: {exc}"
    if is_deeper(text, DEEPEST):
        return TOO_DEEP
    return find_invalid_utf8(text) or find_infinite(text)


def _check_push(push: Push) -> None:
    if push.batch is None:
        if not len(bytes(push.data)):
            raise refusal(ErrorCode.BAD_MESSAGE, "Object missing required field `data` (or `batch`)", push)
        _refuse_infinite(push.data, "data", push)
        return
    if len(bytes(push.data)) or push.at is not None:
        raise refusal(ErrorCode.BAD_MESSAGE, "a push has either data or a batch; each item has its own `at`", push)
    if not 1 <= len(push.batch) <= LARGEST_BATCH:
        detail = f"a batch has 1 to {LARGEST_BATCH} items, this one {len(push.batch)}"
        raise refusal(ErrorCode.BAD_MESSAGE, detail, push)
    if push.last_seq > LARGEST_SEQ:
        raise refusal(ErrorCode.BAD_MESSAGE, f"the batch counts beyond seq {LARGEST_SEQ}", push)
    for number, item in enumerate(push.batch):
        _check_item(item, number, push)


def _check_item(item: Item, number: int, push: Push) -> None:
    _refuse_infinite(item.data, f"batch[{number}].data", push)


def _check_upload(upload: Upload) -> None:
    _refuse_fault(ErrorCode.BAD_MESSAGE, check_upload_name(upload.name), upload)
    if upload.data is None:
        return
    size = len(upload.data)
    if not 1 <= size <= LARGEST_BLOCK:
        detail = f"a block has 1 to {LARGEST_BLOCK} bytes, this one {size}"
        raise refusal(ErrorCode.BAD_MESSAGE, detail, upload)
    if size < LEAST_BLOCK and upload.offset + size < upload.total:
        detail = f"a block that is not the last one has at least {LEAST_BLOCK} bytes, this one {size}"
        raise refusal(ErrorCode.BAD_MESSAGE, detail, upload)


def _refuse_infinite(text: msgspec.Raw, where: str, message: FromDevice) -> None:
    fault = find_infinite(bytes(text))
    if fault is not None:
        raise refusal(ErrorCode.BAD_JSON, f"{where}: {fault}", message)


def _refuse_fault(code: ErrorCode, fault: str | None, message: FromDevice) -> None:
    if fault is not None:
        raise refusal(code, fault, message)
