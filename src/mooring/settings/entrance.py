"""The settings of who may connect, and how: TLS, limits, and a load balancer in front."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from .section import About, Count, Rate, Section
from .values import Duration, NetworkText, Size


class Tls(Section, frozen=True, kw_only=True):
    """TLS on the `tls://` addresses. The files are read again on HUP; broken ones change nothing."""

    SHORTHAND = "certificate"

    certificate: Annotated[
        str | UnsetType,
        About(
            "A PEM file: the server's certificate, and those between it and the root.",
            "--tls-cert",
            metavar="FILE",
            reload=True,
            example="/etc/letsencrypt/live/gateway.example/fullchain.pem",
        ),
    ] = UNSET
    key: Annotated[
        str | UnsetType,
        About(
            "A PEM file with its private key.",
            "--tls-key",
            "in the file of the certificate",
            metavar="FILE",
            reload=True,
            example="/etc/letsencrypt/live/gateway.example/privkey.pem",
        ),
    ] = UNSET
    client_ca: Annotated[
        str | UnsetType,
        About(
            "A PEM file with the authorities of the clients, who must then have a certificate of one of them.",
            "--tls-client-ca",
            metavar="FILE",
            reload=True,
            example="/etc/mooring/devices-ca.pem",
        ),
    ] = UNSET
    minimum: Annotated[
        Literal["TLSv1.2", "TLSv1.3"] | UnsetType, About("The oldest version.", default="TLSv1.2", reload=True)
    ] = UNSET
    alpn: Annotated[
        tuple[str, ...] | UnsetType,
        About("Names of protocols to offer, best first.", default="none", reload=True, example="meters/1"),
    ] = UNSET
    handshake_timeout: Annotated[
        Duration | UnsetType,
        About("A new connection must have finished its handshake by then.", default="10s", reload=True),
    ] = UNSET


class Limits(Section, frozen=True, kw_only=True):
    """How much is taken of whom, beside `max_connections`. An address is an IPv4 address or the /64 of an IPv6 one."""

    per_address: Annotated[
        Count | UnsetType | None,
        About(
            "Connections that one address may have; `off`: any number.",
            "--max-connections-per-address",
            "off",
            metavar="N",
            reload=True,
            example="100",
        ),
    ] = UNSET
    per_network: Annotated[
        Count | UnsetType | None,
        About("Connections that one network may have.", default="off", reload=True, example="1000"),
    ] = UNSET
    network_prefixes: Annotated[
        tuple[int, ...] | UnsetType,
        About("Bits that make a network, of IPv4 and of IPv6.", default="24, 48", reload=True, example="24,48"),
    ] = UNSET
    connects_per_second: Annotated[
        Rate | UnsetType | None,
        About(
            "New connections in all; more wait in the kernel's backlog, and nobody is refused for it.",
            "--connects-per-second",
            "off",
            metavar="RATE",
            reload=True,
            example="500",
        ),
    ] = UNSET
    connects_per_address_per_second: Annotated[
        Rate | UnsetType | None,
        About(
            "New connections of one address; more are refused.",
            "--connects-per-address-per-second",
            "off",
            metavar="RATE",
            reload=True,
            example="0.5",
        ),
    ] = UNSET
    messages_per_second: Annotated[
        Rate | UnsetType | None,
        About(
            "Messages of each connection; one that sends more is not read for a while.",
            default="off",
            reload=True,
            example="50",
        ),
    ] = UNSET
    bytes_per_second: Annotated[
        Size | UnsetType | None,
        About(
            "Bytes of each connection; one that sends more is not read for a while.",
            default="off",
            reload=True,
            example="1MiB",
        ),
    ] = UNSET
    burst: Annotated[
        Duration | UnsetType,
        About("So much of a rate may come at once; not of `connects_per_second`.", default="5s", reload=True),
    ] = UNSET
    throttle_timeout: Annotated[
        Duration | UnsetType | None,
        About("A connection that sends too much for so long is closed; `off`: never.", default="1m", reload=True),
    ] = UNSET
    handshakes: Annotated[
        Count | UnsetType,
        About(
            "Sockets at a time whose TLS handshake or PROXY header is not complete; more wait in the kernel.",
            default="256",
            reload=True,
        ),
    ] = UNSET
    allow: Annotated[
        tuple[NetworkText, ...] | UnsetType,
        About(
            "Networks that may connect; none: all.",
            "--allow",
            "all",
            metavar="NETWORK",
            reload=True,
            example="203.0.113.0/24",
        ),
    ] = UNSET
    deny: Annotated[
        tuple[NetworkText, ...] | UnsetType,
        About(
            "Networks that may not; goes before `allow`.",
            "--deny",
            "none",
            metavar="NETWORK",
            reload=True,
            example="198.51.100.0/24",
        ),
    ] = UNSET
    strikes: Annotated[
        Count | UnsetType | None,
        About(
            "Broken frames, failed logins and failed handshakes after which an address is refused for a while.",
            "--strikes",
            "off",
            metavar="N",
            reload=True,
            example="10",
        ),
    ] = UNSET
    strike_window: Annotated[
        Duration | UnsetType, About("The time within which they count.", default="1m", reload=True)
    ] = UNSET
    strike_time: Annotated[
        Duration | UnsetType, About("The time for which the address is refused.", default="10m", reload=True)
    ] = UNSET


class ProxyProtocol(Section, frozen=True, kw_only=True):
    """A load balancer in front that says in a PROXY header whose connection it is."""

    SHORTHAND = "version"

    version: Annotated[
        Literal["v1", "v2"] | UnsetType,
        About(
            "Every connection must begin with a PROXY header of this version, before TLS.",
            "--proxy-protocol",
            "none is expected",
            example="v2",
        ),
    ] = UNSET
    trusted: Annotated[
        tuple[NetworkText, ...] | UnsetType,
        About(
            "Networks of the load balancers; nobody else may connect. Unix sockets are trusted.",
            "--proxy-trusted",
            metavar="NETWORK",
            example="10.0.0.0/24",
        ),
    ] = UNSET
    timeout: Annotated[Duration | UnsetType, About("The header must be complete by then.", default="5s")] = UNSET
