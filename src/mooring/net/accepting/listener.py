"""Listening sockets: opening them by the rules of dual stack and of Unix sockets, with errors that help."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...errors import BindError
from ..address import Address, from_sockaddr
from .opening import Stage

logger = logging.getLogger("mooring")

IPV6_IS_OFF = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}

UNSENT_LIMIT = 128 * 1024
"""Bytes per connection that the kernel takes from us while the peer has no room for them."""

ADVICE = {
    errno.EADDRINUSE: "choose another port with --bind, or ask `ss -ltnp` who has this one",
    errno.EACCES: "ports below 1024 and other people's folders need more rights; choose another with --bind",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; 0.0.0.0 and [::] stand for all",
    errno.ENOENT: "the folder does not exist",
}


@dataclass(frozen=True, slots=True)
class ListenerStats:
    """One listener, now.

    Attributes:
        address: where it listens.
        accepting: False: it is suspended, or the server does not run.
        accepted: connections so far.
    """

    address: Address
    accepting: bool
    accepted: int


class Listener:
    """One listening socket.

    Args:
        sock: bound, listening and non-blocking.
        address: where it listens, with the real port.
        inherited: the file of a Unix socket belongs to whoever opened it, and stays.

    Attributes:
        stages: what each accepted socket has to go through before it is a connection, in this order.
        accepted: connections so far; the acceptor counts.
        watched: whether the acceptor accepts from it now; the acceptor's.
    """

    def __init__(self, sock: socket.socket, address: Address, *, inherited: bool = False) -> None:
        self.socket = sock
        self.address = address
        self.stages: tuple[Stage, ...] = ()
        self.accepted = 0
        self.watched = False
        self._file = _identity(address.path) if address.is_unix and not inherited else None

    def close(self) -> None:
        """Close the socket; the file of a Unix socket goes too, if it is still ours. Twice is harmless."""
        # The file first: while the socket listens nobody takes the file for stale and puts another in its place.
        if self._file is not None and _identity(self.address.path) == self._file:
            try:
                os.unlink(self.address.path)
            except OSError as exc:  # gone this moment, or we have given up the right to
                logger.warning("%s: the socket's file could not be removed: %s", self.address, exc.strerror)
        self._file = None
        self.socket.close()


def open_listeners(addresses: Sequence[Address], backlog: int) -> list[Listener]:
    """Listen on all of these addresses, or on none.

    ``tcp://[::]:PORT`` takes IPv4 and IPv6 with one socket. If ``tcp://0.0.0.0:PORT`` with the same port is there
    too, the first takes IPv6 alone (IPV6_V6ONLY, ipv6(7)), as both could not be bound otherwise. Where IPv6 is
    off, ``[::]`` listens on IPv4 with a warning.

    Raises:
        BindError: names the address, the reason and what to do; nothing is left open.
    """
    ipv4_ports = {address.port for address in addresses if address.host == "0.0.0.0" and address.port}  # noqa: S104
    listeners: list[Listener] = []
    try:
        for address in addresses:
            if address.descriptor is not None:
                listeners.append(_take_inherited(address, address.descriptor))
            elif address.is_unix:
                listeners.append(_listen_unix(address, backlog))
            elif address.host == "::":
                opened = _listen_dual_stack(address, backlog, ipv6_only=address.port in ipv4_ports)
                listeners.extend(opened)
            else:
                listeners.extend(_listen_host(address, backlog))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen_host(address: Address, backlog: int) -> list[Listener]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except socket.gaierror as exc:
        raise BindError(f"listen on {address}: {exc.strerror}; is the host name right?") from exc
    opened: list[Listener] = []
    try:
        for family, sockaddr in dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found):
            opened.append(_listen_tcp(address, family, sockaddr, backlog, ipv6_only=True))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _listen_dual_stack(address: Address, backlog: int, *, ipv6_only: bool) -> list[Listener]:
    try:
        return [_listen_tcp(address, socket.AF_INET6, ("::", address.port), backlog, ipv6_only=ipv6_only)]
    except BindError as exc:
        if not (isinstance(exc.__cause__, OSError) and exc.__cause__.errno in IPV6_IS_OFF):
            raise
    if ipv6_only:  # 0.0.0.0 with this port is listened on anyway
        logger.warning("IPv6 is off on this machine: %s is left out", address)
        return []
    logger.warning("IPv6 is off on this machine: %s takes IPv4 only", address)
    return [_listen_tcp(address, socket.AF_INET, ("0.0.0.0", address.port), backlog, ipv6_only=False)]  # noqa: S104


def _listen_tcp(address: Address, family: int, sockaddr: object, backlog: int, *, ipv6_only: bool) -> Listener:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
            _bound_unsent(sock)
            sock.bind(sockaddr)  # type: ignore[arg-type]
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise _bind_error(address, exc) from exc
    return Listener(sock, replace(from_sockaddr(family, sock.getsockname()), tls=address.tls))


def _bound_unsent(sock: socket.socket) -> None:
    """Let the kernel keep only so much that a peer has no room for; accepted sockets inherit it (tcp(7)).

    It would keep up to 4 MiB for each peer that reads nothing, and some hundreds of them would bring all TCP of the
    machine under memory pressure. What is on its way is not counted, so a long way is no slower.
    """
    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), UNSENT_LIMIT)


def _take_inherited(address: Address, descriptor: int) -> Listener:
    """Listen on a copy: the socket itself stays open, so that clients that come during a restart wait in it."""
    try:
        sock = socket.socket(fileno=os.dup(descriptor))
    except OSError as exc:
        raise BindError(f"listen on {address}: {(exc.strerror or str(exc)).lower()}; was it inherited?") from exc
    try:
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise BindError(f"listen on {address}: it is no listening stream socket (in systemd: ListenStream=)")
        os.set_inheritable(descriptor, False)
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            _bound_unsent(sock)
        found = replace(from_sockaddr(sock.family, sock.getsockname()), tls=address.tls)
        return Listener(sock, found, inherited=True)
    except BaseException:
        sock.close()
        raise


def _listen_unix(address: Address, backlog: int) -> Listener:
    try:
        _remove_stale(address.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind(address.path)
            # Nobody can connect before listen(), so the mode is in force from the first client on.
            os.chmod(address.path, 0o660)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise _bind_error(address, exc) from exc
    return Listener(sock, address)


def _remove_stale(path: str) -> None:
    """Remove the socket file of a server that is gone: only a refused connect proves that nobody listens."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EADDRINUSE, "a file that is not a socket has this name")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody listens
    raise OSError(errno.EADDRINUSE, "another server listens there")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _bind_error(address: Address, exc: OSError) -> BindError:
    reason = (exc.strerror or str(exc)).lower()
    advice = ADVICE.get(exc.errno or 0)
    if address.is_unix and exc.errno == errno.EADDRINUSE:
        advice = "choose another path with --bind"
    return BindError(f"listen on {address}: {reason}" + (f"; {advice}" if advice else ""))
