"""A short stampede under each model; and that its checkers see what they are to see."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from mooring import Connection, Server
from mooring.bench.measurements import stampede
from mooring.bench.measurements.stampede import One, Size
from mooring.bench.session import Session
from mooring.bench.stampede import visitors
from mooring.bench.stampede.words import FRAMING, Action, Kind, Numbers, Said, Status, content, read_asked, say
from mooring.db import open_pool

SEED = random.randrange(1 << 32)


@pytest.mark.parametrize("model", stampede.MODELS)
def test_whatever_clients_do_every_byte_is_right_and_everything_is_given_back(
    session: Session, folder: Path, model: str
) -> None:
    size = Size(seconds=0.8, connections=20, seed=SEED)
    stampede.measure(session, size, [model], f"sqlite:///{folder}/stampede.db")
    figures = {figure.key.measure: figure.median for figure in session.results.figures()}
    assert figures["answers"] > 20
    assert figures["stored"] > 0
    assert figures["sentences violated"] == 0


def answer_of(message: bytes, *, number: int = 0, altered: bytes = b"") -> bytes:
    asked, _ = read_asked(message)
    data = content("answer", asked.seed, asked.number, asked.answer)
    return say(Said(Kind.ANSWER, asked.number + number, Status.DONE), altered + data[len(altered) :])


def honest(connection: Connection, message: bytes) -> bytes:
    asked, _ = read_asked(message)
    if asked.action is Action.CLOSE:
        connection.close()
    elif asked.action is Action.ABORT:
        connection.abort()
    return answer_of(message)


def altering(_: Connection, message: bytes) -> bytes:
    asked, _rest = read_asked(message)
    return answer_of(message, altered=b"xx"[: asked.answer])  # as long as it should be


def shortening(_: Connection, message: bytes) -> bytes:
    asked, _rest = read_asked(message)
    return answer_of(message)[: -1 if asked.answer else None]


def silent(connection: Connection, message: bytes) -> bytes | None:
    connection.close()
    return None


LIARS: dict[str, Any] = {
    "a message arrives as it was sent": altering,
    "keep their order": lambda _, message: answer_of(message, number=1),
    "a message is whole": shortening,
    "a connection stays until it is ended": silent,
}


@pytest.mark.parametrize("sentence", LIARS)
def test_a_server_that_lies_is_caught(sentence: str) -> None:
    with Server(LIARS[sentence], framing=FRAMING, bind="tcp://127.0.0.1:0") as server:
        for seed in range(SEED, SEED + 50):  # answers without content, all that some ask for, are no lies
            task = {"port": server.port, "connections": 2, "seconds": 0.2, "seed": seed, "actions": {"QUICK": 1}}
            tally = asyncio.run(visitors.stampede(task))
            if tally.faults:
                break
    assert any(sentence in fault for fault in tally.faults), tally.faults


def test_an_honest_server_is_not_accused() -> None:
    with Server(honest, framing=FRAMING, bind="tcp://127.0.0.1:0") as server:
        task = {"port": server.port, "connections": 2, "seconds": 0.2, "seed": SEED, "actions": {"QUICK": 1}}
        tally = asyncio.run(visitors.stampede(task))
    assert tally.faults == []
    assert tally.counts["answers"] > 0


def test_the_server_checks_what_it_gets_in_the_same_way() -> None:
    numbers = Numbers("asked", 7)
    assert numbers.check(0, content("asked", 7, 0, 50)) == ""
    assert "as it was sent" in numbers.check(1, content("asked", 8, 1, 50))
    assert "order" in numbers.check(3, content("asked", 7, 3, 50))


def test_an_acknowledged_row_that_is_not_stored_is_missed(session: Session, folder: Path) -> None:
    url = f"sqlite:///{folder}/stampede.db"
    with open_pool(url) as pool, pool.connection() as lease:
        lease.execute("CREATE TABLE stampede (seed BIGINT, number INT, content VARCHAR(40))")
        lease.execute("INSERT INTO stampede VALUES (7, 0, %s)", (content("row", 7, 0, 20).hex(),))
        lease.execute("INSERT INTO stampede VALUES (7, 1, 'another one')")
    stored = folder / "stored"
    stored.write_bytes(b"".join(visitors.PAIR.pack(7, number) for number in range(3)))
    one = One(session, Size(1.0, 1, SEED), "hybrid", url, None)
    one._compare(stored)
    assert one._faults == [
        "what is acknowledged is stored: 1 of 3 rows are not",
        "what is stored is what was sent: 1 rows are not, (7, 1) say",
    ]


def test_what_is_not_given_back_is_said(session: Session) -> None:
    one = One(session, Size(1.0, 1, SEED), "hybrid", "", None)
    before = stampede.Left(8, 11, 0, 0)
    after = stampede.Left(9, 14, stampede.MEMORY_LIMIT + 1, stampede.BLOCKS_LIMIT + 1)
    one._judge(before, after, {"faults": ["f"], "connected": 3, "lost": 1, "open": 1})
    assert [fault.split(":")[0] for fault in one._faults] == [
        "f",
        "lost follows connected",
        "descriptors are back",
        "threads are back",
        "objects are back",
        "memory is back",
    ]
