"""Raw bytes at the admin port: requests, half requests and garbage, with and without a token.

The bytes go to the protocol of the real server, on its own loop, by a transport that keeps what is written. The server
answers by HTTP or closes; nothing is an internal error, and nobody without a token gets past the guard.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fuzz.targets import Check
from mooring import Server
from mooring.admin.listening import Place
from mooring.admin.service import AdminSide

TOKEN = "fuzzing-fuzzing-fuzzing"  # noqa: S105 - of a server that nobody reaches
MARK = b"@TOKEN@"
"""Stands in inputs for the token, so that what needs one is reached."""

PATIENCE = 10.0
OPEN_TO_ALL = (b"/livez", b"/readyz", b"/metrics", b"/api/v1/session", b"/api/v1/openapi.json")


class Records(logging.Handler):
    """Errors that the server has logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class Transport(asyncio.Transport):
    """Keeps what the protocol writes. Each connection comes from an address of its own, for the sake of limits."""

    socket: socket.socket
    """Takes the options that the server sets."""
    _count = 0

    def __init__(self) -> None:
        Transport._count += 1
        peer = f"127.{Transport._count >> 16 & 255}.{Transport._count >> 8 & 255}.{Transport._count & 255}"
        super().__init__({"peername": (peer, 50_000), "sockname": ("127.0.0.1", 7001), "socket": Transport.socket})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@contextmanager
def opened() -> Iterator[Check]:
    """See fuzz.targets."""
    server = Server(lambda connection, message: message, bind="tcp://127.0.0.1:0", name="meters")
    records = Records()
    watched = [logging.getLogger(name) for name in ("uvicorn.error", "mooring.admin", "asyncio")]
    quiet = logging.getLogger("mooring.audit")
    with server, socket.socket() as Transport.socket, AdminSide([server], Place(port=0), token=TOKEN) as side:
        for logger in watched:
            logger.addHandler(records)
        quiet.disabled = True
        try:
            yield lambda data: _check(side, records, data)
        finally:
            quiet.disabled = False
            for logger in watched:
                logger.removeHandler(records)


def _check(side: Any, records: Records, data: bytes) -> None:
    has_token = MARK in data
    sent = data.replace(MARK, TOKEN.encode())
    if b"/drain" in sent:
        return  # it would end the server, as it should
    written = asyncio.run_coroutine_threadsafe(_answer(side._uvicorn, sent), side._loop).result(PATIENCE)
    assert not records.texts, records.texts
    assert not written or written.startswith(b"HTTP/1.1 "), written[:200]
    status = int(written[9:12]) if written else 0
    assert status < 500 or status == 503, written[:500]
    if status == 200 and not has_token and b"/api/v1/" in sent.split(b"\r\n")[0]:
        assert any(path in sent for path in OPEN_TO_ALL), (sent, written[:200])


async def _answer(uvicorn: Any, data: bytes) -> bytes:
    config = uvicorn.config
    protocol = config.http_protocol_class(config=config, server_state=uvicorn.server_state, app_state={})
    transport = Transport()
    protocol.connection_made(transport)
    before = set(protocol.tasks)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if piece and not transport.closed:
            protocol.data_received(piece)
    tasks = set(protocol.tasks) - before
    if tasks:
        await asyncio.wait(tasks, timeout=0.05)  # streams do not end by themselves
    protocol.connection_lost(None)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=PATIENCE / 2)
        assert not late, "a request does not end though its client is gone"
    return transport.written
