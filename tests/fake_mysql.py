"""A MySQL server of a few lines that misbehaves on command: deaf, slow, half a packet, and any error there is."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

OK = b"\x00\x00\x00\x02\x00\x00\x00"  # autocommit is on


class FakeMySQL:
    """Lets everybody in and answers every statement with OK, until it is told otherwise.

    Attributes:
        greet: what is done with each new connection instead of a login; None for a login.
        login_error, query_error: (number, text) answered instead of OK.
        variables: the values of a ``SELECT @@...``; their number must be that of the columns asked for.
        silent_on: statements that begin so are never answered.
        answer: what is done with a statement instead of the answer; gets the socket and the statement.
    """

    def __init__(self) -> None:
        self.greet: Callable[[socket.socket], None] | None = None
        self.login_error: tuple[int, str] | None = None
        self.query_error: tuple[int, str] | None = None
        self.answer: Callable[[socket.socket, bytes], None] | None = None
        self.variables: tuple[str, ...] = ("28800", "100", "8.0.0-fake")
        self.read_only = "0"
        self.silent_on: bytes | None = None
        self.statements: list[bytes] = []
        self.logins = 0
        self.open: list[socket.socket] = []
        self.closing = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def url(self, *others: FakeMySQL) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self, *others))
        return f"mysql://app:secret@{hosts}/d"

    def __enter__(self) -> FakeMySQL:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(10)

    def drop_all(self) -> None:
        """Reset every connection."""
        for sock in self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def say_unasked(self, number: int, text: str) -> None:
        """Send an error that belongs to no statement on every connection, as a server does before it closes one."""
        for sock in self.open:
            _send(sock, 0, _error(number, text))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self.open.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,), daemon=True))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                if self.greet is not None:
                    self.greet(sock)
                elif self._log_in(sock):
                    self._obey(sock)
            except OSError:
                pass
        self.open.remove(sock)

    def _log_in(self, sock: socket.socket) -> bool:
        _send(sock, 0, _greeting())
        if _receive(sock) is None:
            return False
        self.logins += 1
        _send(sock, 2, _error(*self.login_error) if self.login_error else OK)
        return self.login_error is None

    def _obey(self, sock: socket.socket) -> None:
        while (packet := _receive(sock)) is not None and packet[:1] != b"\x01":
            statement = packet[1:]
            self.statements.append(statement)
            if self.silent_on is not None and statement.startswith(self.silent_on):
                self.closing.wait(20)
                return
            if packet[:1] == b"\x03" and statement.startswith(b"SELECT @@global.read_only"):
                _send_row(sock, (self.read_only,))
            elif packet[:1] == b"\x03" and statement.startswith(b"SELECT @@"):
                _send_row(sock, self.variables)
            elif self.answer is not None:
                self.answer(sock, statement)
            elif self.query_error is not None and statement.startswith((b"INSERT", b"UPDATE")):
                _send(sock, 1, _error(*self.query_error))
            else:
                _send(sock, 1, OK)


def _greeting() -> bytes:
    # Protocol 41, plugin authentication; no TLS.
    flags = 0x00000001 | 0x00000008 | 0x00000200 | 0x00002000 | 0x00008000 | 0x00080000
    return (
        b"\x0a8.0.0-fake\0"
        + struct.pack("<I", 1)
        + b"12345678\0"
        + struct.pack("<HBHHB", flags & 0xFFFF, 45, 2, flags >> 16, 21)
        + b"\0" * 10
        + b"123456789012\0"
        + b"mysql_native_password\0"
    )


def _error(number: int, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#HY000" + text.encode()


def _send(sock: socket.socket, sequence: int, payload: bytes) -> None:
    sock.sendall(struct.pack("<I", len(payload))[:3] + bytes([sequence]) + payload)


def _send_row(sock: socket.socket, values: tuple[str, ...]) -> None:
    _send(sock, 1, bytes([len(values)]))
    sequence = 2
    for _ in values:
        column = b"\x03def\0\0\0\x01v\x01v\x0c" + struct.pack("<HIBHB", 45, 1024, 253, 0, 0) + b"\0\0"
        _send(sock, sequence, column)
        sequence += 1
    _send(sock, sequence, b"\xfe\0\0\x02\0")
    _send(sock, sequence + 1, b"".join(bytes([len(value)]) + value.encode() for value in values))
    _send(sock, sequence + 2, b"\xfe\0\0\x02\0")


def _receive(sock: socket.socket) -> bytes | None:
    header = _read(sock, 4)
    return _read(sock, int.from_bytes(header[:3], "little")) if header else None


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
