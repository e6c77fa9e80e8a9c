"""The messages between devices and the gateway, as frozen Structs; which bytes they are is the codec's business.

Sources of the field types: seq is limited to what every JSON implementation keeps exactly (RFC 8259, section 6);
times must fit a DATETIME, whose last year is 9999.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

VERSION: Final = 1
"""The version of the protocol that the gateway speaks."""

LARGEST_SEQ: Final = 2**53 - 1
END_OF_TIME: Final = 253_402_300_799.999
"""The last millisecond of the year 9999, in Unix seconds."""

Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_SEQ)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=END_OF_TIME)]


class Message(msgspec.Struct, frozen=True, tag_field="op", omit_defaults=True):
    """Base of all messages; ``op`` names the kind."""


class Hello(Message, frozen=True, tag="hello"):
    """The device says who it is.

    Args:
        device: its name, see ``names.check_name``.
        v: the highest version of the protocol that it speaks.
    """

    device: str
    v: int = VERSION


class Push(Message, frozen=True, tag="push"):
    """The device hands something over to be stored.

    Args:
        seq: 1 to 2**53-1, growing, never used twice for different content.
        data: any JSON, kept byte for byte.
        at: when it happened by the device's clock, in Unix seconds; None: the time of receipt counts.
    """

    seq: Seq
    data: msgspec.Raw
    at: Seconds | None = None


class Ping(Message, frozen=True, tag="ping"):
    """Either side asks whether the other one lives."""


class Pong(Message, frozen=True, tag="pong"):
    """The answer to Ping."""


class Bye(Message, frozen=True, tag="bye"):
    """Whoever says this closes the connection next.

    Args:
        reason: of the gateway: "restart" or "replaced".
        retry_after: seconds that the device waits before it comes again.
    """

    reason: str | None = None
    retry_after: float | None = None


class Welcome(Message, frozen=True, tag="welcome"):
    """The answer to Hello.

    Args:
        device: the name.
        v: the version that is used from here on.
        time: the gateway's clock, in Unix seconds.
        heartbeat: seconds of silence after which the gateway sends a Ping.
        timeout: seconds of silence after which it closes the connection.
        last_seq: the highest seq that is stored, 0 if there is none. Only an Ack says that a push is stored.
        max_message: the most bytes of a line, without its ending.
    """

    device: str
    v: int
    time: float
    heartbeat: float | None
    timeout: float | None
    last_seq: int
    max_message: int


class Ack(Message, frozen=True, tag="ack"):
    """The push with this seq is stored."""

    seq: int


class Error(Message, frozen=True, tag="error", kw_only=True):
    """Something was wrong with a message; see ``errors.ErrorCode``.

    Args:
        of, seq: of the message that it answers, where known.
        code: for programs.
        retry: whether the same message may be sent again.
        detail: for people.
        versions: those that the gateway speaks, with ``unsupported_version``.
    """

    of: str | None = None
    seq: int | None = None
    code: str
    retry: bool
    detail: str
    versions: tuple[int, ...] | None = None


FromDevice: TypeAlias = Hello | Push | Ping | Pong | Bye
ToDevice: TypeAlias = Welcome | Ack | Ping | Pong | Bye | Error
