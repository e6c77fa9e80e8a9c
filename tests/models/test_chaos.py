"""Clients that do whatever clients do, all at once, on every model: each byte is right, and each end is told once."""

from __future__ import annotations

import logging
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from mooring import Client, CloseReason, Connection, ConnectionClosed, ConnectionHandler, Heartbeat, Server
from mooring.framing import LengthPrefixed

CLIENTS = 20
VISITS = 15
RESET = struct.pack("ii", 1, 0)
ASIDE = (b"news", b"beat")
"""What comes between the answers."""


class Account:
    """What all handlers of a server have seen. The lock guards the counts."""

    def __init__(self, executor: ThreadPoolExecutor, *, may_wait: bool) -> None:
        self.executor = executor
        self.may_wait = may_wait
        self.lock = threading.Lock()
        self.begun = self.ended = 0
        self.faults: list[str] = []


class Talker(ConnectionHandler):
    """Does what the first byte of a message says, and answers with the message."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._account: Account = connection.server.account
        self._state = "quiet"
        with self._account.lock:
            self._account.begun += 1

    def received(self, message: bytes) -> Any:
        self._go("quiet", "busy")
        try:
            return self._answer(message)
        finally:
            self._go("busy", "quiet")

    def lost(self, reason: CloseReason) -> None:
        self._go("quiet", "ended")
        with self._account.lock:
            self._account.ended += 1

    def _go(self, expected: str, state: str) -> None:
        if self._state != expected:
            self._account.faults.append(f"{self._state} before {state}, expected {expected}")
        self._state = state

    def _answer(self, message: bytes) -> bytes | Future[bytes]:
        action = message[:1]
        if action == b"f":
            return self._account.executor.submit(answer_late, message)
        if action == b"s" and self._account.may_wait:
            time.sleep(random.uniform(0, 0.006))
        elif action == b"n":
            self.connection.send(b"news")
        elif action == b"c":
            self.connection.close()
        elif action == b"a":
            self.connection.abort()
        elif action == b"i":
            self.connection.identify(f"device {message[1] % 10}")
        return message


def answer_late(message: bytes) -> bytes:
    time.sleep(random.uniform(0, 0.002))
    return message


class Visitor:
    """Comes and goes; notes every answer that is not the one that is due."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._random = random.Random(number)
        self.faults: list[str] = []

    def run(self) -> None:
        for _ in range(VISITS):
            address = self._random.choice(self._server.addresses)
            try:
                with Client(address, framing=LengthPrefixed(), timeout=20) as client:
                    self._visit(client)
            except (ConnectionClosed, ConnectionError):
                pass  # it, or the server at its wish, has ended the connection
            except (AssertionError, TimeoutError) as exc:
                self.faults.append(repr(exc))

    def _visit(self, client: Client) -> None:
        actions = b"efsnefsne" + self._random.choice((b"", b"", b"", b"c", b"a", b"i"))
        due: list[bytes] = []
        for _ in range(self._random.randrange(1, 20)):
            messages = [self._message(actions) for _ in range(self._random.randrange(1, 20))]
            client.send(*messages)
            due += messages
            if self._random.random() < 0.03:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            if self._random.random() < 0.7:
                self._take(client, due)
        if self._random.random() < 0.5:
            client.send_eof()
            self._take(client, due)

    def _message(self, actions: bytes) -> bytes:
        random_bytes = self._random.randbytes(self._random.choice((4, 4, 4, 3000)))
        return self._random.choice(actions).to_bytes() + random_bytes

    @staticmethod
    def _take(client: Client, due: list[bytes]) -> None:
        while due:
            answer = client.recv()
            if answer not in ASIDE:
                assert answer == due.pop(0), f"a wrong answer: {answer[:20]!r}"


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_whatever_clients_do_each_byte_is_right_and_each_end_is_told_once(
    model: str, folder: Path, executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    server: Any = Server(
        Talker,
        framing=LengthPrefixed(),
        bind=["tcp://127.0.0.1:0", f"unix:{folder}/x"],
        model=model,
        threads=(2, 4),
        heartbeat=Heartbeat(60.0, interval=0.1, message=b"beat"),
        inbox_limit=16,
    )
    server.account = account = Account(executor, may_wait=model != "epoll")
    with server:
        visitors = [Visitor(server, number) for number in range(CLIENTS)]
        threads = [threading.Thread(target=visitor.run) for visitor in visitors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: not server._loop.unfinished(), what="every descriptor is closed")
    assert [fault for visitor in visitors for fault in visitor.faults] == []
    assert account.faults == []
    assert account.begun == account.ended > CLIENTS * VISITS / 2
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
