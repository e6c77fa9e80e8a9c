"""The header of the PROXY protocol: strict, bounded, and the same however it is cut."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mooring.net.address import Address, unpack_address
from mooring.net.proxy.header import (
    LARGEST_V1,
    LARGEST_V2,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    crc32c,
    parse_header,
)

LINE = b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 7000\r\n"
V4 = bytes([203, 0, 113, 9, 192, 0, 2, 1]) + struct.pack("!HH", 51000, 7000)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") * 2 + struct.pack("!HH", 51000, 7000)


def v2(body: bytes = V4, *, command: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body) if length is None else length) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(body: bytes) -> bytes:
    whole = v2(body + tlv(3, bytes(4)))
    return whole[:-4] + struct.pack("!I", crc32c(whole))


def peer(version: int, data: bytes) -> Address | None:
    header = parse_header(version, data)
    assert header is not None
    assert header.size == len(data)
    return unpack_address(header.peer) if header.peer is not None else None


# Version 1 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"TCP4 203.0.113.9 192.0.2.1 51000 7000", Address("203.0.113.9", 51000)),
        (b"TCP4 203.0.113.9 192.0.2.1 0 65535", Address("203.0.113.9", 0)),
        (b"TCP6 2001:db8::9 ::1 51000 7000", Address("2001:db8::9", 51000)),
        (b"TCP6 ::ffff:203.0.113.9 ::1 51000 7000", Address("203.0.113.9", 51000)),
        (b"TCP6 " + b"ffff:" * 7 + b"fffe " + b"ffff:" * 7 + b"ffff 65535 65535", None),
        (b"UNKNOWN", None),
        (b"UNKNOWN ffff:ff::1 whatever \xff\n", None),
    ],
)
def test_a_line_names_the_client(line: bytes, expected: Address | None) -> None:
    if b"fffe" in line:  # the longest that there can be, of a multicast address: refused for that alone
        with pytest.raises(ProxyHeaderError, match="nobody connects from"):
            parse_header(1, b"PROXY " + line + b"\r\n")
        return
    assert peer(1, b"PROXY " + line + b"\r\n") == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "no PROXY header of version 1$"),
        (b"POST / HTTP/1.1\r\n", "may be version 1"),  # begins alike
        (v2(), "may be version 2"),
        (b"\x16\x03\x01\x02\x00", "may be TLS without the header"),
        (b"proxy TCP4", "no PROXY header"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 7000\n", "holds byte 0x0a"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 7000\rx", "ends with CR and LF"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000\r\n", "two addresses and two ports"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 7000 1\r\n", "two addresses and two ports"),
        (b"PROXY TCP4  203.0.113.9 192.0.2.1 51000 7000\r\n", "two addresses and two ports"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 7000 \r\n", "two addresses and two ports"),
        (b"PROXY \r\n", "names TCP4, TCP6 or UNKNOWN"),
        (b"PROXY TCP5 203.0.113.9 192.0.2.1 51000 7000\r\n", "names TCP4, TCP6 or UNKNOWN"),
        (b"PROXY UNKNOWNX\r\n", "names TCP4, TCP6 or UNKNOWN"),
        (b"PROXY TCP4 203.0.113.009 192.0.2.1 51000 7000\r\n", "no two addresses of that family"),
        (b"PROXY TCP4 203.0.113 192.0.2.1 51000 7000\r\n", "no two addresses of that family"),
        (b"PROXY TCP4 2001:db8::9 192.0.2.1 51000 7000\r\n", "no two addresses of that family"),
        (b"PROXY TCP6 203.0.113.9 192.0.2.1 51000 7000\r\n", "no two addresses of that family"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 51000 7000\r\n", "no two addresses of that family"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 7000\r\n", "from 0 to 65535"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 51000 -1\r\n", "from 0 to 65535"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 051000 7000\r\n", "from 0 to 65535"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 07 7000\r\n", "from 0 to 65535"),
        (b"PROXY TCP4 0.0.0.0 192.0.2.1 51000 7000\r\n", "nobody connects from 0.0.0.0"),
        (b"PROXY TCP4 224.0.0.1 192.0.2.1 51000 7000\r\n", "nobody connects from"),
        (b"PROXY TCP4 255.255.255.255 192.0.2.1 51000 7000\r\n", "nobody connects from"),
        (b"PROXY TCP6 :: ::1 51000 7000\r\n", "nobody connects from"),
        (b"PROXY TCP6 ::ffff:0.0.0.0 ::1 51000 7000\r\n", "nobody connects from"),
        (b"PROXY TCP4 \xc2\xb2.0.0.1 192.0.2.1 1 1\r\n", "holds byte 0xc2"),
        (b"PROXY TCP4 " + b"1" * 200, "at most 107 bytes"),
        (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "at most 107 bytes"),
    ],
)
def test_a_line_that_is_wrong_is_refused_with_the_reason(line: bytes, reason: str) -> None:
    with pytest.raises(ProxyHeaderError, match=reason):
        parse_header(1, line)


def test_a_line_of_107_bytes_is_the_longest() -> None:
    assert peer(1, b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n") is None


# Version 2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (v2(), Address("203.0.113.9", 51000)),
        (v2(V6, kind=0x21), Address("2001:db8::9", 51000)),
        (v2(b"/run/client".ljust(108, b"\0") + bytes(108), kind=0x31), Address(path="/run/client")),
        (v2(b"\0abstract".ljust(108, b"\0") + bytes(108), kind=0x31), Address(path="\0abstract")),
        (v2(command=0x20), None),
        (v2(b"", command=0x20, kind=0), None),
        (v2(b"\xff" * 40, command=0x20, kind=0xFF), None),  # of LOCAL nothing but the length counts
        (v2(b"", kind=0), None),
        (v2(b"\xff" * 40, kind=0), None),
        (v2(V4 + tlv(4, b"\0" * 9) + tlv(0xEA, b"vpce-1") + tlv(0x7E, b"")), Address("203.0.113.9", 51000)),
        (v2(V4 + tlv(0x20, b"x" * (LARGEST_V2 - 31))), Address("203.0.113.9", 51000)),
        (with_checksum(V4), Address("203.0.113.9", 51000)),
    ],
)
def test_a_binary_header_names_the_client(data: bytes, expected: Address | None) -> None:
    assert peer(2, data) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LINE, "may be version 1"),
        (SIGNATURE[:-1] + b"\r", "no PROXY header of version 2"),
        (v2(command=0x11), "version and command are 0x11"),
        (v2(command=0x22), "version and command are 0x22"),
        (v2(kind=0x12), "only streams"),
        (v2(kind=0x10), "only streams"),
        (v2(kind=0x41), "only streams"),
        (v2(V4[:-1]), "take 12 bytes, 11 are announced"),
        (v2(V4, kind=0x21), "take 36 bytes, 12 are announced"),
        (v2(V6, kind=0x31), "take 216 bytes, 36 are announced"),
        (v2(length=LARGEST_V2 - 15), "a header of 4097 bytes"),
        (v2(length=0xFFFF, command=0x20), "a header of 65551 bytes"),
        (v2(V4 + b"\x04\x00"), "a TLV is cut off"),
        (v2(V4 + b"\x04\x00\x05abcd"), "longer than the header"),
        (v2(V4 + tlv(3, b"abcde")), "5 bytes instead of 4"),
        (v2(V4 + tlv(3, b"abcd")), "checksum .* does not fit"),
        (v2(bytes(12)), "nobody connects from 0.0.0.0"),
        (v2(b"\xff" * 36, kind=0x21), "nobody connects from"),
    ],
)
def test_a_binary_header_that_is_wrong_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ProxyHeaderError, match=reason):
        parse_header(2, data)


def test_the_checksum_is_the_one_of_the_catalogue() -> None:
    assert crc32c(b"123456789") == 0xE3069283


# However it is cut ----------------------------------------------------------------------------------------------------

HEADERS = [
    (1, LINE),
    (1, b"PROXY UNKNOWN\r\n"),
    (2, v2()),
    (2, v2(V6, kind=0x21)),
    (2, with_checksum(V4 + tlv(2, b"x"))),
]


@pytest.mark.parametrize(("version", "data"), HEADERS)
def test_every_beginning_of_a_header_needs_more_and_what_follows_is_not_of_it(version: int, data: bytes) -> None:
    for size in range(len(data)):
        assert parse_header(version, data[:size]) is None
    assert parse_header(version, data + b"\r\nPROXY") == parse_header(version, data)


def outcome(version: int, data: bytes) -> ProxyHeader | str | None:
    try:
        return parse_header(version, data)
    except ProxyHeaderError as exc:
        return str(exc)


def first_outcome(version: int, data: bytes) -> ProxyHeader | str | None:
    """Byte by byte, as far as it goes."""
    for size in range(len(data) + 1):
        found = outcome(version, data[:size])
        if found is not None:
            return found
    return None


fields = st.one_of(
    st.sampled_from(
        [b"PROXY", b"TCP4", b"TCP6", b"UNKNOWN", b"203.0.113.9", b"::1", b"1", b"65536", b"", b"\n", b"\r"]
    ),
    st.binary(max_size=6),
)
lines = st.builds(
    lambda words, end: b" ".join(words) + end, st.lists(fields, max_size=9), st.sampled_from([b"\r\n", b"\n", b""])
)
binaries = st.builds(
    lambda command, kind, length, body: SIGNATURE + struct.pack("!BBH", command, kind, length) + body,
    st.sampled_from([0x20, 0x21, 0x22, 0x31]),
    st.sampled_from([0, 0x11, 0x21, 0x31, 0x12]),
    st.one_of(st.integers(0, 60), st.integers(0, 0xFFFF)),
    st.binary(max_size=80),
)


@given(
    st.sampled_from([1, 2]),
    st.one_of(st.binary(max_size=150), lines, lines.map(lambda line: b"PROXY " + line), binaries),
)
@example(1, LINE)
@example(2, v2())
def test_whole_or_byte_by_byte_the_outcome_is_the_same(version: int, data: bytes) -> None:
    assert first_outcome(version, data) == outcome(version, data)


@given(st.ip_addresses(), st.integers(0, 65535), st.integers(0, 65535))
def test_what_a_balancer_writes_is_what_is_read(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, to_port: int
) -> None:
    line = f"PROXY TCP{source.version} {source} {source} {port} {to_port}\r\n".encode()
    binary = v2(source.packed * 2 + struct.pack("!HH", port, to_port), kind=0x11 if source.version == 4 else 0x21)
    assert outcome(1, line) == outcome(1, line + b"more")
    first, second = outcome(1, line), outcome(2, binary)
    if isinstance(first, str):
        assert first == second
        assert "nobody connects from" in first
        return
    assert isinstance(first, ProxyHeader)
    assert isinstance(second, ProxyHeader)
    assert first.peer == second.peer
    assert unpack_address(first.peer).port == port


def test_no_version_needs_more_than_its_limit() -> None:
    assert outcome(1, b"PROXY UNKNOWN " + b"x" * 1000) == outcome(1, (b"PROXY UNKNOWN " + b"x" * 1000)[:LARGEST_V1])
    assert isinstance(outcome(2, v2(b"", kind=0, length=0xFFFF)), str)
