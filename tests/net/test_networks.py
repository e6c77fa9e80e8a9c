"""Networks: read strictly, and looked up in packed addresses."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.net.address import pack_sockaddr, unpack_address
from mooring.net.networks import NetworkSet, address_key, network_key, parse_network, parse_networks


def packed(host: str, port: int = 7) -> Any:
    if ":" not in host:
        return pack_sockaddr(socket.AF_INET, (host, port))
    scope = 3 if "%" in host else 0
    return pack_sockaddr(socket.AF_INET6, (host, port, 0, scope))


@pytest.mark.parametrize(
    "text", ["203.0.113.0/24", "192.0.2.7", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1", "10.0.0.1/32"]
)
def test_networks_and_single_addresses_are_read(text: str) -> None:
    assert parse_network(text) == ipaddress.ip_network(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1/32 for the one address"),
        ("2001:db8::1/32", "write 2001:db8::/32 for the network, or 2001:db8::1/128 for the one address"),
        ("::ffff:192.0.2.0/120", "write 192.0.2.0/24 instead"),
        ("10.0.0.0/33", "is no network; write one such as"),
        ("10.0.0", "is no network"),
        ("example.com", "is no network"),
        ("", "is no network"),
        ("fe80::1%eth0", "is no network"),
        ("１０.0.0.0/8", "is no network"),
        ("10.0.0.0/", "is no network"),
        ("x" * 10_000, "is no network"),
    ],
)
def test_what_is_no_network_is_told_with_what_is_right(text: str, advice: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_network(text)
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_argument_is_named() -> None:
    with pytest.raises(ValueError, match=r"^Limits: deny: '10.0.0.1/8' has bits behind its prefix"):
        parse_networks("Limits: deny", ["192.0.2.0/24", "10.0.0.1/8"])
    with pytest.raises(TypeError, match=r"^Limits: deny is 7"):
        parse_networks("Limits: deny", 7)  # type: ignore[arg-type]


def test_one_text_is_one_network_and_not_many_letters() -> None:
    assert parse_networks("trusted", "10.0.0.0/8") == (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("networks", "host", "inside"),
    [
        (["127.0.0.0/8"], "127.9.9.9", True),
        (["127.0.0.0/8"], "::ffff:127.0.0.1", True),  # of a dual-stack socket
        (["127.0.0.0/8"], "128.0.0.1", False),
        (["0.0.0.0/0"], "::1", False),
        (["::/0"], "127.0.0.1", False),
        (["::/0"], "2001:db8::1", True),
        (["2001:db8::/32", "10.0.0.0/8"], "10.1.2.3", True),
        (["2001:db8::/32", "10.0.0.0/8"], "2001:db9::", False),
        (["fe80::/10"], "fe80::1%lo", True),
        (["192.0.2.7"], "192.0.2.7", True),
        ([], "192.0.2.7", False),
    ],
)
def test_an_address_is_in_a_network_or_not(networks: list[str], host: str, inside: bool) -> None:
    assert NetworkSet(parse_networks("x", networks)).holds(packed(host)) is inside


def test_a_unix_socket_is_in_no_network() -> None:
    everything = NetworkSet(parse_networks("x", ["0.0.0.0/0", "::/0"]))
    assert not everything.holds("")
    assert not everything.holds(b"\0abstract")
    assert address_key("") is None
    assert network_key(b"", (24, 48)) is None


addresses = st.ip_addresses().map(str)


@given(st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=4), st.ip_addresses(v=4))
def test_the_set_agrees_with_ipaddress(pairs: list[Any], address: ipaddress.IPv4Address) -> None:
    networks = [ipaddress.ip_network((host, prefix), strict=False) for host, prefix in pairs]
    assert NetworkSet(networks).holds(packed(str(address))) == any(address in one for one in networks)


@given(addresses, addresses)
def test_addresses_are_counted_by_ipv4_address_and_by_ipv6_network_of_64_bits(one: str, other: str) -> None:
    def group(host: str) -> object:
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv4Address):
            return address
        return address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False)

    assert (address_key(packed(one)) == address_key(packed(other))) == (group(one) == group(other))
    assert address_key(packed(one, 1)) == address_key(packed(one, 2))


@given(addresses, addresses, st.integers(1, 32), st.integers(1, 64))
def test_networks_are_counted_by_prefix_and_the_two_families_never_meet(one: str, other: str, v4: int, v6: int) -> None:
    def group(host: str) -> object:
        address: Any = ipaddress.ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        return ipaddress.ip_network((address, v4 if address.version == 4 else v6), strict=False)

    keys = [network_key(packed(host), (v4, v6)) for host in (one, other)]
    assert (keys[0] == keys[1]) == (group(one) == group(other))


@given(addresses, st.integers(0, 65535))
def test_packing_and_unpacking_keep_address_and_port(host: str, port: int) -> None:
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    assert unpack_address(packed(host, port)).port == port
    assert ipaddress.ip_address(unpack_address(packed(host, port)).host) == (mapped or address)
