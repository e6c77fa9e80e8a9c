"""The client's side of TLS: which servers are believed, and a blocking socket that can be shut in one direction."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from typing import Any, Final, TypeAlias

from ..address import Address

ClientTLS: TypeAlias = "bool | str | os.PathLike[str] | ssl.SSLContext | None"
"""Whom a client believes: True or None: the authorities of the system; a path: those of this PEM file; or a context of
one's own, for a certificate of the client's, say."""

PIECE: Final = 16384
SEND_SIZE: Final = 1 << 18


def client_context(address: Address, tls: ClientTLS) -> ssl.SSLContext | None:
    """The context for connecting to an address; None if it is a plain one.

    Servers are verified, with their names, unless a context of one's own says otherwise.

    Raises:
        ValueError: TLS for an address that is not ``tls://``, or none for one that is.
        TypeError: it is none of these.
        OSError: the file cannot be read, or holds no certificate.
    """
    if not isinstance(tls, bool | str | os.PathLike | ssl.SSLContext | None):
        raise TypeError(f"tls is {tls!r}; it must be True, the path of a CA's certificate, or an ssl.SSLContext")
    if not address.tls:
        if tls is None or tls is False:
            return None
        raise ValueError(f"tls is given, but nothing would be encrypted on {address}; write tls://")
    if tls is False:
        raise ValueError(f"{address} speaks TLS; write tcp:// for a plain connection")
    if isinstance(tls, ssl.SSLContext):
        return tls
    authorities = None if isinstance(tls, bool | None) else os.fspath(tls)
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as exc:
        raise OSError(exc.errno, f"tls: {authorities} cannot be used as a CA: {exc.strerror or exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TLSClientSocket:
    """A blocking TLS connection. Unlike ``ssl.SSLSocket`` it can go on reading after it has said its own end.

    One thread may read while another one writes. ``_lock`` is held for calls of OpenSSL, which only compute;
    ``_send_lock`` by whoever sends, from the making of a record until it has left, so that records leave in order.

    Args:
        sock: connected, with the time-out for the handshake; it belongs to this from here on.
        context: a client's.
        server_name: whose certificate the server must have.

    Raises:
        ssl.SSLError: the handshake failed, or the server is not who it should be; the socket is closed.
        OSError: as for the socket.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        self.behind = sock
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._said_end = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
            while not self._shake_hands():
                self._receive()
        except BaseException:
            sock.close()
            raise

    def _shake_hands(self) -> bool:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._leave()
        return True

    def _receive(self) -> None:
        data = self.behind.recv(PIECE)
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _leave(self) -> None:
        with self._lock:
            data = self._outgoing.read()
        if data:
            self.behind.sendall(data)

    def _answer(self) -> None:
        """Send what OpenSSL has made while reading; if somebody sends just now, it leaves with what he sends next."""
        if self._outgoing.pending and not self._said_end and self._send_lock.acquire(blocking=False):
            try:
                self._leave()
            finally:
                self._send_lock.release()

    def recv(self, size: int) -> bytes:
        """As ``socket.recv``; b"" for the server's end, which it must have said (else it is a reset).

        Raises:
            TimeoutError: the time-out of the socket is over.
            OSError: the connection broke, or what came is no TLS.
        """
        while True:
            try:
                with self._lock:
                    data = self._ssl.read(size)
            except ssl.SSLWantReadError:
                self._receive()
                continue
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                raise ConnectionResetError(104, "the connection ended without TLS's close_notify") from None
            finally:
                self._answer()
            return data

    def sendall(self, data: bytes) -> None:
        """As ``socket.sendall``."""
        view = memoryview(data)
        for start in range(0, len(view), SEND_SIZE):
            with self._send_lock:
                with self._lock:
                    self._ssl.write(view[start : start + SEND_SIZE])
                self._leave()

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``; the server is told by close_notify."""
        if how != socket.SHUT_RD and not self._said_end:
            self._said_end = True
            with self._send_lock:
                with self._lock, contextlib.suppress(ssl.SSLError):  # it wants to read the server's, which comes later
                    self._ssl.unwrap()
                self._leave()
        self.behind.shutdown(how)

    @property
    def ssl(self) -> ssl.SSLObject:
        """What the handshake agreed upon: ``version()``, ``cipher()``, ``selected_alpn_protocol()``."""
        return self._ssl

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)
