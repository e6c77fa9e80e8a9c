"""A server that does what its clients ask, at random, and checks what it gets:
``python stampede.py PORT MODEL CERTIFICATE KEY [URL]``.

It speaks TLS, too, on a port that it tells with its report. With a URL (of SQLite or MySQL) rows are stored by group
commit, in the table ``stampede``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from mooring.bench.stampede.words import (
    CONTROL,
    FRAMING,
    Action,
    Asked,
    Kind,
    Numbers,
    Said,
    Status,
    content,
    read_asked,
    say,
)
from mooring.db import ConnectionPool, GroupCommit, open_pool
from mooring.errors import ConnectionClosed, PoolError
from mooring.handler import ConnectionHandler, Reply
from mooring.net.connection.connection import Connection
from mooring.net.connection.life import CloseReason
from mooring.net.tls.context import TLS
from mooring.server import Server
from mooring.threads import Pending, blocking

WAIT = 0.004
UNASKED = 3
UNASKED_SIZE = 100
MOST_FAULTS = 20
TABLE = "CREATE TABLE IF NOT EXISTS stampede (seed BIGINT, number INT, content VARCHAR(40), PRIMARY KEY (seed, number))"


class Notes:
    """What the server has seen. ``_lock`` guards all of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.faults: list[str] = []
        self.connected = self.lost = self.messages = 0

    def fault(self, sentence: str) -> None:
        """Something is not as it should be."""
        with self._lock:
            if len(self.faults) < MOST_FAULTS:
                self.faults.append(sentence)

    def count(self, name: str) -> None:
        """One more."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)


class LoggedFaults(logging.Handler):
    """Whatever is logged with a traceback is a fault: handlers here raise nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """See Handler."""
        if record.exc_info and record.levelno >= logging.ERROR:
            NOTES.fault(f"nothing raises but what is caught: {record.getMessage()}: {record.exc_info[1]!r}")


NOTES = Notes()
LATER: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()


def work_later() -> None:
    """The other thread: completes, sends and aborts."""
    dice = random.Random()
    while True:
        task = LATER.get()
        if dice.random() < 0.3:
            time.sleep(dice.uniform(0.0, 0.003))
        task()


class Stampede(ConnectionHandler):
    """One connection: its messages in order, each with the content that belongs to it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._running = 0
        self._is_lost = False
        self._seed = CONTROL
        self._asked = Numbers("asked", CONTROL)
        self._unasked = 0
        self._unasked_lock = threading.Lock()  # held while sending, so that numbers leave in their order

    def connected(self) -> None:
        """See ConnectionHandler."""
        with self._alone("connected"):
            NOTES.count("connected")

    def lost(self, reason: CloseReason) -> None:
        """See ConnectionHandler."""
        with self._alone("lost"):
            if self._is_lost:
                NOTES.fault("lost runs once")
            self._is_lost = True
            NOTES.count("lost")

    def received(self, message: bytes) -> Reply:
        """See ConnectionHandler."""
        with self._alone("received"):
            if self._is_lost:
                NOTES.fault("no message is served after lost")
            asked, data = read_asked(message)
            if asked.seed == CONTROL:
                return control(self.connection.server, json.loads(data))
            if self._seed == CONTROL:
                self._seed = asked.seed
                self._asked = Numbers("asked", asked.seed)
            elif self._seed != asked.seed:
                NOTES.fault("a message arrives on the connection on which it was sent")
            sentence = self._asked.check(asked.number, data)
            if sentence:
                NOTES.fault(f"server: {sentence}")
            NOTES.count("messages")
            return self._do(asked)

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        self._running += 1
        if self._running != 1:
            NOTES.fault(f"methods of a connection never overlap: {name} does")
        try:
            yield
        finally:
            self._running -= 1

    def _do(self, asked: Asked) -> Reply:
        action, server = asked.action, self.connection.server
        if action is Action.ANNOUNCE:
            with blocking():
                time.sleep(WAIT)
        elif action is Action.WAIT:
            time.sleep(random.uniform(0, 2 * WAIT))  # about as long as the watchdog needs: both meet at the token
        elif action is Action.LATER:
            pending: Pending[bytes | None] = Pending()
            LATER.put(lambda: pending.complete(answer(asked, Status.DONE)))
            return pending
        elif action is Action.LEASE:
            return answer(asked, ask_database(server.database))
        elif action is Action.STORE:
            row = (asked.seed, asked.number, content("row", asked.seed, asked.number, 20).hex())
            stored: Pending[None] = server.group.add(row)
            return stored.then(lambda _: answer(asked, Status.STORED), lambda _: answer(asked, Status.FAILED))
        elif action is Action.SEND:
            self._send_unasked()
            LATER.put(self._send_unasked)
        elif action is Action.CLOSE:
            self.connection.close()
        elif action is Action.ABORT:
            LATER.put(self.connection.abort)
        return answer(asked, Status.DONE)

    def _send_unasked(self) -> None:
        with self._unasked_lock:
            for _ in range(UNASKED):
                number, self._unasked = self._unasked, self._unasked + 1
                said = Said(Kind.UNASKED, number, Status.DONE)
                try:
                    self.connection.send(say(said, content("unasked", self._seed, number, UNASKED_SIZE)))
                except ConnectionClosed:
                    return


def answer(asked: Asked, status: Status) -> bytes:
    """The answer to a message."""
    said = Said(Kind.ANSWER, asked.number, status)
    return say(said, content("answer", asked.seed, asked.number, asked.answer))


def ask_database(pool: ConnectionPool) -> Status:
    """One statement; it fails while the database is dead."""
    try:
        with pool.connection() as lease:
            lease.execute("SELECT 1").fetchall()
    except (PoolError, pool.Error):
        return Status.FAILED
    return Status.DONE


def control(server: Server, wish: dict[str, Any]) -> bytes | None:
    """What the disturber wants."""
    if "resize" in wish:
        server.threads.resize(*wish["resize"])
    if "pause" in wish:
        server.threads.pause()
        threading.Timer(wish["pause"], server.threads.resume).start()
    if "suspend" in wish:
        server.suspend_accepting()
        threading.Timer(wish["suspend"], server.resume_accepting).start()
    if "reload" in wish:
        server.reload_tls()
    if "tidy" in wish:
        tidy()
    stats = server.stats()
    database = server.database
    report = {
        "tls_port": next(address.port for address in server.addresses if address.tls),
        "faults": NOTES.faults,
        "connected": NOTES.connected,
        "lost": NOTES.lost,
        "messages": NOTES.messages,
        "open": stats.connections,
        "handovers": stats.handovers,
        "late": stats.late,
        "pool": stats.threads.size if stats.threads is not None else 0,
        "database_connections": database.stats().total if database is not None else 0,
        "closed": stats.closed,
        "not_opened": stats.not_opened,
        "blocks": sys.getallocatedblocks(),
    }
    return json.dumps(report).encode()


def tidy() -> None:
    """Give back what nobody uses: what is left then is held by somebody. See malloc_trim(3), which glibc has."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class StampedeServer(Server):
    """A server with a group commit."""

    group: GroupCommit


@contextlib.contextmanager
def with_table(server: Server) -> Iterator[None]:
    """The lifespan: the table is there while the server is."""
    assert isinstance(server, StampedeServer)
    if server.database is not None:
        with server.database.connection() as lease:
            lease.execute(TABLE)
        server.group = server.database.group_commit(
            "stampede", ("seed", "number", "content"), key=("seed", "number"), on_duplicate="repeat", queue_timeout=5.0
        )
    yield


def main(port: str, model: str, certificate: str, key: str, url: str = "") -> None:
    """Serve until TERM."""
    logging.getLogger("mooring").addHandler(LoggedFaults())
    threading.Thread(target=work_later, daemon=True).start()
    StampedeServer(
        Stampede,
        framing=FRAMING,
        bind=[f"tcp://127.0.0.1:{port}", "tls://127.0.0.1:0"],
        tls=TLS(certificate, key),
        model=model,
        close_timeout=60.0,  # what was asked before a fault of the framing is answered, however full the server is
        database=open_pool(url, timeout=1.0, max_waiting=1000) if url else None,
        lifespan=with_table,
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
