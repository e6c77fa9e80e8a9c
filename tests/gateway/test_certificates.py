"""Who is let in by a certificate: a device whose name stands in it, and nobody else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from certificates import Authority
from cryptography import x509
from waiting import wait_until

from mooring import TLS
from mooring.gateway import Device, Gateway, server


@pytest.fixture
def gateway(authority: Authority, sqlite_url: str) -> Iterator[Gateway]:
    pair = authority.server
    tls = TLS(pair.certificate, pair.key, client_ca=authority.certificate)
    bind = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]
    with server(database=sqlite_url, bind=bind, auth="certificate", tls=tls) as gateway:
        yield gateway


def device(gateway: Gateway, name: str, authority: Authority, *names: x509.GeneralName, common_name: str) -> Device:
    pair = authority.sign(common_name, names)
    return Device(str(gateway.addresses[0]), name, tls=authority.context(pair))


@pytest.mark.parametrize("name", ["meter-7", "meter-7.example", "urn:meter:7"])
def test_a_device_logs_in_by_any_name_of_its_certificate(gateway: Gateway, authority: Authority, name: str) -> None:
    names = [x509.DNSName("meter-7.example"), x509.UniformResourceIdentifier("urn:meter:7")]
    with device(gateway, name, authority, *names, common_name="meter-7") as one:
        one.push({"v": 1})
        assert one.flush(10)
    assert [row.data for row in gateway.store.pushes.of_device(name, 1, 1)] == ['{"v":1}']


def test_a_device_is_not_let_in_by_a_name_of_another(gateway: Gateway, authority: Authority) -> None:
    with device(gateway, "meter-8", authority, common_name="meter-7") as one:
        wait_until(lambda: "the certificate is not that of 'meter-8'" in one.last_error)
        assert "unauthorized" in one.last_error
    assert gateway.counters["unauthorized"] >= 1


def test_a_plain_address_beside_lets_nobody_in(gateway: Gateway) -> None:
    with Device(str(gateway.addresses[1]), "meter-7") as one:
        wait_until(lambda: "connect to the tls:// address" in one.last_error)


def test_the_gateway_must_ask_for_certificates(authority: Authority, sqlite_url: str) -> None:
    pair = authority.server
    plain = TLS(pair.certificate, pair.key)
    for options in ({}, {"tls": plain, "bind": "tls://127.0.0.1:0"}):
        with pytest.raises(ValueError, match="client_ca"):
            server(database=sqlite_url, auth="certificate", **options)


def test_a_reload_that_would_keep_all_devices_out_is_refused(gateway: Gateway, authority: Authority) -> None:
    with pytest.raises(ValueError, match="client_ca"):
        gateway.reload_tls(TLS(authority.server.certificate, authority.server.key))
    with device(gateway, "meter-7", authority, common_name="meter-7") as one:
        assert one.wait_connected(10)


def test_a_device_believes_only_the_right_gateway(authority: Authority, sqlite_url: str) -> None:
    pair = authority.server
    with contextlib.ExitStack() as stack:
        tls = TLS(pair.certificate, pair.key)
        gateway = stack.enter_context(server(database=sqlite_url, bind="tls://127.0.0.1:0", tls=tls))
        address = str(gateway.addresses[0])
        stranger = stack.enter_context(Device(address, "meter-7"))
        wait_until(lambda: "certificate verify failed" in stranger.last_error)
        friend = stack.enter_context(Device(address, "meter-7", tls=authority.certificate))
        assert friend.wait_connected(10)
    with pytest.raises(ValueError, match="write tls://"):
        Device("tcp://127.0.0.1:7000", "meter-7", tls=True)
