"""Idle connections held by programs of ours, and what the server needs for them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .loading import QUICK
from .process import Process, ServerProcess
from .session import Session

CONNECT_TIMEOUT: Final = 300.0
END_TIMEOUT: Final = 60.0
BEAT: Final = "BEAT\r\n"
ANSWER: Final = "OK\r\n"


@dataclass
class Held:
    """Connections that are open.

    Attributes:
        count: how many.
        seconds: how long it took until each had its first answer.
        beats, lost: heartbeats answered and connections lost; known when the block has been left.
    """

    count: int
    seconds: float = 0.0
    beats: int = 0
    lost: int = 0


@contextlib.contextmanager
def hold(
    session: Session, server: ServerProcess, count: int, offset: int = 0, *, authority: str | None = None
) -> Iterator[Held]:
    """Connections to a server, each of which has spoken once, until the block is left.

    Args:
        session: says on which core they are held.
        server: it answers ``PING``.
        count: how many.
        offset: connections that other blocks hold; decides the source addresses.
        authority: whom to believe, a PEM file: over TLS then.

    Raises:
        ProcessFailed: they could not be opened, or the program that held them failed.
    """
    with begin(session, server, count, offset, authority=authority) as program:
        held = Held(count)
        finish_opening(program, held)
        yield held
        finish(program, held)


def begin(session: Session, server: ServerProcess, count: int, offset: int, *, authority: str | None = None) -> Process:
    """Start to open connections; ``finish_opening`` waits for them."""
    task = {"port": server.port, "count": count, "offset": offset, "request": QUICK, "beat": BEAT, "answer": ANSWER}
    task |= {"authority": authority}
    return session.program("holder", task, core=session.cores.load)


def finish_opening(program: Process, held: Held) -> None:
    """Wait until all are open and have their answer."""
    held.seconds = json.loads(program.read_line(CONNECT_TIMEOUT))["seconds"]


def finish(program: Process, held: Held) -> None:
    """Close them, and learn what became of them."""
    program.close_input()
    said = json.loads(program.read_line(END_TIMEOUT))
    held.beats, held.lost = said["beats"], said["lost"]
