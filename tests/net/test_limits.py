"""``Limits`` and what judges by them, with a clock that the test holds: values, admission, strikes, lines."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from clock import Clock

from mooring import Limits, ProxyProtocol, Server
from mooring.net.address import pack_sockaddr
from mooring.net.limits import address_lines, strikes
from mooring.net.limits.address_lines import AddressLines
from mooring.net.limits.gate import Gate
from mooring.net.limits.refusals import Refusal


def packed(host: str, port: int = 5) -> Any:
    if ":" in host:
        return pack_sockaddr(socket.AF_INET6, (host, port, 0, 0))
    return pack_sockaddr(socket.AF_INET, (host, port))


def refusal(gate: Gate, host: str) -> Refusal | None:
    verdict = gate.check_accepted(packed(host))
    return verdict[0] if verdict is not None else None


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", ["per_address", "per_network", "strikes", "handshakes"])
def test_a_count_of_less_than_one_is_refused_by_its_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^Limits: {name} is {value}; it must be at least 1"):
        Limits(**{name: value})


RATES = ("connects_per_second", "connects_per_address_per_second", "messages_per_second", "bytes_per_second")
TIMES = ("burst", "strike_window", "strike_time", "throttle_timeout")


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", [*RATES, *TIMES])
def test_a_rate_or_time_that_is_not_more_than_0_is_refused_by_its_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^Limits: {name} is .*; it must be more than 0"):
        Limits(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"per_address": 2.5}, TypeError, "per_address is 2.5; it must be a whole number or None"),
        ({"per_address": True}, TypeError, "per_address is True"),
        ({"handshakes": None}, TypeError, "handshakes is None; it must be a whole number$"),
        ({"burst": "5"}, TypeError, "burst is '5'; it must be a number$"),
        ({"deny": ["10.0.0.1/8"]}, ValueError, "deny: '10.0.0.1/8' has bits behind its prefix; write 10.0.0.0/8"),
        ({"allow": "everybody"}, ValueError, "allow: 'everybody' is no network"),
        ({"network_prefixes": (24,)}, TypeError, "network_prefixes"),
        ({"network_prefixes": (33, 48)}, ValueError, "network_prefixes"),
        ({"network_prefixes": (24, 128)}, ValueError, "network_prefixes"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_with_what_is_right(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^Limits: {text}"):
        Limits(**options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"version": 3}, ValueError, "version is 3; it must be 1 or 2"),
        ({"version": "v1"}, ValueError, "version is 'v1'"),
        ({"version": True}, ValueError, "version is True"),
        ({"version": 1, "trusted": "10.0.0.1/8"}, ValueError, "trusted: '10.0.0.1/8' has bits behind"),
        ({"version": 1, "timeout": 0}, ValueError, "timeout is 0"),
        ({"version": 1, "timeout": None}, ValueError, "timeout is None"),
    ],
)
def test_a_proxy_protocol_that_makes_no_sense_is_refused_with_what_is_right(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^ProxyProtocol: {text}"):
        ProxyProtocol(**options)


def test_a_server_that_trusts_no_balancer_is_refused_unless_it_has_unix_sockets_alone() -> None:
    with pytest.raises(ValueError, match="trusts nobody, so nobody could connect"):
        Server(lambda connection, message: None, proxy_protocol=ProxyProtocol(2))
    Server(lambda connection, message: None, bind="unix:/tmp/x.sock", proxy_protocol=ProxyProtocol(2))
    with pytest.raises(TypeError, match="limits is 7"):
        Server(lambda connection, message: None, limits=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="proxy_protocol is 2"):
        Server(lambda connection, message: None, proxy_protocol=2)  # type: ignore[arg-type]


# Admission ------------------------------------------------------------------------------------------------------------


def test_without_limits_nothing_is_looked_at() -> None:
    gate = Gate(Limits(), None)
    assert gate._admission is None
    assert gate.census is None
    assert gate.throttle is None
    assert gate.pace is None


def test_deny_goes_before_allow_and_allow_refuses_all_others(clock: Clock) -> None:
    gate = Gate(Limits(allow=["10.0.0.0/8", "2001:db8::/32"], deny=["10.6.6.0/24"]), None, clock=clock)
    assert refusal(gate, "10.1.2.3") is None
    assert refusal(gate, "2001:db8::7") is None
    assert refusal(gate, "::ffff:10.1.2.3") is None
    assert refusal(gate, "10.6.6.6") is Refusal.DENIED
    assert refusal(gate, "192.0.2.1") is Refusal.NOT_ALLOWED
    assert gate.check_accepted("") is None  # a Unix socket has no address


def test_an_address_may_have_so_many_and_ipv6_counts_by_64_bits(clock: Clock) -> None:
    gate = Gate(Limits(per_address=2), None, clock=clock)
    assert gate.census is not None
    for host in ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::ffff:2"):
        assert refusal(gate, host) is None
        gate.census.enter(packed(host))
    assert refusal(gate, "192.0.2.1") is Refusal.PER_ADDRESS
    assert refusal(gate, "192.0.2.2") is None
    assert refusal(gate, "2001:db8::3") is Refusal.PER_ADDRESS
    assert refusal(gate, "2001:db8:0:1::3") is None
    gate.census.leave(packed("192.0.2.1", 77))
    assert refusal(gate, "192.0.2.1") is None


def test_a_network_may_have_so_many(clock: Clock) -> None:
    gate = Gate(Limits(per_network=2, network_prefixes=(16, 32)), None, clock=clock)
    assert gate.census is not None
    for host in ("192.0.2.1", "192.0.9.1", "2001:db8:1::1", "2001:db8:2::1"):
        assert refusal(gate, host) is None
        gate.census.enter(packed(host))
    assert refusal(gate, "192.0.77.1") is Refusal.PER_NETWORK
    assert refusal(gate, "192.1.0.1") is None
    assert refusal(gate, "2001:db8:3::") is Refusal.PER_NETWORK
    assert refusal(gate, "2001:db9::") is None


def test_the_census_forgets_who_has_left(clock: Clock) -> None:
    gate = Gate(Limits(per_address=2), None, clock=clock)
    census = gate.census
    assert census is not None
    for number in range(1000):
        census.enter(packed(f"10.0.{number // 250}.{number % 250 + 1}"))
    for number in range(1000):
        census.leave(packed(f"10.0.{number // 250}.{number % 250 + 1}"))
    assert len(census) == 0
    assert not census._networks


def test_an_address_that_comes_too_often_is_refused_until_it_has_waited(clock: Clock) -> None:
    gate = Gate(Limits(connects_per_address_per_second=0.5, burst=4.0), None, clock=clock)
    assert [refusal(gate, "192.0.2.1") for _ in range(3)] == [None, None, Refusal.ADDRESS_RATE]
    assert refusal(gate, "192.0.2.2") is None
    clock.now += 2.0
    assert [refusal(gate, "192.0.2.1") for _ in range(2)] == [None, Refusal.ADDRESS_RATE]


def test_behind_a_balancer_trust_is_asked_of_the_real_peer_and_the_limits_of_the_announced_one(clock: Clock) -> None:
    gate = Gate(Limits(deny="10.0.0.0/8"), ProxyProtocol(2, ["10.9.9.0/24"]), clock=clock)
    assert refusal(gate, "10.9.9.1") is None
    assert refusal(gate, "192.0.2.1") is Refusal.UNTRUSTED
    assert gate.check_accepted("") is None
    verdict = gate.check_address(packed("10.1.1.1"))
    assert verdict is not None
    assert verdict[0] is Refusal.DENIED


def test_what_is_remembered_of_addresses_is_bounded(clock: Clock) -> None:
    gate = Gate(Limits(connects_per_address_per_second=1, strikes=3, deny=["198.51.100.0/24"]), None, clock=clock)
    for number in range(60_000):
        gate.check_accepted(number << 16)
    assert gate._admission is not None
    assert gate._admission._rates is not None
    assert len(gate._admission._rates) <= 50_000


# The strike list ------------------------------------------------------------------------------------------------------


def test_an_address_that_offends_too_often_is_refused_for_a_while(clock: Clock) -> None:
    gate = Gate(Limits(strikes=3, strike_window=60, strike_time=600), None, clock=clock)
    for _ in range(2):
        gate.strikes.add(packed("192.0.2.1"), "login")
    assert refusal(gate, "192.0.2.1") is None
    gate.strikes.add(packed("192.0.2.1", 9), "frame")
    assert refusal(gate, "192.0.2.1") is Refusal.STRIKES
    assert refusal(gate, "192.0.2.2") is None
    clock.now += 599
    assert refusal(gate, "192.0.2.1") is Refusal.STRIKES
    clock.now += 1
    assert refusal(gate, "192.0.2.1") is None
    assert gate.strikes.counts() == {"login": 2, "frame": 1}


def test_strikes_of_long_ago_do_not_count(clock: Clock) -> None:
    gate = Gate(Limits(strikes=3, strike_window=60), None, clock=clock)
    for _ in range(10):
        gate.strikes.add(packed("192.0.2.1"), "frame")
        clock.now += 31
    assert refusal(gate, "192.0.2.1") is None


def test_without_a_limit_offences_are_counted_and_nobody_is_refused(clock: Clock) -> None:
    gate = Gate(Limits(), None, clock=clock)
    for _ in range(100):
        gate.strikes.add(packed("192.0.2.1"), "frame")
    assert refusal(gate, "192.0.2.1") is None
    assert gate.strikes.counts() == {"frame": 100}
    assert len(gate.strikes) == 0


def test_a_spray_of_offenders_is_bounded_and_does_not_free_those_who_are_refused(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strikes, "MOST_ADDRESSES", 100)
    gate = Gate(Limits(strikes=2), None, clock=clock)
    for _ in range(2):
        gate.strikes.add(packed("192.0.2.1"), "login")
    for number in range(10_000):
        gate.strikes.add(number << 16, "login")
    assert len(gate.strikes) <= 200
    assert refusal(gate, "192.0.2.1") is Refusal.STRIKES


def test_kinds_of_offences_are_bounded(clock: Clock) -> None:
    gate = Gate(Limits(), None, clock=clock)
    for number in range(1000):
        gate.strikes.add(packed("192.0.2.1"), f"kind {number}")
    assert len(gate.strikes.counts()) <= strikes.MOST_KINDS + 1


# Lines ----------------------------------------------------------------------------------------------------------------


def test_a_flood_is_one_line_a_minute_and_all_lines_are_bounded(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lines = AddressLines(logging.getLogger("mooring"), clock=clock)
    for _ in range(1000):
        lines.log(logging.WARNING, "refused a connection", packed("192.0.2.1"), "denied")
    assert [record.message for record in caplog.records] == ["refused a connection from 192.0.2.1: denied"]
    for number in range(1000):
        lines.log(logging.WARNING, "refused a connection", number << 16, "denied")
    assert len(caplog.records) == address_lines.MOST_LINES
    clock.now += address_lines.WINDOW
    lines.log(logging.WARNING, "refused a connection", packed("2001:db8::1"), "per_address", "8 are open")
    assert [record.message for record in caplog.records[-2:]] == [
        "1900 more lines about single addresses were left out",
        "refused a connection from 2001:db8::1: per_address (8 are open)",
    ]
    lines.log(logging.WARNING, "refused a connection", "", "max_connections")
    assert caplog.records[-1].message == "refused a connection from unix: max_connections"


def test_opened_and_struck_offences_of_a_handshake_count_against_the_address(clock: Clock) -> None:
    gate = Gate(Limits(strikes=2, per_address=5), None, clock=clock)
    assert gate.census is not None
    for reason in ("tls_timeout", "tls_stop", "tls_reset", "tls_crowded", ""):
        gate.begin_opening(7, packed("192.0.2.1"))
        assert gate.census.of_address(packed("192.0.2.1")) == 1
        gate.end_opening(7, reason)
        gate.end_opening(7, reason)
    assert gate.strikes.counts() == {"handshake": 1}
    assert len(gate.census) == 0


def test_behind_a_balancer_what_goes_wrong_before_the_announcement_is_nobodys_strike(clock: Clock) -> None:
    gate = Gate(Limits(strikes=1), ProxyProtocol(1, "127.0.0.1"), clock=clock)
    gate.begin_opening(7, packed("127.0.0.1"))
    gate.end_opening(7, "proxy_timeout")
    assert gate.strikes.counts() == {}


def test_the_form_of_the_lines_is_the_one_that_the_docs_give_to_fail2ban(caplog: pytest.LogCaptureFixture) -> None:
    text = (Path(__file__).parents[2] / "docs/topics/limits.md").read_text()
    before = re.search(r"prefregex = (.*)<F-CONTENT>", text)
    expressions = re.findall(r"^ +(?:failregex = )?\^(.*<ADDR>.*)$", text, re.MULTILINE)
    assert before is not None
    assert len(expressions) == 2
    caplog.set_level(logging.INFO)
    gate = Gate(Limits(strikes=1), None)
    gate.strikes.add(packed("203.0.113.9"), "login")
    assert caplog.records[0].message == "bad login from 203.0.113.9: refused (for 600 s from here on)"
    gate.refusals.note(Refusal.STRIKES, packed("2001:db8::9"))
    addresses = []
    for record in caplog.records:
        line = f" {record.levelname:<7} {record.message}"  # fail2ban takes the time away first
        for expression in expressions:
            found = re.search(before[1] + expression.replace("<ADDR>", r"(?P<ip>[0-9a-fA-F:.]+)"), line)
            if found:
                addresses.append(found["ip"])
    assert addresses == ["203.0.113.9", "2001:db8::9"]
