"""What is said in a stampede: each end can make every message anew from the connection's seed and its number."""

from __future__ import annotations

import random
import struct
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

from mooring.framing import LengthPrefixed

FRAMING: Final = LengthPrefixed(4, max_size=1 << 18)
LONGEST: Final = 100_000
"""Bytes of the longest answer."""
CONTROL: Final = 0
"""The seed of messages that are no part of it: they tell the server what to do, as JSON."""

_BLOCK: Final = random.Random("stampede").randbytes(1 << 18)
_ASKED: Final = struct.Struct(">QIBI")
_SAID: Final = struct.Struct(">BIB")


class Action(IntEnum):
    """What the server does before it answers."""

    QUICK = 0
    ANNOUNCE = 1
    """It waits inside ``blocking()``."""
    WAIT = 2
    """It waits and says nothing."""
    LATER = 3
    """The answer is pending; another thread completes it."""
    LEASE = 4
    """A statement on a connection of the pool."""
    STORE = 5
    """A row by group commit."""
    SEND = 6
    """Messages that nobody asked for, from the handler and from another thread."""
    CLOSE = 7
    ABORT = 8
    """Another thread aborts the connection, soon."""


class Kind(IntEnum):
    """What a message of the server is."""

    ANSWER = 0
    UNASKED = 1


class Status(IntEnum):
    """What an answer says beside its content."""

    DONE = 0
    STORED = 1
    FAILED = 2
    """The database could not do it: never wrong, and nothing was promised."""


class Asked(NamedTuple):
    """A message of a client: ``size`` bytes follow, and so many as ``answer`` are to come back."""

    seed: int
    number: int
    action: Action
    answer: int


class Said(NamedTuple):
    """A message of the server."""

    kind: Kind
    number: int
    status: Status


def content(way: str, seed: int, number: int, size: int) -> bytes:
    """``size`` bytes that belong to this message ("asked", "answer", "unasked") of this connection and to no other."""
    start = zlib.crc32(b"%s/%d/%d" % (way.encode(), seed, number)) % (len(_BLOCK) - LONGEST)
    return _BLOCK[start : start + size]


def ask(asked: Asked, size: int) -> bytes:
    """A message of a client, without its frame."""
    return _ASKED.pack(*asked) + content("asked", asked.seed, asked.number, size)


def read_asked(message: bytes) -> tuple[Asked, bytes]:
    """A message of a client, and its content."""
    seed, number, action, answer = _ASKED.unpack_from(message)
    return Asked(seed, number, Action(action), answer), message[_ASKED.size :]


def say(said: Said, data: bytes) -> bytes:
    """A message of the server, without its frame."""
    return _SAID.pack(*said) + data


def read_said(message: bytes) -> tuple[Said, bytes]:
    """A message of the server, and its content."""
    kind, number, status = _SAID.unpack_from(message)
    return Said(Kind(kind), number, Status(status)), message[_SAID.size :]


def tell(control: bytes) -> bytes:
    """A message that tells the server what to do, without its frame."""
    return _ASKED.pack(CONTROL, 0, 0, 0) + control


class Numbers:
    """Checks that the messages of one kind come one after the other, each with the content that belongs to it.

    Args:
        way: as for ``content``.
        seed: of the connection.
    """

    def __init__(self, way: str, seed: int) -> None:
        self._way = way
        self._seed = seed
        self.following = 0

    def check(self, number: int, data: bytes, size: int | None = None) -> str:
        """The sentence that a message violates; "" if it is the one that is due, byte for byte.

        Args:
            number, data: of the message.
            size: of the content; None: it may have any.
        """
        due, self.following = self.following, number + 1
        if number != due:
            return f"the messages of a connection keep their order: {self._way} {number} came instead of {due}"
        if size is not None and len(data) != size:
            return f"a message is whole: {self._way} {number} has {len(data)} bytes instead of {size}"
        if data != content(self._way, self._seed, number, len(data)):
            return f"a message arrives as it was sent: {self._way} {number} is another one"
        return ""
