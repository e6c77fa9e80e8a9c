"""The header of the PROXY protocol, versions 1 and 2: what a load balancer says of the client before its first byte.

    version 1   PROXY TCP4 203.0.113.9 192.0.2.1 51000 7000\\r\\n
    version 2   signature (12) | version and command | family and transport | length (2) | addresses | TLVs

Pure: bytes come in; a header, the wish for more or an error comes out. How the input is cut never changes which.
(The specification is https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt.)
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from ..address import pack_sockaddr

LARGEST_V1: Final = 107
"""Bytes, with CR and LF; the specification's own limit."""

LARGEST_V2: Final = 4096
"""Bytes. The length field could say 65,551, but addresses take 216, and what balancers add (a name, an identifier of
the network, facts of a TLS session and perhaps its certificate) fits into this."""

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

_V1: Final = b"PROXY "
_UNKNOWN: Final = b"PROXY UNKNOWN "
_FIXED: Final = struct.Struct("!12sBBH")
_INET: Final = struct.Struct("!4s4sHH")
_INET6: Final = struct.Struct("!16s16sHH")
_UNIX: Final = struct.Struct("!108s108s")
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_CRC32C_TYPE: Final = 0x03

_HINTS: Final = {
    b"P": "; it may be version 1",
    b"\r": "; it may be version 2",
    b"\x16": "; it may be TLS without the header: does the balancer send it on this port?",
}
"""What the first byte says of a header that is none of ours."""


class ProxyHeaderError(Exception):
    """The bytes are no header of the version that is expected; the text says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What was announced.

    Attributes:
        size: bytes of the header; what follows is the client's.
        peer: the client's address, packed (``address.pack_sockaddr``); None if the connection is the balancer's own
            (LOCAL, a health check) or the client is not known (UNKNOWN, unspecified): the real peer stands then.
    """

    size: int
    peer: Any = None


def parse_header(version: int, data: bytes) -> ProxyHeader | None:
    """Read the header at the beginning of what has come.

    Args:
        version: 1 or 2; never guessed, as the specification demands.
        data: everything received so far; more than ``LARGEST_V1`` or ``LARGEST_V2`` bytes are never needed.

    Returns:
        The header, or None while it is not complete.

    Raises:
        ProxyHeaderError: no further byte can make it one.
    """
    return _parse_v1(data) if version == 1 else _parse_v2(data)


# Version 1 --------------------------------------------------------------------------------------------------------


def _parse_v1(data: bytes) -> ProxyHeader | None:
    _check_beginning(data, _V1, 1)
    head = data[:LARGEST_V1]
    end = head.find(b"\r")
    line = head if end < 0 else head[:end]
    if not (line + b" ").startswith(_UNKNOWN):
        for byte in line:
            if not 0x20 <= byte <= 0x7E:
                raise ProxyHeaderError(f"a PROXY line holds byte {byte:#04x}")
    if end < 0 or end + 1 == len(head):
        if len(head) == LARGEST_V1:
            raise ProxyHeaderError(f"a PROXY line has at most {LARGEST_V1} bytes, this one goes on")
        return None
    if head[end + 1] != 0x0A:
        raise ProxyHeaderError("a PROXY line ends with CR and LF")
    return ProxyHeader(end + 2, _peer_of_line(line.decode("latin-1")))


def _peer_of_line(line: str) -> Any:
    words = line.split(" ")
    family = words[1]
    if family == "UNKNOWN":  # whatever else the line says is to be ignored
        return None
    if family not in ("TCP4", "TCP6"):
        raise ProxyHeaderError(f"a PROXY line names TCP4, TCP6 or UNKNOWN, not {family!r}")
    if len(words) != 6:
        raise ProxyHeaderError("a PROXY line has two addresses and two ports, each behind one blank")
    make = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        if "%" in line:
            raise ValueError
        source, _ = make(words[2]), make(words[3])
    except ValueError:
        raise ProxyHeaderError(f"a PROXY line of {family} has no two addresses of that family") from None
    port, _ = _port(words[4]), _port(words[5])
    return _packed(source, port)


def _port(text: str) -> int:
    if not text.isdigit() or (text[0] == "0" and text != "0") or len(text) > 5 or int(text) > 65535:
        raise ProxyHeaderError("a port of a PROXY line is a number from 0 to 65535")
    return int(text)


# Version 2 --------------------------------------------------------------------------------------------------------


def _parse_v2(data: bytes) -> ProxyHeader | None:
    _check_beginning(data, SIGNATURE, 2)
    if len(data) > 12 and (data[12] >> 4 != 2 or data[12] & 15 not in (_LOCAL, _PROXY)):
        raise ProxyHeaderError(f"version and command are {data[12]:#04x}, not 0x20 (LOCAL) or 0x21 (PROXY)")
    if len(data) < _FIXED.size:
        return None
    _, command, kind, length = _FIXED.unpack_from(data)
    size = _FIXED.size + length
    if size > LARGEST_V2:
        raise ProxyHeaderError(f"a header of {size} bytes; at most {LARGEST_V2} are read")
    is_local = command & 15 == _LOCAL
    if not is_local:
        _check_kind(kind, length)
    if len(data) < size:
        return None
    if is_local or kind == _UNSPECIFIED:
        return ProxyHeader(size)
    header = bytes(data[:size])
    _check_tlvs(header, _FIXED.size + _ADDRESSES[kind].size)
    return ProxyHeader(size, _peer_of_addresses(kind, header))


_ADDRESSES: Final = {_TCP4: _INET, _TCP6: _INET6, _UNIX_STREAM: _UNIX}


def _check_kind(kind: int, length: int) -> None:
    if kind == _UNSPECIFIED:
        return
    if kind not in _ADDRESSES:
        raise ProxyHeaderError(f"family and transport are {kind:#04x}; only streams of TCP and Unix sockets come here")
    if length < _ADDRESSES[kind].size:
        raise ProxyHeaderError(
            f"the addresses of {kind:#04x} take {_ADDRESSES[kind].size} bytes, {length} are announced"
        )


def _peer_of_addresses(kind: int, header: bytes) -> Any:
    fields = _ADDRESSES[kind].unpack_from(header, _FIXED.size)
    if kind == _UNIX_STREAM:
        path: bytes = fields[0]
        return path.rstrip(b"\0") if path.startswith(b"\0") else path.partition(b"\0")[0]
    return _packed(ipaddress.ip_address(fields[0]), fields[2])


def _check_tlvs(header: bytes, at: int) -> None:
    """Walk over what stands behind the addresses: unknown kinds are passed over, a checksum must fit."""
    while at < len(header):
        if at + 3 > len(header):
            raise ProxyHeaderError("a TLV is cut off")
        kind, length = header[at], int.from_bytes(header[at + 1 : at + 3], "big")
        if at + 3 + length > len(header):
            raise ProxyHeaderError(f"a TLV of kind {kind:#04x} is longer than the header")
        if kind == _CRC32C_TYPE:
            _check_crc(header, at + 3, length)
        at += 3 + length


def _check_crc(header: bytes, at: int, length: int) -> None:
    """The sum is over the whole header with zeros in its own place. Who sends one wants it looked at, and a header that
    was damaged on its way names somebody else."""
    if length != 4:
        raise ProxyHeaderError(f"the checksum has {length} bytes instead of 4")
    if crc32c(header[:at] + bytes(4) + header[at + 4 :]) != int.from_bytes(header[at : at + 4], "big"):
        raise ProxyHeaderError("the checksum (CRC32C) does not fit")


def _crc32c_table() -> tuple[int, ...]:
    remainders = []
    for remainder in range(256):
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
        remainders.append(remainder)
    return tuple(remainders)


_TABLE: Final = _crc32c_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, RFC 3720 appendix B.4); of at most ``LARGEST_V2`` bytes here, so Python will do."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# Both -------------------------------------------------------------------------------------------------------------


def _check_beginning(data: bytes, expected: bytes, version: int) -> None:
    beginning = bytes(data[: len(expected)])
    if not expected.startswith(beginning):
        hint = _HINTS.get(beginning[:1], "")
        raise ProxyHeaderError(f"the first bytes are no PROXY header of version {version}{hint}")


def _packed(source: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> int:
    """Nobody connects from an address that stands for none or for many: who says so lies or is broken."""
    plain = source
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        plain = source.ipv4_mapped
    if plain.is_unspecified or plain.is_multicast or plain == ipaddress.IPv4Address("255.255.255.255"):
        raise ProxyHeaderError(f"nobody connects from {source}")
    if source.version == 4:
        packed: int = pack_sockaddr(socket.AF_INET, (str(source), port))
    else:
        packed = pack_sockaddr(socket.AF_INET6, (str(source), port, 0, 0))
    return packed
