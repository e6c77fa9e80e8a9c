"""The error codes of the gateway's protocol: one table for the code, the documentation and the tests."""

from __future__ import annotations

from enum import Enum

from ..errors import MooringError
from .messages import Done, FromDevice, Pull, Push, Upload, Version, op_of


class ErrorCode(Enum):
    """What can be wrong with a message.

    ``retry`` True: the same message may be taken later, send it again with backoff. False: it never will be.
    ``closes``: the connection ends after the error. ``meaning``: one sentence for people.
    """

    BAD_JSON = ("bad_json", False, False, "The line is not JSON; as the first message it also ends the connection.")
    BAD_MESSAGE = ("bad_message", False, False, "The line is JSON, but a field is missing, of the wrong type or size.")
    UNKNOWN_OP = ("unknown_op", False, False, "The gateway does not know this `op`.")
    HELLO_FIRST = ("hello_first", False, False, "This message needs a `hello` before it.")
    ALREADY_HELLO = ("already_hello", False, False, "The device has said `hello` on this connection already.")
    UNAUTHORIZED = ("unauthorized", False, True, "The device is not let in.")
    UNSUPPORTED_VERSION = (
        "unsupported_version",
        False,
        True,
        "The gateway speaks none of the device's versions; `versions` lists its own.",
    )
    TOO_LARGE = ("too_large", False, True, "The line is longer than `max_message` of the welcome.")
    CONFLICT = ("conflict", False, False, "Something else with this `seq` is stored already; nothing is overwritten.")
    UNKNOWN_NAME = ("unknown_name", False, False, "There is no such file, version or command.")
    BAD_OFFSET = ("bad_offset", False, False, "The block does not begin where it should, or does not fit into `total`.")
    CHECKSUM = ("checksum", False, False, "The upload is not what `sha256` says; it was dropped and begins again at 0.")
    UNAVAILABLE = ("unavailable", True, False, "The database is not available now; nothing is acknowledged.")
    BUSY = ("busy", True, False, "The gateway cannot take this now; nothing is acknowledged.")

    def __init__(self, code: str, retry: bool, closes: bool, meaning: str) -> None:
        self.code = code
        self.retry = retry
        self.closes = closes
        self.meaning = meaning


class ProtocolError(MooringError):
    """A message that the gateway answers with an error.

    Args:
        code: which error.
        detail: what was wrong, in words, for the device's developer.
        of, seq, name, id: what is known of the message; the answer repeats it.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        of: str | None = None,
        seq: int | None = None,
        name: str | None = None,
        id: int | None = None,
    ) -> None:
        super().__init__(f"{code.code}: {detail}")
        self.code = code
        self.detail = detail
        self.of = of
        self.seq = seq
        self.name = name
        self.id = id


def refusal(code: ErrorCode, detail: str, message: FromDevice) -> ProtocolError:
    """The error that answers this message."""
    return ProtocolError(
        code,
        detail,
        of=op_of(message),
        seq=message.seq if isinstance(message, Push) else None,
        name=message.name[:64] if isinstance(message, Upload | Version | Pull) else None,
        id=message.id if isinstance(message, Done) else None,
    )
