"""Trackers that speak GT06 (Concox, Jimi and many more): a framing of one's own, login, heartbeat, position, command.

    .venv/bin/python examples/gt06.py                    serves on port 7018
    .venv/bin/python examples/gt06.py client             plays a tracker against it

Or with the gateway behind it, which stores positions and brings commands (mooring send IMEI '"WHERE#"'), beside meters
that speak JSON lines to the same tables, in one process:

    mooring serve gt06:gateway gt06:meters --app-dir examples

The fields are those of the "GT06 GPS tracker communication protocol", version 1.8.1, and its successors. All numbers
are big-endian. A message here is what stands between length and checksum: protocol number, content, serial number.
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import Raw

from mooring import (
    Client,
    CloseReason,
    Connection,
    ConnectionClosed,
    ConnectionHandler,
    FrameError,
    Heartbeat,
    Reply,
    Server,
)
from mooring import gateway as gateways
from mooring.framing import CRC16_X25
from mooring.gateway.messages import Command, Done, FromDevice, Hello, Ping, Pong, Push, ToDevice, Welcome

LOGIN, HEARTBEAT, ANSWER, COMMAND = 0x01, 0x13, 0x15, 0x80
POSITIONS = (0x12, 0x22)


class Gt06:
    """Start 78 78 and one byte of length, or 79 79 and two; message; CRC-16/X-25; end 0D 0A.

    The length counts message and CRC, the CRC covers length and message::

        78 78 0D 01 01 23 45 67 89 01 23 45 00 01 8C DD 0D 0A      message 01 01 23 45 67 89 01 23 45 00 01
    """

    def split(self, data: bytes) -> tuple[list[bytes], bytes, int]:
        messages: list[bytes] = []
        begin = 0
        while len(data) - begin >= 4:
            width = {b"\x78\x78": 1, b"\x79\x79": 2}.get(data[begin : begin + 2])
            if width is None:
                raise FrameError(f"expected 78 78 or 79 79, got {data[begin : begin + 8].hex(' ')}", messages)
            body = begin + 2 + width
            crc = body + int.from_bytes(data[begin + 2 : body]) - 2
            if crc < body + 3:
                raise FrameError(f"the length leaves no room: {data[begin : begin + 4].hex(' ')}", messages)
            if crc + 4 > len(data):
                return messages, data[begin:], crc + 4 - len(data)
            if data[crc : crc + 4] != CRC16_X25(data[begin + 2 : crc]).to_bytes(2) + b"\r\n":
                raise FrameError(f"wrong CRC or end: {data[begin : crc + 4].hex(' ')}", messages)
            messages.append(data[body:crc])
            begin = crc + 4
        return messages, data[begin:], 4 - (len(data) - begin)

    def join(self, message: bytes) -> bytes:
        if not 3 <= len(message) <= 0xFFFF - 2:
            raise FrameError(f"a message of {len(message)} bytes does not fit into a frame")
        length = len(message) + 2
        start, width = (b"\x78\x78", 1) if length < 256 else (b"\x79\x79", 2)
        body = length.to_bytes(width) + message
        return start + body + CRC16_X25(body).to_bytes(2) + b"\r\n"


@dataclass(frozen=True)
class Position:
    at: datetime
    latitude: float  # degrees, north is positive
    longitude: float  # degrees, east is positive
    speed: int  # km/h
    course: int  # degrees from north
    located: bool  # False: no satellites, the last known place

    @classmethod
    def from_content(cls, content: bytes) -> Position:
        try:
            year, month, day, hour, minute, second = content[:6]
            at = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
            _satellites, latitude, longitude, speed, status = struct.unpack_from(">BIIBH", content, 6)
        except (struct.error, ValueError) as exc:
            raise FrameError(f"bad position {content.hex(' ')}: {exc}") from exc
        # Angles come in 1/30,000 of a minute; bit 10 is set in the north, bit 11 in the west, bit 12 with a fix.
        north = latitude / 1_800_000 * (1 if status & 0x0400 else -1)
        east = longitude / 1_800_000 * (-1 if status & 0x0800 else 1)
        return cls(at, north, east, speed, status & 0x03FF, bool(status & 0x1000))

    def to_json(self) -> str:
        place = {"latitude": round(self.latitude, 6), "longitude": round(self.longitude, 6)}
        return json.dumps({**place, "speed": self.speed, "course": self.course, "located": self.located})


class Tracker(ConnectionHandler):
    """One tracker. Its methods run one after the other; ``command`` may be called from any thread meanwhile."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.position: Position | None = None
        self.unanswered: dict[bytes, Future[str]] = {}
        connection.session = self

    def received(self, message: bytes) -> Reply:
        protocol, content, serial = message[0], message[1:-2], message[-2:]
        if protocol == LOGIN:
            self.login(content)
        elif self.connection.name is None:
            raise FrameError(f"message {protocol:02x} before the login")
        elif protocol in POSITIONS:
            self.position = Position.from_content(content)
            self.connection.log.info("%s", self.position)
        elif protocol == ANSWER and (answer := self.unanswered.pop(message[2:6], None)):
            answer.set_result(text_of(message))
        # Trackers wait for the answer to these two, and connect again without it.
        return bytes([protocol]) + serial if protocol in (LOGIN, HEARTBEAT) else None

    def login(self, content: bytes) -> None:
        self.connection.identify(imei_of(content))

    def command(self, text: str, timeout: float) -> str:
        flag = next(_flags).to_bytes(4)  # the tracker sends it back
        answer = self.unanswered[flag] = Future()
        try:
            self.connection.send(text_message(COMMAND, flag, text))
            return answer.result(timeout)
        finally:
            self.unanswered.pop(flag, None)

    def lost(self, reason: CloseReason) -> None:
        for flag in list(self.unanswered):
            if answer := self.unanswered.pop(flag, None):
                answer.set_exception(ConnectionClosed(f"the tracker is gone: {reason}"))


class Gt06Codec:
    """The same protocol as a codec: the gateway does the rest. ``session.state`` is the serial of the last message."""

    name = "GT06"
    framing = Gt06()
    heartbeat = Heartbeat(timeout=400.0)  # trackers beat every three minutes

    def decode(self, message: bytes, session: gateways.Session) -> FromDevice | None:
        protocol, content, session.state = message[0], message[1:-2], message[-2:]
        if protocol == LOGIN:
            return Hello(imei_of(content))
        if protocol == HEARTBEAT:
            return Ping()
        if protocol == ANSWER:
            return Done(int.from_bytes(message[2:6]), result=Raw(json.dumps(text_of(message))))
        if protocol in POSITIONS:
            position = Position.from_content(content)
            at = position.at.timestamp()
            # The serial wraps after 65,536 messages and begins anew with each login; together with the time it grows.
            return Push(int(at) << 16 | int.from_bytes(session.state), Raw(position.to_json()), at)
        return None

    def encode(self, answer: ToDevice, session: gateways.Session) -> bytes | None:
        if isinstance(answer, Welcome | Pong):
            serial: bytes = session.state
            return bytes([LOGIN if isinstance(answer, Welcome) else HEARTBEAT]) + serial
        if isinstance(answer, Command):
            text = json.loads(bytes(answer.data))
            if not isinstance(text, str) or not text.isascii() or len(text) > 200 or answer.id > 0xFFFFFFFF:
                raise ValueError('a command is a short text, such as "WHERE#"')
            return text_message(COMMAND, answer.id.to_bytes(4), text)
        return None  # trackers wait for nothing else


def imei_of(content: bytes) -> str:
    imei = content[:8].hex()[1:]  # 15 digits, two to a byte
    if len(imei) != 15 or not imei.isdecimal():
        raise FrameError(f"bad IMEI in the login: {content.hex(' ')}")
    return imei


_flags = itertools.count(1)


def command(server: Server, imei: str, text: str, timeout: float = 10.0) -> str:
    """Send a text command, such as ``WHERE#``, to a tracker and return its answer; from any thread.

    Raises:
        KeyError: the tracker is not connected.
        TimeoutError, ConnectionClosed: no answer came.
    """
    tracker: Tracker = server.connections[imei].session
    return tracker.command(text, timeout)


def text_message(protocol: int, flag: bytes, text: str, serial: bytes = b"\x00\x01") -> bytes:
    return bytes([protocol, len(flag) + len(text)]) + flag + text.encode("ascii") + serial


def text_of(message: bytes) -> str:
    return message[6 : 2 + message[1]].decode("ascii", "replace")


# The first, second and fourth are examples of published descriptions; the third is made after their field tables.
FRAMES = [
    bytes.fromhex("78 78 0D 01 01 23 45 67 89 01 23 45 00 01 8C DD 0D 0A"),
    bytes.fromhex(
        "78 78 1F 12 0B 08 1D 11 2E 10 CF 02 7A C7 EB 0C 46 58 49 00 14 8F 01 CC 00 28 7D 00 1F B8 00 03 80 81 0D 0A"
    ),
    Gt06().join(bytes.fromhex("13 44 06 03 00 02 00 04")),
    bytes.fromhex(
        "78 78 22 22 0F 0C 1D 02 33 05 C9 02 7A C8 18 0C 46 58 60 00 14 00 01 CC 00 28 7D 00 1F 71 00 00 01 00 08"
        " 20 86 0D 0A"
    ),
]


def play(address: str, answers: Mapping[str, str] | None = None) -> None:
    """Play a tracker: send the frames, take the replies, answer each of the commands in ``answers`` once, and leave."""
    messages, _, _ = Gt06().split(b"".join(FRAMES))
    replies_due = [message[0] for message in messages if message[0] in (LOGIN, HEARTBEAT)]
    answers_due = dict(answers or {})
    with Client(address, framing=Gt06()) as client:
        for message in messages:
            print("send", message.hex(" "))
            client.send(message)
        while replies_due or answers_due:
            message = client.recv()
            print("got ", message.hex(" "))
            if message[0] == COMMAND:
                answer = answers_due.pop(text_of(message), "unknown command")
                client.send(text_message(ANSWER, message[2:6], answer))
            else:
                replies_due.remove(message[0])


server = Server(
    Tracker,
    framing=Gt06(),
    bind="tcp://127.0.0.1:7018",
    name="gt06",
    heartbeat=Heartbeat(timeout=400.0),  # trackers beat every three minutes
)

# An IMEI is no secret: let only a network of your own reach this one.
gateway = gateways.server(codec=Gt06Codec(), bind="tcp://127.0.0.1:7018", name="trackers", auth="none")
meters = gateways.server(bind="tcp://127.0.0.1:7000", name="meters")

if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        play(sys.argv[2] if len(sys.argv) > 2 else "tcp://127.0.0.1:7018")
    else:
        server.run()
