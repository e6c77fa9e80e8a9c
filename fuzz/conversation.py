"""Several devices that talk to a real gateway, in step with a model that knows each answer beforehand."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from fuzz.choices import Choices
from fuzz.gateway_model import Answer, Item, ModelDevice, error
from mooring.db import Lease
from mooring.gateway import Gateway
from mooring.gateway.messages import LARGEST_BLOCK, LEAST_BLOCK

PATIENCE: Final = 15.0
MOST_CONNECTIONS: Final = 5
MOST_UNREAD: Final = 24
LONGEST_STEPS: Final = 200
RESET: Final = struct.pack("ii", 1, 0)

DATA: Final = ["1", '{"a" : 1.50,  "b":[]}', '"é\\u00e9 \\n"', "null"]
TIMES: Final = [None, None, 1.5, 1_700_000_000.25]
CONTENTS: Final = [b"short", b"x" * LARGEST_BLOCK + b"the rest"]
WRONG_NAMES: Final = ["", " a", "a\\u0000", "x" * 65, "\\u2028"]

# Lines that are refused whoever sends them, and by which error.
REFUSED: Final = [
    (b"GET / HTTP/1.1", "bad_json"),
    (b"", "bad_json"),
    (b"\x16\x03\x01\x02\x00", "bad_json"),
    (b'{"op":"push","seq":1,"data":1e999}', "bad_json"),
    (b'{"op":"push","seq":1,"data":"\xff"}', "bad_json"),
    (b'{"op":"push","seq":1,"data":' + b"[" * 70 + b"]" * 70 + b"}", "bad_json"),
    (b'{"op":"push","seq":0,"data":1}', "bad_message"),
    (b'{"op":"push","seq":9007199254740992,"data":1}', "bad_message"),
    (b'{"op":"push","seq":1,"data":1,"batch":[{"data":1}]}', "bad_message"),
    (b'{"op":"push","seq":9007199254740991,"batch":[{"data":1},{"data":1}]}', "bad_message"),
    (b'{"op":"upload","name":"a","sha256":"0","total":1,"data":"YQ=="}', "bad_message"),
    (b'{"op":"done","id":1,"result":1,"error":"no"}', "bad_message"),
    (b"[]", "bad_message"),
    (b'{"op":"explode"}', "unknown_op"),
    (b'{"op":"command","id":1,"data":1}', "unknown_op"),
]

# Lines that need a login, and the error that a device without commands and files gets.
ASKED_IN_VAIN: Final = [
    (b'{"op":"done","id":123456789,"result":{}}', "unknown_name"),
    (b'{"op":"version","name":"firmware"}', "unknown_name"),
    (b'{"op":"pull","name":"../../etc/passwd","version":"1"}', "unknown_name"),
]


class Talk:
    """One connection of the client's side.

    Attributes:
        device: who has logged in by it.
        has_spoken: a message was sent.
        expected: answers that have not been read.
        is_over: the server ends it after those.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.device: ModelDevice | None = None
        self.has_spoken = False
        self.expected: list[Answer] = []
        self.is_over = False
        self._received = b""

    def read_expected(self) -> None:
        """Read what must come, and the end if it must come."""
        while self.expected:
            expected = self.expected.pop(0)
            got = json.loads(self._line())
            assert expected.items() <= got.items(), f"expected {expected}, got {got}"
        if self.is_over:
            assert self._received == b"", self._received
            try:
                assert self.socket.recv(1) == b""
            except ConnectionResetError:
                pass  # the last bytes were ours

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            data = self.socket.recv(65536)
            assert data, "the connection ended before its answers were there"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line


class Conversation:
    """The input chooses who does what; each step is checked, and in the end the tables are.

    Args:
        gateway: is running, lets every name in, and has no files.
        prefix: of the names of the devices, so that they are new ones.
    """

    def __init__(self, gateway: Gateway, prefix: str) -> None:
        self._gateway = gateway
        self._devices = [ModelDevice(f"{prefix}-{number}") for number in range(3)]
        self._talks: list[Talk] = []
        # Often enough repeated, the likely ones get somewhere.
        self._steps: list[Callable[[Talk, Choices], None]] = [
            *[self._push] * 6,
            *[self._log_in] * 3,
            *[self._upload] * 2,
            self._push_batch,
            self._refused,
            self._ask_in_vain,
            self._ping,
            self._wrong_hello,
            self._read,
            self._end,
        ]

    def run(self, choices: Choices) -> None:
        """Talk until the choices are used up.

        Raises:
            AssertionError: an answer or a table is not what it must be.
        """
        try:
            for _ in range(LONGEST_STEPS):
                if choices.over:
                    break
                self._step(choices)
            for talk in list(self._talks):
                self._finish(talk)
            self._check_tables()
        finally:
            for talk in self._talks:
                talk.socket.close()

    def _step(self, choices: Choices) -> None:
        if not self._talks or (choices.below(6) == 0 and len(self._talks) < MOST_CONNECTIONS):
            self._talks.append(Talk(("127.0.0.1", self._gateway.port)))
        talk = choices.one_of(self._talks)
        choices.one_of(self._steps)(talk, choices)
        if talk.is_over:
            self._finish(talk)
        elif len(talk.expected) > MOST_UNREAD:
            talk.read_expected()

    # ------------------------------------------------------------------------------------------- what devices do

    def _log_in(self, talk: Talk, choices: Choices) -> None:
        device = choices.one_of(self._devices)
        line = b'{"op":"hello","device":"%b","x":[]}' % device.name.encode()
        if talk.device is not None:
            self._say(talk, choices, line, error("already_hello", of="hello"))
            return
        older = next((other for other in self._talks if other.device is device), None)
        if older is None:
            welcome = {"op": "welcome", "device": device.name, "v": 1, "last_seq": device.last_seq}
            self._say(talk, choices, line, welcome)
            talk.device = device
            talk.read_expected()
            return
        older.read_expected()
        if device.changes_hands_too_often:
            self._say(talk, choices, line, error("busy", of="hello", retry=True))
            talk.read_expected()  # before the older one can leave
            return
        self._say(talk, choices, line, {"op": "welcome", "last_seq": device.last_seq})
        talk.device, older.device = device, None
        device.takeovers += 1
        talk.read_expected()
        older.expected.append({"op": "bye", "reason": "replaced"})
        older.is_over = True
        self._finish(older)

    def _wrong_hello(self, talk: Talk, choices: Choices) -> None:
        name = choices.one_of(WRONG_NAMES)
        self._say(talk, choices, b'{"op":"hello","device":"%b"}' % name.encode(), error("bad_message", of="hello"))

    def _push(self, talk: Talk, choices: Choices) -> None:
        seq = 1 + choices.below(9)
        data, at = choices.one_of(DATA), choices.one_of(TIMES)
        line = f'{{"op":"push","seq":{seq},"data":{data}{_at(at)}}}'
        self._say_push(talk, choices, line, seq, [Item.of(data, at)])

    def _push_batch(self, talk: Talk, choices: Choices) -> None:
        seq = 1 + choices.below(9)
        pairs = [(choices.one_of(DATA), choices.one_of(TIMES)) for _ in range(1 + choices.below(4))]
        batch = ",".join(f'{{"data":{data}{_at(at)}}}' for data, at in pairs)
        line = f'{{"op":"push","seq":{seq},"batch":[{batch}]}}'
        self._say_push(talk, choices, line, seq, [Item.of(data, at) for data, at in pairs])

    def _say_push(self, talk: Talk, choices: Choices, line: str, seq: int, items: list[Item]) -> None:
        answer = error("hello_first", of="push", seq=seq) if talk.device is None else talk.device.push(seq, items)
        self._say(talk, choices, line.encode(), answer)

    def _upload(self, talk: Talk, choices: Choices) -> None:
        content = choices.one_of(CONTENTS)
        sha256 = hashlib.sha256(content if choices.below(8) else b"something else").hexdigest()
        total = len(content) + (choices.below(8) == 1)
        offset = choices.one_of((0, 0, LARGEST_BLOCK, LARGEST_BLOCK, 1))
        block = content[offset : offset + LARGEST_BLOCK] or None if choices.below(6) else None
        if block is not None and choices.below(8) == 1:
            block = b"!" + block[1:]
        message: dict[str, Any] = {"op": "upload", "name": "u", "sha256": sha256, "total": total, "offset": offset}
        if block is not None:
            message["data"] = b64encode(block).decode()
        if block is not None and len(block) < LEAST_BLOCK and offset + len(block) < total:
            answer = error("bad_message", of="upload", name="u")
        elif talk.device is None:
            answer = error("hello_first", of="upload", name="u")
        else:
            answer = talk.device.upload("u", sha256, total, offset, block)
        self._say(talk, choices, json.dumps(message).encode(), answer)

    def _refused(self, talk: Talk, choices: Choices) -> None:
        line, code = choices.one_of(REFUSED)
        if code == "bad_json" and not talk.has_spoken:
            talk.is_over = True
        self._say(talk, choices, line, error(code, retry=False))

    def _ask_in_vain(self, talk: Talk, choices: Choices) -> None:
        line, code = choices.one_of(ASKED_IN_VAIN)
        self._say(talk, choices, line, error(code if talk.device is not None else "hello_first"))

    def _ping(self, talk: Talk, choices: Choices) -> None:
        if choices.below(3):
            self._say(talk, choices, b'{"op":"ping","x":{}}', {"op": "pong"})
        else:
            self._say(talk, choices, b'{"op":"pong"}')

    def _read(self, talk: Talk, choices: Choices) -> None:
        talk.read_expected()

    def _end(self, talk: Talk, choices: Choices) -> None:
        way = choices.below(5)
        talk.is_over = True
        if way == 0:
            self._say(talk, choices, b'{"op":"bye"}')
        elif way == 1:
            talk.socket.shutdown(socket.SHUT_WR)
        elif way == 2:
            self._say(talk, choices, b"x" * 65_537, error("too_large", retry=False))
        elif way == 3 and talk.device is None:
            self._say(talk, choices, b'{"op":"hello","device":"a","v":0}', error("unsupported_version", versions=[1]))
        else:
            talk.is_over = False
            talk.read_expected()
            talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._forget(talk)

    # --------------------------------------------------------------------------------------------------- inside

    @staticmethod
    def _say(talk: Talk, choices: Choices, line: bytes, *answers: Answer) -> None:
        talk.has_spoken = True
        talk.expected += answers
        data = line + b"\n"
        cut = choices.below(4) and choices.below(len(data))
        for piece in (data[:cut], data[cut:]):
            if piece:
                talk.socket.sendall(piece)

    def _finish(self, talk: Talk) -> None:
        talk.read_expected()
        self._forget(talk)

    def _forget(self, talk: Talk) -> None:
        """Close, and wait until the server knows: until then its name is taken."""
        talk.socket.close()
        self._talks.remove(talk)
        if talk.device is not None:
            self._wait_until_gone(talk.device.name)

    def _wait_until_gone(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while name in self._gateway.connections:
            assert time.monotonic() < deadline, f"the connection of {name} does not end"
            time.sleep(0.000_5)

    def _check_tables(self) -> None:
        pool = self._gateway.database
        assert pool is not None
        numbers = [self._gateway.store.devices.find(device.name) for device in self._devices]
        with pool.connection() as lease:
            for device, number in zip(self._devices, numbers, strict=True):
                if number is None:
                    assert not device.rows
                    assert not device.uploads
                    continue
                assert _pushes(lease, number) == device.rows
                assert _uploads(lease, number) == {
                    key: (upload.total, upload.content, upload.is_stored) for key, upload in device.uploads.items()
                }
                _remove(lease, number)


def _at(at: float | None) -> str:
    return f',"at":{at}' if at is not None else ""


def _pushes(lease: Lease, number: int) -> dict[int, Item]:
    rows = lease.execute("SELECT seq, at, received_at, data FROM pushes WHERE device_id = %s", (number,)).fetchall()
    return {seq: Item(data, at if at != received else None) for seq, at, received, data in rows}


def _uploads(lease: Lease, number: int) -> dict[tuple[str, str], tuple[int, bytes, bool]]:
    found = {}
    for id, name, sha256, total, received, stored_at in lease.execute(
        "SELECT id, name, sha256, total, received, stored_at FROM uploads WHERE device_id = %s", (number,)
    ).fetchall():
        blocks = lease.execute(
            "SELECT data FROM upload_blocks WHERE upload_id = %s ORDER BY block_offset", (id,)
        ).fetchall()
        content = b"".join(bytes(block) for (block,) in blocks)
        assert len(content) == received
        found[name, sha256] = (total, content, stored_at is not None)
    return found


def _remove(lease: Lease, number: int) -> None:
    """So that a table does not grow for hours."""
    lease.execute("DELETE FROM pushes WHERE device_id = %s", (number,))
    lease.execute(
        "DELETE FROM upload_blocks WHERE upload_id IN (SELECT id FROM uploads WHERE device_id = %s)", (number,)
    )
    lease.execute("DELETE FROM uploads WHERE device_id = %s", (number,))
    lease.execute("DELETE FROM devices WHERE id = %s", (number,))
