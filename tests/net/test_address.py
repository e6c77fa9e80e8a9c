"""Addresses: what users write, what sockets give, and what is refused."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from mooring.net.address import Address, from_sockaddr, pack_sockaddr, parse_address, parse_bind, unpack_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:7000", Address(host="127.0.0.1", port=7000)),
        ("tcp://0.0.0.0:0", Address(host="0.0.0.0", port=0)),
        ("tcp://[::]:7000", Address(host="::", port=7000)),
        ("tcp://[fe80::1%eth0]:7000", Address(host="fe80::1%eth0", port=7000)),
        ("tcp://meters.example:65535", Address(host="meters.example", port=65535)),
        ("unix:/run/meters.sock", Address(path="/run/meters.sock")),
        ("unix:///run/meters.sock", Address(path="/run/meters.sock")),
        ("unix:meters.sock", Address(path="meters.sock")),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("127.0.0.1:7000", "begins with tcp://, tls:// or unix:"),
        ("http://127.0.0.1:7000", "begins with tcp://, tls:// or unix:"),
        ("tcp://127.0.0.1", "the port is missing; write tcp://127.0.0.1:7000"),
        ("tcp://:7000", "the host is missing"),
        ("tcp://127.0.0.1:65536", "out of range"),
        ("tcp://127.0.0.1:seven", "seven"),
        ("tcp://::1:7000", "tcp://"),
        ("tcp://[::1:7000", "tcp://"),
        ("tcp://127.0.0.1:7000/path", "only a host and a port"),
        ("tcp://user@127.0.0.1:7000", "only a host and a port"),
        ("tcp://127.0.0.1:7000?backlog=3", "only a host and a port"),
        ("unix:", "the path is missing"),
        ("unix:/a\0b", "null character"),
        ("unix:/" + "x" * 107, "at most 107 bytes, this one 108"),
        ("", "begins with tcp://, tls:// or unix:"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_wrong_and_an_example(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("text", ["tls://0.0.0.0:7443", "tls://[::1]:7443", "tls+fd://3"])
def test_an_address_with_tls_is_shown_as_it_is_written_and_is_another_than_without(text: str) -> None:
    address = parse_bind(text)
    assert address.tls
    assert str(address) == text
    assert address != parse_bind(text.replace("tls:", "tcp:").removeprefix("tls+"))


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("fe80::1%lo", False),
        ("192.0.2.1", False),
        ("meters.example", False),
    ],
)
def test_loopback_means_that_only_this_machine_can_reach_it(host: str, is_loopback: bool) -> None:
    assert Address(host=host, port=1).is_loopback is is_loopback


def test_a_unix_socket_is_of_this_machine_only() -> None:
    assert Address(path="/run/x").is_loopback
    assert Address(path="/run/x").is_unix


@pytest.mark.parametrize(
    ("family", "sockaddr", "text"),
    [
        (socket.AF_INET, ("192.0.2.1", 5), "tcp://192.0.2.1:5"),
        (socket.AF_INET6, ("2001:db8::1", 5, 0, 0), "tcp://[2001:db8::1]:5"),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 5, 0, 0), "tcp://192.0.2.1:5"),
        (socket.AF_INET6, ("::ffff:0:1", 5, 0, 0), "tcp://[::ffff:0:1]:5"),
        (socket.AF_UNIX, "/run/x", "unix:/run/x"),
        (socket.AF_UNIX, "", "unix:"),
        (socket.AF_UNIX, b"\0name", "unix:\0name"),
        (socket.AF_UNIX, None, "unix:"),
    ],
)
def test_what_a_socket_says_becomes_an_address(family: int, sockaddr: object, text: str) -> None:
    assert str(from_sockaddr(family, sockaddr)) == text


@pytest.mark.parametrize(
    ("family", "sockaddr", "address"),
    [
        (socket.AF_INET, ("192.0.2.7", 65535), Address("192.0.2.7", 65535)),
        (socket.AF_INET, ("0.0.0.0", 0), Address("0.0.0.0", 0)),
        (socket.AF_INET6, ("2001:db8::7", 7000, 0, 0), Address("2001:db8::7", 7000)),
        (socket.AF_INET6, ("::ffff:192.0.2.7", 7000, 0, 0), Address("192.0.2.7", 7000)),
        (socket.AF_INET6, ("fe80::1%lo", 7000, 0, 1), Address("fe80::1%lo", 7000)),
        (socket.AF_UNIX, "", Address()),
        (socket.AF_UNIX, b"\x00abstract", Address(path="\x00abstract")),
    ],
)
def test_a_packed_peer_shows_the_address_that_it_was(family: int, sockaddr: Any, address: Address) -> None:
    assert unpack_address(pack_sockaddr(family, sockaddr)) == address
