from __future__ import annotations

import pickle
from dataclasses import replace

import crc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.framing import (
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

# The column "check" of the CRC catalogue: the sum over the digits 1 to 9. Those of XOR8 and SUM8 are plain arithmetic.
CHECK_VALUES = [
    (CRC16_ARC, 0xBB3D),
    (CRC16_CCITT_FALSE, 0x29B1),
    (CRC16_KERMIT, 0x2189),
    (CRC16_MODBUS, 0x4B37),
    (CRC16_X25, 0x906E),
    (CRC16_XMODEM, 0x31C3),
    (CRC32, 0xCBF43926),
    (XOR8, 0x31),
    (SUM8, 0xDD),
]

CONFIGURATIONS = [
    (CRC16_ARC, crc.Configuration(16, 0x8005, 0, 0, True, True)),
    (CRC16_CCITT_FALSE, crc.Configuration(16, 0x1021, 0xFFFF, 0, False, False)),
    (CRC16_KERMIT, crc.Configuration(16, 0x1021, 0, 0, True, True)),
    (CRC16_MODBUS, crc.Configuration(16, 0x8005, 0xFFFF, 0, True, True)),
    (CRC16_X25, crc.Configuration(16, 0x1021, 0xFFFF, 0xFFFF, True, True)),
    (CRC16_XMODEM, crc.Configuration(16, 0x1021, 0, 0, False, False)),
    (CRC32, crc.Configuration(32, 0x04C11DB7, 0xFFFFFFFF, 0xFFFFFFFF, True, True)),
]


def named(value: object) -> str | None:
    return value.name if isinstance(value, Checksum) else None


@pytest.mark.parametrize(("checksum", "expected"), CHECK_VALUES, ids=named)
def test_a_checksum_has_its_published_check_value(checksum: Checksum, expected: int) -> None:
    assert checksum(b"123456789") == expected


@pytest.mark.parametrize(("checksum", "configuration"), CONFIGURATIONS, ids=named)
@given(data=st.binary(max_size=80))
def test_a_checksum_agrees_with_the_crc_package(
    checksum: Checksum, configuration: crc.Configuration, data: bytes
) -> None:
    assert checksum(data) == crc.Calculator(configuration).checksum(data)


@pytest.mark.parametrize(("checksum", "_expected"), CHECK_VALUES, ids=named)
@given(data=st.binary(max_size=80))
def test_a_sum_fits_into_its_field(checksum: Checksum, _expected: int, data: bytes) -> None:
    assert 0 <= checksum(data) < 1 << (8 * checksum.size)


@pytest.mark.parametrize(("checksum", "_expected"), CHECK_VALUES, ids=named)
def test_a_checksum_has_the_size_of_its_field_and_survives_pickling(checksum: Checksum, _expected: int) -> None:
    assert checksum.size == (4 if checksum is CRC32 else 2 if checksum.name.startswith("CRC16") else 1)
    assert pickle.loads(pickle.dumps(checksum)) == checksum


def test_the_same_sum_may_have_a_wider_field() -> None:
    wide = replace(CRC16_ARC, size=4)
    assert (wide.size, wide(b"123456789")) == (4, 0xBB3D)
    assert wide != CRC16_ARC


def test_a_checksum_of_ones_own_is_a_name_a_size_and_a_function() -> None:
    sum16 = Checksum("SUM16", 2, lambda data: sum(data) & 0xFFFF)
    assert sum16(b"\xff" * 3) == 765
    assert repr(sum16) == "<Checksum SUM16, 2 bytes>"
    with pytest.raises(ValueError, match="size must be at least 1"):
        Checksum("SUM0", 0, sum)
