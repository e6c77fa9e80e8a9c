"""The MLLP example: ``mllp_send`` of the package hl7 against it, and what is acknowledged how."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from example_programs import example, run_client

from mooring import Client
from mooring.framing import Raw

RESULT = b"MSH|^~\\&|LAB|A|HIS|B|20260102||ORU^R01|42|P|2.5\rPID|1||7||M\xfcller\r"


@pytest.fixture
def mllp(folder: Path) -> Iterator[ModuleType]:
    with example("mllp") as module:
        module.server.database = f"sqlite:///{folder}/hl7.db"
        yield module


@pytest.fixture
def client(mllp: ModuleType) -> Iterator[Client]:
    with mllp.server as server, Client(server.addresses[0], framing=mllp.server.configuration.framing) as client:
        yield client


def ask(client: Client, message: bytes) -> tuple[list[str], list[str]]:
    """The segments MSH and MSA of the answer."""
    client.send(message)
    head, said, end = client.recv().decode("latin-1").split("\r")
    assert end == ""
    return head.split(head[3]), said.split(head[3])


def stored(server: Any) -> list[tuple[bytes, bytes, bytes]]:
    with server.database.connection() as db:
        return db.execute("SELECT sender, control_id, message FROM hl7").fetchall()


def test_mllp_send_gets_its_acknowledgement_and_the_message_is_stored(mllp: ModuleType, folder: Path) -> None:
    (folder / "result.hl7").write_bytes(RESULT)
    with mllp.server as server:
        arguments = ("--loose", "--file", str(folder / "result.hl7"), "--port", str(server.port), "127.0.0.1")
        answer = run_client("mllp_send", *arguments)
        assert "ACK^R01|42|P|2.5" in answer
        assert "MSA|AA|42|" in answer
        run_client("mllp_send", *arguments)  # the same again is acknowledged, and there once
        assert stored(server) == [(b"LAB|A", b"42", RESULT.rstrip(b"\r"))]


def test_an_answer_goes_back_to_the_sender_in_its_own_separators(client: Client) -> None:
    head, said = ask(client, b"MSH#:~\\&#LAB#A#HIS#B###ADT:A01:ADT_A01#4711#D#2.3\rEVN#A01\r")
    assert head[:6] == ["MSH", ":~\\&", "HIS", "B", "LAB", "A"]
    assert head[8:] == ["ACK:A01", "4711", "D", "2.3"]
    assert said[:3] == ["MSA", "AA", "4711"]


def test_another_message_with_a_known_id_is_refused_and_overwrites_nothing(client: Client, mllp: ModuleType) -> None:
    assert ask(client, RESULT)[1][1] == "AA"
    assert ask(client, RESULT + b"OBX|1\r")[1][1:3] == ["AR", "42"]
    assert ask(client, RESULT)[1][1] == "AA"
    assert stored(mllp.server) == [(b"LAB|A", b"42", RESULT)]


def test_what_cannot_be_stored_now_is_answered_by_ae_so_that_the_sender_tries_again(
    client: Client, mllp: ModuleType
) -> None:
    assert ask(client, RESULT)[1][1] == "AA"
    mllp.messages.rows.close()
    head, said = ask(client, RESULT.replace(b"|42|", b"|43|"))
    assert said[1:3] == ["AE", "43"]
    assert head[2:6] == ["HIS", "B", "LAB", "A"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"MSH",
        b"PID|1\r",
        b"MSH|^~\\&|LAB|A|HIS|B|20260102||ORU^R01||P|2.5\r",
        b"MSH|^^^^|LAB|A|HIS|B|20260102||ORU^R01|42|P|2.5\r",
        b"MSH||||||||||||\r",
        b"MSH|^~\\&|" + b"x" * 300 + b"|A|||||ORU|1|P|2.5\r",
        bytes(range(32, 256)),
    ],
)
def test_what_is_no_hl7_is_rejected_and_the_connection_stays(client: Client, message: bytes) -> None:
    assert ask(client, message)[1][1] == "AR"
    assert ask(client, RESULT)[1][1] == "AA"


def test_bytes_that_are_no_frame_close_the_connection_and_nobody_else_notices(mllp: ModuleType) -> None:
    with mllp.server as server, Client(server.addresses[0], framing=Raw()) as bad:
        bad.send(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert list(bad) == []
        with Client(server.addresses[0], framing=mllp.server.configuration.framing) as good:
            assert ask(good, RESULT)[1][1] == "AA"
