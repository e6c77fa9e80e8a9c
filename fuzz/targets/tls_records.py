"""Bytes into the TLS layer: instead of a handshake, after one, and in the middle of records that are all right.

Only the documented errors come out, what is right arrives as it was sent, and nothing is read that a record does not
vouch for. The first byte of an input chooses which of the three it is.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz.choices import Choices
from fuzz.targets import Check
from mooring.net.tls.layer import MOST_ANSWERS, NothingYet, NoTLS, TLSSocket
from mooring.net.tls.records import Records

TESTS = str(Path(__file__).parents[2] / "tests")
MOST = 20_000


class Wire:
    """Stands for the kernel's socket: what the peer sent, in pieces, and what it gets."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.arriving: list[bytes] = []
        self.left = b""

    def getpeername(self) -> tuple[str, int]:
        """See socket."""
        return ("127.0.0.1", 50_000)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See socket; an empty piece is the end."""
        if not self.arriving:
            raise BlockingIOError
        piece = self.arriving.pop(0)
        if len(piece) > size:
            self.arriving.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: Any, flags: int = 0) -> int:
        """See socket."""
        self.left += bytes(data)
        return len(data)


class Client:
    """The other side, which is OpenSSL, too."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def go_on(self, wire: Wire) -> None:
        """Take what the server said, and answer."""
        self.incoming.write(wire.left)
        wire.left = b""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        wire.arriving.append(self.outgoing.read())

    def encrypt(self, plain: bytes) -> bytes:
        """Records of these bytes."""
        self.tls.write(plain)
        return self.outgoing.read()


@contextmanager
def opened() -> Iterator[Check]:
    """See fuzz.targets."""
    if TESTS not in sys.path:
        sys.path.append(TESTS)
    from certificates import Authority

    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        pair = authority.local()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(pair.certificate), str(pair.key))
        clients = authority.context()
        yield lambda data: _check(context, clients, data[:MOST])


def _check(context: ssl.SSLContext, clients: ssl.SSLContext, data: bytes) -> None:
    choices = Choices(data)
    kind, data = choices.below(3), data[1:]
    _check_records(data)
    wire = Wire()
    server = TLSSocket(wire, context)
    if kind == 0:
        wire.arriving = [*_pieces(data), b""]
        _shake_hands(server)
        return
    client = Client(clients)
    for _ in range(3):
        client.go_on(wire)
        if _shake_hands(server) == 0:
            break
    if kind == 1:
        wire.arriving += [piece for piece in _pieces(data) if piece]
        _read_all(server)
        return
    sent = client.encrypt(data or b"x") + client.encrypt(b"the end")
    at = choices.below(256)
    damaged = bytearray(sent)
    if data and choices.below(2):
        damaged[at % len(sent)] ^= 1 + choices.below(255)
    wire.arriving += [bytes(damaged[:at]), bytes(damaged[at:])] if at else [bytes(damaged)]
    got, fault = _read_all(server)
    whole = (data or b"x") + b"the end"
    assert whole.startswith(got), "what came is not what was sent"
    assert bytes(damaged) != sent or (got == whole and fault is None), (got, fault)


def _check_records(data: bytes) -> None:
    """However the bytes come, it is known whether a record has begun."""
    whole, single = Records(), Records()
    whole.add(data)
    for number in range(len(data)):
        single.add(data[number : number + 1])
    assert whole.has_begun == single.has_begun


def _shake_hands(server: TLSSocket) -> int | None:
    """What to wait for; None: it has failed as it may."""
    try:
        wanted = server.shake_hands()
    except (ssl.SSLError, NoTLS, OSError, EOFError):
        return None
    assert wanted in (0, select.EPOLLIN, select.EPOLLOUT)
    return wanted


def _read_all(server: TLSSocket) -> tuple[bytes, OSError | None]:
    got = b""
    while True:
        try:
            data = server.recv(65536)
        except NothingYet:
            continue
        except BlockingIOError:
            return got, None
        except OSError as exc:
            return got, exc
        assert server._outgoing.pending <= MOST_ANSWERS
        if not data:
            return got, None
        got += data


def _pieces(data: bytes) -> list[bytes]:
    cut = len(data) // 3
    return [piece for piece in (data[:cut], data[cut : 2 * cut], data[2 * cut :]) if piece]
