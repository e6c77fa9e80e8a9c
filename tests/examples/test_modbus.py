"""The Modbus example: ``mbpoll`` against it, each function, and each way to ask wrongly."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from types import ModuleType

import pytest
from example_programs import example, run_client

from mooring import Client
from mooring.framing import Raw


@pytest.fixture
def modbus() -> Iterator[ModuleType]:
    with example("modbus") as module:
        yield module


@pytest.fixture
def master(modbus: ModuleType) -> Iterator[Client]:
    with modbus.server as server, Client(server.addresses[0], framing=modbus.Modbus.framing) as client:
        yield client


def ask(master: Client, request: str, unit: int = 1) -> str:
    """The answer to a request, both from the function on, in hex."""
    body = bytes([unit]) + bytes.fromhex(request)
    master.send(struct.pack(">HHH", 0x1234, 0, len(body)) + body)
    answer = master.recv()
    assert answer[:4] == b"\x12\x34\x00\x00"
    assert answer[6] == unit
    return answer[7:].hex(" ")


def test_mbpoll_reads_and_writes_coils_and_registers(modbus: ModuleType) -> None:
    with modbus.server as server:

        def mbpoll(table: str, first: int, *values: str, count: int = 1, unit: int = 1, code: int = 0) -> list[str]:
            what = ("-m", "tcp", "-p", str(server.port), "-a", str(unit), "-t", table, "-r", str(first))
            how = ("127.0.0.1", *values) if values else ("-c", str(count), "-1", "127.0.0.1")
            return re.findall(r"^\[\d+\]: \t(\d+)", run_client("mbpoll", *what, *how, code=code), re.MULTILINE)

        mbpoll("4", 2, "17", "65535")  # functions 16 and 3
        mbpoll("4", 4, "5")  # 6
        assert mbpoll("4", 1, count=4) == ["0", "17", "65535", "5"]
        mbpoll("0", 3, "1", "0", "1", "1")  # 15 and 1
        mbpoll("0", 1, "1")  # 5
        assert mbpoll("0", 1, count=10) == ["1", "0", "1", "0", "1", "1", "0", "0", "0", "0"]
        modbus.modbus.units[2].inputs[7] = True
        modbus.modbus.units[2].measured[0] = 230
        assert mbpoll("1", 7, count=2, unit=2) == ["0", "1"]  # 2
        assert mbpoll("3", 1, unit=2) == ["230"]  # 4
        assert mbpoll("4", 1, count=1, unit=2) == ["0"]
        assert mbpoll("4", 999, count=5, code=1) == []  # beyond the end


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("01 00 00 00 0a", "01 02 05 00"),
        ("0f 00 01 00 03 01 05", "0f 00 01 00 03"),
        ("05 00 02 ff 00", "05 00 02 ff 00"),
        ("03 00 00 00 02", "03 04 00 07 00 08"),
        ("10 00 01 00 02 04 00 0a 01 02", "10 00 01 00 02"),
        ("06 03 e7 12 34", "06 03 e7 12 34"),
        ("03 03 e7 00 01", "03 02 00 00"),
    ],
)
def test_each_function_answers_as_the_specification_says(
    master: Client, modbus: ModuleType, request_: str, answer: str
) -> None:
    modbus.modbus.units[1].coils[0] = modbus.modbus.units[1].coils[2] = True
    modbus.modbus.units[1].holding[:2] = [7, 8]
    assert ask(master, request_) == answer


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("07", 1),
        ("2b 0e 01 00", 1),
        ("80", 1),
        ("03 03 e8 00 01", 2),
        ("03 ff ff ff ff", 3),
        ("03 00 00 00 7e", 3),
        ("01 00 00 07 d1", 3),
        ("03 00 00 00 00", 3),
        ("03 00 00", 3),
        ("03", 3),
        ("03 00 00 00 01 00", 3),
        ("05 00 00 12 34", 3),
        ("05 03 e8 ff 00", 2),
        ("06 03 e8 00 00", 2),
        ("0f 00 00 00 09 01 ff", 3),
        ("0f 03 e7 00 02 01 03", 2),
        ("10 00 00 00 02 04 00 01 00", 3),
        ("10 00 00 00 7c f8", 3),
        ("10 03 e7 00 02 04 00 01 00 02", 2),
    ],
)
def test_what_is_asked_wrongly_is_an_exception_and_changes_nothing(
    master: Client, modbus: ModuleType, request_: str, code: int
) -> None:
    function = int(request_[:2], 16) | 0x80
    assert ask(master, request_) == f"{function:02x} {code:02x}"
    unit = modbus.modbus.units[1]
    assert not any(unit.coils)
    assert not any(unit.holding)
    assert len(unit.coils) == len(unit.holding) == modbus.SIZE


def test_a_unit_that_is_not_there_is_an_exception_of_a_gateway(master: Client) -> None:
    assert ask(master, "03 00 00 00 01", unit=9) == "83 0b"


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n", b"\0\1\0\0\0\1\1", b"\0\1\0\0\0\0", b"\0\1\0\7\0\6\1\3\0\0\0\1", b"\0\1\0\0\xff\xff"],
)
def test_what_is_no_modbus_closes_the_connection(modbus: ModuleType, noise: bytes) -> None:
    with modbus.server as server, Client(server.addresses[0], framing=Raw()) as client:
        client.send(noise)
        assert list(client) == []
