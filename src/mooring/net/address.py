"""Addresses as users write them: ``tcp://127.0.0.1:7000``, ``tls://[::]:7443``, ``unix:/run/meters.sock``."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

EXAMPLES = "tcp://127.0.0.1:7000, tls://[::]:7443 or unix:/run/mooring.sock"
SCHEMES = ("tcp", "tls")


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a connection, or a place to listen on.

    Args:
        host: an IP address or a host name; empty for a Unix socket.
        port: 0 to 65535; 0 lets the kernel choose when listening.
        path: the file of a Unix socket; empty for an unnamed one and for TCP.
        descriptor: of a listening socket that was inherited, whose own address is not known yet; else None.
        tls: whether TLS is spoken there.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    descriptor: int | None = None
    tls: bool = False

    @property
    def is_unix(self) -> bool:
        """True for a Unix socket."""
        return not self.host and self.descriptor is None

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the address: 127.0.0.0/8, ::1, ``localhost`` or a Unix socket."""
        if self.is_unix or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.descriptor is not None:
            return f"{'tls+' if self.tls else ''}fd://{self.descriptor}"
        if self.is_unix:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


def parse_bind(text: str) -> Address:
    """Read an address to listen on: as ``parse_address``, or ``fd://N`` for a listening socket that was inherited.

    ``tls+fd://N`` speaks TLS on it.

    Raises:
        ValueError: what is wrong with it, and what an address looks like.
    """
    bare = text.removeprefix("tls+")
    if not bare.startswith("fd:"):
        return parse_address(text)
    number = bare.removeprefix("fd:").removeprefix("//")
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise ValueError(f"{text}: write the number of an inherited descriptor, as in fd://3")
    return Address(descriptor=int(number), tls=bare != text)


def parse_address(text: str) -> Address:
    """Read an address.

    Args:
        text: ``tcp://HOST:PORT`` or ``tls://HOST:PORT`` (an IPv6 host stands in brackets), or ``unix:PATH``.

    Raises:
        ValueError: what is wrong with it, and what an address looks like.
    """
    if text.startswith("unix:"):
        return _parse_unix(text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"{text}: {exc}; write {EXAMPLES}") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{text}: an address begins with tcp://, tls:// or unix:, as in {EXAMPLES}")
    if not host:
        raise ValueError(f"{text}: the host is missing; write {EXAMPLES}")
    if port is None:
        raise ValueError(f"{text}: the port is missing; write {parts.scheme}://{parts.netloc}:7000")
    if parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text}: only a host and a port belong here, as in {EXAMPLES}")
    return Address(host=host, port=port, tls=parts.scheme == "tls")


def _parse_unix(text: str) -> Address:
    path = text.removeprefix("unix:")
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path:
        raise ValueError(f"{text}: the path is missing; write unix:/run/mooring.sock")
    if "\0" in path:
        raise ValueError(f"{text!r}: a path holds no null character")
    if len(path.encode()) > 107:  # sun_path is 108 bytes with its ending zero, unix(7)
        raise ValueError(f"{text}: the path of a Unix socket has at most 107 bytes, this one {len(path.encode())}")
    return Address(path=path)


def from_sockaddr(family: int, sockaddr: Any) -> Address:
    """The Address of what ``getsockname``, ``getpeername`` or ``accept`` gave.

    An IPv4 peer of a dual-stack socket shows as ``::ffff:192.0.2.1``; here it becomes ``192.0.2.1``, so that
    allow-lists, limits and logs see one form only.
    """
    if family == socket.AF_UNIX:
        path = sockaddr.decode(errors="surrogateescape") if isinstance(sockaddr, bytes) else str(sockaddr or "")
        return Address(path=path)
    host = str(sockaddr[0])
    if host.startswith("::ffff:") and "." in host:
        host = host[len("::ffff:") :]
    return Address(host=host, port=sockaddr[1])


IPV6_MARK = 1 << 144
"""Stands above the 128 bits of an IPv6 address and the 16 of its port, and tells it from an IPv4 one."""


def pack_sockaddr(family: int, sockaddr: Any) -> Any:
    """A form of a peer's address that costs a third of the memory, for as long as nobody looks at it.

    IPv4 and IPv6 become one number, address and port, which tells by itself what it is: what a load balancer announces
    may be of another family than the socket. An IPv4-mapped address becomes IPv4. Unix and link-local addresses stay as
    they are.
    """
    if family == socket.AF_INET:
        return int.from_bytes(socket.inet_pton(family, sockaddr[0])) << 16 | sockaddr[1]
    if family == socket.AF_INET6 and not sockaddr[3]:
        number = int.from_bytes(socket.inet_pton(family, sockaddr[0]))
        if number >> 32 == 0xFFFF:
            return (number & 0xFFFFFFFF) << 16 | sockaddr[1]
        return IPV6_MARK | number << 16 | sockaddr[1]
    return sockaddr


def unpack_address(packed: Any) -> Address:
    """The Address of what ``pack_sockaddr`` gave."""
    if isinstance(packed, int):
        if packed & IPV6_MARK:
            number, family, size = packed ^ IPV6_MARK, socket.AF_INET6, 16
        else:
            number, family, size = packed, socket.AF_INET, 4
        return Address(host=socket.inet_ntop(family, (number >> 16).to_bytes(size)), port=number & 0xFFFF)
    return from_sockaddr(socket.AF_INET6 if isinstance(packed, tuple) else socket.AF_UNIX, packed)
