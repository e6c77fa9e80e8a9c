"""The messages between devices and the gateway, as frozen Structs; which bytes they are is the codec's business.

Sources of the field types: numbers are limited to what every JSON implementation keeps exactly (RFC 8259, section 6);
times must fit a DATETIME, whose last year is 9999.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Raw

VERSION: Final = 1
"""The version of the protocol that the gateway speaks."""

LARGEST_SEQ: Final = 2**53 - 1
END_OF_TIME: Final = 253_402_300_799.999
"""The last millisecond of the year 9999, in Unix seconds."""

LARGEST_BATCH: Final = 1000
"""Pushes in one message: they are stored in one commit, which others wait for."""
LARGEST_BLOCK: Final = 32 * 1024
"""Bytes in one block of an upload or a file: as base64 they fit into a line of 64 KiB."""
LEAST_BLOCK: Final = 1024
"""Bytes in one block of an upload, the last one excepted: each is a row and a commit."""
LONGEST_TEXT: Final = 4096
"""Characters of the error that a device answers a command with."""

Seq: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST_SEQ)]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST_SEQ)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=END_OF_TIME)]
Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]

NOTHING: Final = Raw(b"")
"""Stands where a message has no JSON; no JSON text is empty."""


class Message(msgspec.Struct, frozen=True, tag_field="op", omit_defaults=True):
    """Base of all messages; ``op`` names the kind."""


# What devices say -----------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """The device says who it is.

    Args:
        device: its name, see ``names.check_name``.
        v: the highest version of the protocol that it speaks.
        token: its proof, where the gateway wants one.
    """

    device: str
    v: int = VERSION
    token: str | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of several pushes in a message; see Push."""

    data: Raw
    at: Seconds | None = None


class Push(Message, frozen=True, tag="push"):
    """The device hands something over to be stored: ``data``, or a ``batch`` whose items count on from ``seq``.

    Args:
        seq: 1 to 2**53-1, growing, never used twice for different content.
        data: any JSON, kept byte for byte.
        at: when it happened by the device's clock, in Unix seconds; None: the time of receipt counts.
        batch: up to 1000 items, which are stored in one commit or not at all.
    """

    seq: Seq
    data: Raw = NOTHING
    at: Seconds | None = None
    batch: tuple[Item, ...] | None = None

    @property
    def items(self) -> tuple[Item, ...]:
        """What is to be stored, one for each seq."""
        return (Item(self.data, self.at),) if self.batch is None else self.batch

    @property
    def last_seq(self) -> int:
        """The seq of the last item."""
        return self.seq if self.batch is None else self.seq + len(self.batch) - 1


class Done(Message, frozen=True, tag="done"):
    """The device has done what it was commanded, or could not.

    Args:
        id: of the command.
        result: any JSON; ``null`` if it is left out.
        error: why it could not be done, in words; None: it was done.
    """

    id: Seq
    result: Raw = NOTHING
    error: Annotated[str, Meta(max_length=LONGEST_TEXT)] | None = None


class Upload(Message, frozen=True, tag="upload"):
    """A block of something that is larger than a message; without ``data``, the question where to go on.

    Args:
        name: what the device calls it.
        sha256: of the whole, 64 hexadecimal digits in lower case.
        total: bytes of the whole.
        offset: where the block belongs.
        data: the block, 1 to 32,768 bytes.
    """

    name: str
    sha256: Sha256
    total: Size
    offset: Size = 0
    data: bytes | None = None


class Version(Message, frozen=True, tag="version"):
    """The device asks which version of a file there is."""

    name: str


class Pull(Message, frozen=True, tag="pull"):
    """The device asks for a piece of a file.

    Args:
        name, version: of the file.
        offset: where the piece begins.
        length: bytes that it wants at most.
    """

    name: str
    version: str
    offset: Size = 0
    length: Annotated[int, Meta(ge=1, le=LARGEST_SEQ)] = LARGEST_BLOCK


class Ping(Message, frozen=True, tag="ping"):
    """Either side asks whether the other one lives."""


class Pong(Message, frozen=True, tag="pong"):
    """The answer to Ping."""


class Bye(Message, frozen=True, tag="bye"):
    """Whoever says this closes the connection next.

    Args:
        reason: of the gateway: "restart", "replaced" or "removed".
        retry_after: seconds that the device waits before it comes again.
    """

    reason: str | None = None
    retry_after: float | None = None


# What the gateway says ------------------------------------------------------------------------------------------------


class Welcome(Message, frozen=True, tag="welcome"):
    """The answer to Hello.

    Args:
        device: the name.
        v: the version that is used from here on.
        time: the gateway's clock, in Unix seconds; a device without a better one sets its own by it.
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
    """The push with this seq (of a batch: up to it) is stored, or the answer to the command with this id is."""

    seq: int | None = None
    id: int | None = None


class Command(Message, frozen=True, tag="command"):
    """The device shall do something and answer with Done; an id that it has seen before is not done again.

    Args:
        id: ascending; the answer repeats it.
        data: any JSON.
        expires: Unix seconds after which it must not be begun; None: never.
    """

    id: int
    data: Raw
    expires: float | None = None


class Received(Message, frozen=True, tag="received"):
    """A block of an upload is stored; ``offset`` is where the next one begins."""

    name: str
    offset: int


class UploadStored(Message, frozen=True, tag="stored"):
    """An upload is complete, and its checksum is right."""

    name: str
    sha256: str


class FileVersion(Message, frozen=True, tag="version"):
    """Which version of a file there is."""

    name: str
    version: str
    size: int
    sha256: str


class Block(Message, frozen=True, tag="block"):
    """A piece of a file of ``total`` bytes."""

    name: str
    version: str
    offset: int
    total: int
    data: bytes


class Error(Message, frozen=True, tag="error", kw_only=True):
    """Something was wrong with a message; see ``errors.ErrorCode``.

    Args:
        of, seq, name, id: of the message that it answers, where known.
        code: for programs.
        retry: whether the same message may be sent again.
        detail: for people.
        versions: those that the gateway speaks, with ``unsupported_version``.
    """

    of: str | None = None
    seq: int | None = None
    name: str | None = None
    id: int | None = None
    code: str
    retry: bool
    detail: str
    versions: tuple[int, ...] | None = None


FromDevice: TypeAlias = Hello | Push | Done | Upload | Version | Pull | Ping | Pong | Bye
ToDevice: TypeAlias = (
    Welcome | Ack | Command | Received | UploadStored | FileVersion | Block | Ping | Pong | Bye | Error
)


def op_of(message: FromDevice | ToDevice) -> str:
    """The ``op`` of a message."""
    return str(message.__struct_config__.tag)
