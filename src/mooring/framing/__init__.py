"""Framings: bytes to messages and back. Pure values: no socket, thread, clock or file."""

from mooring.framing.base import Framing
from mooring.framing.checked import Checked
from mooring.framing.checksums import (
    CRC16_ARC,
    CRC16_CCITT_FALSE,
    CRC16_KERMIT,
    CRC16_MODBUS,
    CRC16_X25,
    CRC16_XMODEM,
    CRC32,
    SUM8,
    XOR8,
    Checksum,
)
from mooring.framing.delimited import Delimited
from mooring.framing.fixed_length import FixedLength
from mooring.framing.length_prefixed import LengthPrefixed
from mooring.framing.lines import Lines
from mooring.framing.raw import Raw
from mooring.framing.slip import Slip

__all__ = [
    "CRC16_ARC",
    "CRC16_CCITT_FALSE",
    "CRC16_KERMIT",
    "CRC16_MODBUS",
    "CRC16_X25",
    "CRC16_XMODEM",
    "CRC32",
    "SUM8",
    "XOR8",
    "Checked",
    "Checksum",
    "Delimited",
    "FixedLength",
    "Framing",
    "LengthPrefixed",
    "Lines",
    "Raw",
    "Slip",
]
