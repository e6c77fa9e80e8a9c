"""A Modbus TCP server: units with coils and registers that any SCADA system or ``mbpoll`` can read and write.

    .venv/bin/mooring serve --app-dir examples modbus
    mbpoll -m tcp -p 7502 -a 1 -t 4 -r 1 -c 4 -1 127.0.0.1

From "MODBUS Application Protocol Specification V1.1b3" and "MODBUS Messaging on TCP/IP Implementation Guide V1.0b": the
functions 1 to 6, 15 and 16; what is asked wrongly is answered by an exception. All numbers are big-endian.

A frame is transaction, protocol (0), length, unit, then the request, which begins with its function::

    00 01 00 00 00 06 01 03 00 00 00 02      unit 1, function 3: registers from 0 on, two of them
    00 01 00 00 00 07 01 03 04 00 07 00 08   they are 7 and 8
    00 01 00 00 00 03 01 83 02               or: no such address (exception 2)
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TypeVar

from mooring import Connection, FrameError, Server
from mooring.framing import LengthPrefixed

HEADER = struct.Struct(">HHHB")
SIZE = 1000
MOST_BITS, MOST_BITS_WRITTEN, MOST_REGISTERS, MOST_REGISTERS_WRITTEN = 2000, 1968, 125, 123
ON, OFF = 0xFF00, 0

T = TypeVar("T")


class Code(IntEnum):
    """What an exception says."""

    FUNCTION = 1
    ADDRESS = 2
    VALUE = 3
    DEVICE_FAILURE = 4
    NO_SUCH_UNIT = 11  # "gateway target device failed to respond"


class ModbusError(Exception):
    """The request is answered by an exception.

    Args:
        code: which.
    """

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class Unit:
    """One device: four tables, of bits and of 16-bit registers. ``_lock`` guards them; connections run side by side.

    Args:
        size: entries in each table, with addresses from 0 on.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._lock = threading.Lock()
        self.coils = [False] * size
        self.inputs = [False] * size
        self.holding = [0] * size
        self.measured = [0] * size
        self._functions: Mapping[int, Callable[[bytes], bytes]] = {
            1: lambda asked: self._read_bits(self.coils, asked),
            2: lambda asked: self._read_bits(self.inputs, asked),
            3: lambda asked: self._read_registers(self.holding, asked),
            4: lambda asked: self._read_registers(self.measured, asked),
            5: self._write_coil,
            6: self._write_register,
            15: self._write_coils,
            16: self._write_registers,
        }

    def answer(self, request: bytes) -> bytes:
        """Do what is asked, all of it or nothing.

        Raises:
            ModbusError: it cannot be done.
        """
        function = self._functions.get(request[0])
        if function is None:
            raise ModbusError(Code.FUNCTION)
        with self._lock:
            return request[:1] + function(request[1:])

    def _read_bits(self, table: Sequence[bool], asked: bytes) -> bytes:
        bits = table[_range(asked, MOST_BITS, table)]
        packed = sum(bit << index for index, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")
        return bytes([len(packed)]) + packed

    def _read_registers(self, table: Sequence[int], asked: bytes) -> bytes:
        registers = table[_range(asked, MOST_REGISTERS, table)]
        return bytes([2 * len(registers)]) + struct.pack(f">{len(registers)}H", *registers)

    def _write_coil(self, asked: bytes) -> bytes:
        address, value = _two_numbers(asked)
        if value not in (ON, OFF):
            raise ModbusError(Code.VALUE)
        self._write(self.coils, address, value == ON)
        return asked

    def _write_register(self, asked: bytes) -> bytes:
        address, value = _two_numbers(asked)
        self._write(self.holding, address, value)
        return asked

    def _write_coils(self, asked: bytes) -> bytes:
        where = _range(asked[:4], MOST_BITS_WRITTEN, self.coils)
        count = where.stop - where.start
        packed = _payload(asked, (count + 7) // 8)
        number = int.from_bytes(packed, "little")
        self.coils[where] = [bool(number >> index & 1) for index in range(count)]
        return asked[:4]

    def _write_registers(self, asked: bytes) -> bytes:
        where = _range(asked[:4], MOST_REGISTERS_WRITTEN, self.holding)
        count = where.stop - where.start
        self.holding[where] = struct.unpack(f">{count}H", _payload(asked, 2 * count))
        return asked[:4]

    @staticmethod
    def _write(table: list[T], address: int, value: T) -> None:
        if address >= len(table):
            raise ModbusError(Code.ADDRESS)
        table[address] = value


def _two_numbers(asked: bytes) -> tuple[int, int]:
    if len(asked) != 4:
        raise ModbusError(Code.VALUE)
    first, second = struct.unpack(">HH", asked)
    return first, second


def _range(asked: bytes, most: int, table: Sequence[object]) -> slice:
    """The part of a table that is meant by an address and a count."""
    address, count = _two_numbers(asked)
    if not 1 <= count <= most:
        raise ModbusError(Code.VALUE)
    if address + count > len(table):
        raise ModbusError(Code.ADDRESS)
    return slice(address, address + count)


def _payload(asked: bytes, size: int) -> bytes:
    """What follows address, count and the number of its bytes."""
    if asked[4:5] != bytes([size]) or len(asked) != 5 + size:
        raise ModbusError(Code.VALUE)
    return asked[5:]


class Modbus:
    """Serves some units; masters are answered in the order in which they ask.

    Args:
        units: by their numbers, 0 to 255.
    """

    framing = LengthPrefixed(2, offset=4, whole=True, max_size=260)

    def __init__(self, units: Mapping[int, Unit]) -> None:
        self.units = units

    def received(self, connection: Connection, message: bytes) -> bytes:
        if len(message) <= HEADER.size:
            raise FrameError(f"a frame without a function: {message.hex(' ')}")
        transaction, protocol, _, number = HEADER.unpack_from(message)
        if protocol:
            raise FrameError(f"protocol {protocol}: no Modbus")
        request = message[HEADER.size :]
        try:
            unit = self.units.get(number)
            if unit is None:
                raise ModbusError(Code.NO_SUCH_UNIT)
            answer = unit.answer(request)
        except ModbusError as exc:
            answer = bytes([request[0] | 0x80, exc.code])
        return HEADER.pack(transaction, 0, 1 + len(answer), number) + answer


modbus = Modbus({1: Unit(), 2: Unit()})
server = Server(
    modbus.received,
    framing=modbus.framing,
    bind="tcp://127.0.0.1:7502",
    name="modbus",
    blocking=False,
    idle_timeout=None,
)

if __name__ == "__main__":
    server.run()
