"""One thing that happened on a connection that somebody follows, and how it looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BYTES_IN_A_LINE = 16
TEXT = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One thing that happened on a connection that is listened to.

    Attributes:
        time: Unix time in seconds.
        direction: "in" (bytes were read), "served" (a message was handled), "out" (bytes were taken by the kernel),
            "opened", "named" or "closed".
        connection: its number.
        name: what it is identified as, or None.
        peer: the other end.
        data: the bytes, at most ``MOST_BYTES`` of them. Of "served": the message, without its frame.
        size: how many there were.
        message: what the Router's ``decode`` made of it, or the event's name; None if that is the bytes themselves.
        route: which route served it.
        where: "loop", "loop, then moved" (it waited, and the loop went on in another thread), "pool" or "thread".
        milliseconds: how long that took, the sending of its reply included.
        detail: why it was closed, or what a handler did wrong.
    """

    time: float
    direction: str
    connection: int
    name: str | None
    peer: str
    data: bytes = b""
    size: int = 0
    message: str | None = None
    route: str | None = None
    where: str | None = None
    milliseconds: float | None = None
    detail: str | None = None

    @property
    def hex(self) -> str:
        """The bytes as hexadecimal numbers, with spaces."""
        return self.data.hex(" ")

    @property
    def text(self) -> str:
        """The bytes as ASCII, with a dot for what cannot be shown."""
        return self.data.translate(TEXT).decode("ascii")

    def __str__(self) -> str:
        return "\n".join(_lines_of(self))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what there is, with ``hex`` and ``text`` instead of the bytes."""
        found: dict[str, Any] = {"time": self.time, "direction": self.direction, "connection": self.connection}
        found |= {"name": self.name, "peer": self.peer}
        if self.size:
            found |= {"size": self.size, "hex": self.hex, "text": self.text}
        others = ("message", "route", "where", "milliseconds", "detail")
        return found | {name: getattr(self, name) for name in others if getattr(self, name) is not None}


def _lines_of(event: TraceEvent) -> Iterator[str]:
    """An event as people read it: a line, and for bytes a dump of them."""
    arrow = {"in": "->", "out": "<-", "served": "  "}.get(event.direction, "--")
    name = f" {event.name}" if event.name is not None else ""
    moment = time.strftime("%H:%M:%S", time.localtime(event.time)) + f".{int(event.time * 1000) % 1000:03d}"
    yield _harmless(f"{moment} {arrow} [{event.connection}{name}] {_said(event)}")
    if event.direction in ("in", "out"):
        yield from _dump(event)


def _said(event: TraceEvent) -> str:
    if event.direction in ("in", "out"):
        return f"{event.direction:<3} {event.size} bytes"
    if event.direction == "served":
        what = event.message if event.message is not None else event.text[:200]
        parts = [f"route {event.route}" if event.route else "", event.where or "", f"{event.milliseconds:g} ms"]
        trouble = f"; {event.detail}" if event.detail else ""
        return f"{', '.join(part for part in parts if part)}: {what}{trouble}"
    return f"{event.direction} {event.detail or event.peer}".rstrip()


def _dump(event: TraceEvent) -> Iterator[str]:
    for begin in range(0, len(event.data), BYTES_IN_A_LINE):
        piece = event.data[begin : begin + BYTES_IN_A_LINE]
        text = event.text[begin : begin + BYTES_IN_A_LINE]
        yield f"{'':17}{piece.hex(' '):<{BYTES_IN_A_LINE * 3}} {text}"
    if event.size > len(event.data):
        yield f"{'':17}... {event.size - len(event.data)} bytes more"


def _harmless(text: str) -> str:
    """What a device calls itself must not steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
