"""The checksums that devices use, under the names of the CRC catalogue (https://reveng.sourceforge.io/crc-catalogue/)."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor

from mooring.framing.arguments import require_integer


@dataclass(frozen=True, slots=True)
class Checksum:
    """A sum over bytes, and the size of the field that holds it.

    Args:
        name: for error messages.
        size: bytes of the field, 1 to 8. ``dataclasses.replace(CRC16_ARC, size=4)`` is the same sum in a wider field.
        function: from bytes to an integer that is not negative and fits into ``size`` bytes.
    """

    name: str
    size: int
    function: Callable[[bytes], int]

    def __post_init__(self) -> None:
        require_integer("size", self.size, 1, 8)

    def __call__(self, data: bytes) -> int:
        """Return the sum over ``data``."""
        return self.function(data)

    def __repr__(self) -> str:
        return f"<Checksum {self.name}, {self.size} bytes>"


def _reversed_bits(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


def _table_of(polynomial: int) -> tuple[int, ...]:
    """Return the remainders of all single bytes, for a CRC of 16 bits that takes the lowest bit of a byte first."""
    remainders = []
    for remainder in range(256):
        for _ in range(8):
            remainder = remainder >> 1 ^ (polynomial if remainder & 1 else 0)
        remainders.append(remainder)
    return tuple(remainders)


_REVERSED_BYTES = bytes(_reversed_bits(value, 8) for value in range(256))
_TABLE_8005 = _table_of(_reversed_bits(0x8005, 16))


def _crc_8005(data: bytes, crc: int) -> int:
    table = _TABLE_8005
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def _reflected_crc_1021(data: bytes, initial: int) -> int:
    """Compute in C what has no function in the standard library: the mirrored sum of the mirrored bytes."""
    return _reversed_bits(binascii.crc_hqx(data.translate(_REVERSED_BYTES), initial), 16)


# Plain functions, not partial objects: these compare equal and can be pickled, and so can the framings that hold them.
def _arc(data: bytes) -> int:
    return _crc_8005(data, 0)


def _modbus(data: bytes) -> int:
    return _crc_8005(data, 0xFFFF)


def _ccitt_false(data: bytes) -> int:
    return binascii.crc_hqx(data, 0xFFFF)


def _xmodem(data: bytes) -> int:
    return binascii.crc_hqx(data, 0)


def _kermit(data: bytes) -> int:
    return _reflected_crc_1021(data, 0)


def _x25(data: bytes) -> int:
    return _reflected_crc_1021(data, 0xFFFF) ^ 0xFFFF


def _crc32(data: bytes) -> int:
    return zlib.crc32(data)


def _xor(data: bytes) -> int:
    return reduce(xor, data, 0)


def _sum(data: bytes) -> int:
    return sum(data) & 0xFF


CRC16_ARC = Checksum("CRC16_ARC", 2, _arc)
CRC16_CCITT_FALSE = Checksum("CRC16_CCITT_FALSE", 2, _ccitt_false)
CRC16_KERMIT = Checksum("CRC16_KERMIT", 2, _kermit)
CRC16_MODBUS = Checksum("CRC16_MODBUS", 2, _modbus)
CRC16_X25 = Checksum("CRC16_X25", 2, _x25)
CRC16_XMODEM = Checksum("CRC16_XMODEM", 2, _xmodem)
CRC32 = Checksum("CRC32", 4, _crc32)
XOR8 = Checksum("XOR8", 1, _xor)
SUM8 = Checksum("SUM8", 1, _sum)
